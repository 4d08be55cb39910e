"""The arithmetic of Variables as functions and as function objects, under the names that Chainer gives them.

An object stands for an operation (``Add().apply((x, y))``), with its constant if it has one (``AddConstant(2.0)``); its ``label`` is the
operation's text. The operators of ``Variable`` do the same and are the usual way.
"""
import operator
import sys

import numpy as np

from hybridnn.core import Variable
from hybridnn.core.variable import as_variable
from hybridnn.functions.math import absolute, add, matmul

__all__ = ["Absolute", "Add", "AddConstant", "Div", "DivFromConstant", "MatMul", "Mul", "MulConstant", "MultiAdd", "Neg", "PowConstVar",
           "PowVarConst", "PowVarVar", "Sub", "SubFromConstant", "absolute", "add", "div", "floordiv", "matmul", "mul", "neg", "pow", "rdiv",
           "rfloordiv", "rmatmul", "rpow", "rsub", "sub"]


def _arithmetic(name, text, operate):
    """A function of the given name that computes ``text`` with a Variable on one side at least, and so gives a Variable for arrays too."""
    def function(self, rhs):
        return operate(as_variable(self), rhs)
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"``{text}``, as a Variable."
    return function


sub, rsub = _arithmetic("sub", "self - rhs", operator.sub), _arithmetic("rsub", "rhs - self", lambda x, y: y - x)
div, rdiv = _arithmetic("div", "self / rhs", operator.truediv), _arithmetic("rdiv", "rhs / self", lambda x, y: y / x)
pow, rpow = _arithmetic("pow", "self ** rhs", operator.pow), _arithmetic("rpow", "rhs ** self", lambda x, y: y ** x)
floordiv = _arithmetic("floordiv", "self // rhs", operator.floordiv)
rfloordiv = _arithmetic("rfloordiv", "rhs // self", lambda x, y: y // x)
mul = _arithmetic("mul", "self * rhs", operator.mul)


def neg(self):
    """``-self``, as a Variable."""
    return -as_variable(self)


def rmatmul(self, rhs):
    """``rhs @ self``."""
    return matmul(rhs, self)


def _convert_value_to_string(value):
    """How a label shows a constant: numbers as they are (negative ones in parentheses), arrays by a word."""
    if isinstance(value, Variable):
        value = value.array
    if isinstance(value, np.ndarray) and value.ndim or not np.isscalar(value) and not isinstance(value, np.ndarray):
        return "constant array"
    text = str(value)
    return f"({text})" if value < 0 else text


class _Operation:
    """Base: ``function`` of the inputs and of the constant, if there is one."""
    text = ""

    def __init__(self, *constant):
        self.constant = constant

    @property
    def label(self):
        """The operation's text, in which ``_`` stands for an input."""
        return self.text.format(*map(_convert_value_to_string, self.constant))

    def apply(self, inputs):
        """The result for a tuple of Variables or arrays: a tuple of one Variable."""
        return self.function(*inputs, *self.constant),


def _declare(name, text, function):
    return type(name, (_Operation,), {"__doc__": f"``{text.format('c')}``.", "__module__": __name__, "text": text,
                                      "function": staticmethod(function)})


Neg, Absolute = _declare("Neg", "__neg__", neg), _declare("Absolute", "|_|", absolute)
Add, Sub, Mul, Div = (_declare(n, f"_ {s} _", f) for n, s, f in (("Add", "+", add), ("Sub", "-", sub), ("Mul", "*", mul), ("Div", "/", div)))
MultiAdd, MatMul = _declare("MultiAdd", "_ + _", add), _declare("MatMul", "_ @ _", matmul)
PowVarVar, PowVarConst = _declare("PowVarVar", "_ ** _", pow), _declare("PowVarConst", "_ ** {}", pow)
AddConstant, MulConstant = _declare("AddConstant", "_ + {}", add), _declare("MulConstant", "_ * {}", mul)
SubFromConstant, DivFromConstant = _declare("SubFromConstant", "{} - _", rsub), _declare("DivFromConstant", "{} / _", rdiv)
PowConstVar = _declare("PowConstVar", "{} ** _", rpow)

# Chainer keeps this module among the functions.
sys.modules["hybridnn.functions.math.basic_math"].__dict__.update({name: globals()[name] for name in (*__all__, "_convert_value_to_string")})
