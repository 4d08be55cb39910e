"""Type checks that explain themselves: expressions over the types of a function's inputs, which print as they were written.

``expect(in_types.size() == 1, in_types[0].dtype.kind == "f")`` in ``FunctionNode.check_type_forward`` raises ``InvalidType``
with the expression that failed and the values it saw. Plain booleans are accepted as well.
"""
import contextlib
import functools
import operator
import threading
from math import prod as _product

import numpy as np

from hybridnn.backend import cupy, is_array
from hybridnn.errors import InvalidType

__all__ = ["Constant", "Expr", "InvalidType", "LightMode", "LightTypeInfoTuple", "TypeInfo", "TypeInfoTuple", "Variable", "eval", "expect",
           "expect_broadcast_shapes", "get_function_check_context", "get_light_types", "get_types", "in_light_mode", "light_mode",
           "make_variable", "prod", "same_types"]


class _State(threading.local):
    function = None
    light = False


_state = _State()


@contextlib.contextmanager
def get_function_check_context(f):
    """A block whose failures name the function ``f`` (its ``label``)."""
    before, _state.function = _state.function, f
    try:
        yield
    finally:
        _state.function = before


def _where():
    return getattr(_state.function, "label", None) or "type check"


class LightMode:
    """A block in which types are checked as plain values, without building expressions: quicker, with shorter messages."""

    def __enter__(self):
        _state.light = True

    def __exit__(self, *exc):
        _state.light = False


light_mode = LightMode()


def in_light_mode():
    """Whether the current thread is inside ``light_mode``."""
    return _state.light


# ------------------------------------------------------------------------------------------------------------------- types

class TypeInfo:
    """Shape and dtype of one input."""

    def __init__(self, shape, dtype):
        self.shape, self.dtype, self.ndim = shape, dtype, len(shape)

    @property
    def size(self):
        return _product(self.shape)


class TypeInfoTuple(tuple):
    """Types of all inputs; ``size()`` is their number, as an expression."""
    name = "in_types"

    def size(self):
        return Variable(len(self), f"{self.name}.size")


class LightTypeInfoTuple(tuple):
    """Types of all inputs as plain values, for ``light_mode``."""

    def size(self):
        """The number of inputs."""
        return len(self)


def get_types(data, name="in_types", accept_none=False, *, shapes=None):
    """The types of a tuple of arrays, as expressions called ``name[i]``."""
    shapes = [getattr(x, "shape", ()) for x in data] if shapes is None else shapes
    pairs = enumerate(zip(data, shapes, strict=True))
    types = TypeInfoTuple(_type_of(f"{name}[{i}]", x, accept_none, s) for i, (x, s) in pairs)
    types.name = name
    return types


def _type_of(name, x, accept_none, shape):
    if x is None and accept_none:
        return Variable(TypeInfo((), None), name)
    if not is_array(x):
        raise InvalidType(_where(), f"{name} as an array", type(x).__name__)
    return Variable(TypeInfo(tuple(shape), x.dtype), name)


def get_light_types(data, *, shapes=None):
    """The types of a tuple of arrays for ``light_mode``."""
    return LightTypeInfoTuple(data if shapes is None else [TypeInfo(s, x.dtype) for x, s in zip(data, shapes, strict=True)])


# ------------------------------------------------------------------------------------------------------------- expressions

class Expr:
    """An expression that knows its text. ``priority`` decides where parentheses go (a higher one binds tighter)."""

    def __init__(self, priority, text, compute):
        self.priority, self._text, self._compute = priority, text, compute

    def eval(self):
        """The value."""
        return self._compute()

    def __str__(self):
        return self._text

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Expr(8, f"{self}.{name}", lambda: getattr(self.eval(), name))

    def __getitem__(self, key):
        return Expr(8, f"{self}[{_subscript(key)}]", lambda: self.eval()[_value(key)])

    def __call__(self, *args):
        return Expr(8, f"{self}({', '.join(map(_show, args))})", lambda: self.eval()(*map(_value, args)))

    def __bool__(self):
        raise RuntimeError(f"the expression {self} has no truth value yet\n  hint: type_check.expect(...) or .eval(...)")

    __hash__ = object.__hash__


class Constant(Expr):
    """A value that prints as itself."""

    def __init__(self, value):
        super().__init__(8, _show(value), lambda: value)
        self.value = value


class Variable(Expr):
    """A named value."""

    def __init__(self, value, name):
        super().__init__(8, name, None)
        self.value, self.name = value, name

    def eval(self):
        return self.value

    def __str__(self):
        return self.name


class _Comparison(Expr):
    def __init__(self, left, right, symbol, opposite, function):
        text = f"{_show(left)} {symbol} {_show(right)}"
        super().__init__(-1, text, lambda: function(_value(left), _value(right)))
        self.left, self.right, self.opposite = left, right, opposite

    def expect(self):
        if not self.eval():
            raise InvalidType(_where(), str(self), f"{_value(self.left)} {self.opposite} {_value(self.right)}")


def _value(x):
    if isinstance(x, Expr):
        return x.eval()
    return type(x)(map(_value, x)) if type(x) in (list, tuple) else x


def _show(x):
    if isinstance(x, (list, tuple)):
        items = ", ".join(map(_show, x))
        return f"[{items}]" if isinstance(x, list) else f"({items},)" if len(x) == 1 else f"({items})"
    return str(x) if isinstance(x, Expr) else repr(x)


def _subscript(key):
    if isinstance(key, tuple):
        return ", ".join(map(_subscript, key))
    if isinstance(key, slice):
        parts = [key.start, key.stop] + ([] if key.step is None else [key.step])
        return ":".join("" if p is None else _show(p) for p in parts)
    return "..." if key is Ellipsis else _show(key)


def _operand(x, priority, tight):
    loose = isinstance(x, Expr) and (x.priority < priority or (tight and x.priority == priority))
    return f"({_show(x)})" if loose else _show(x)


def _binary(symbol, priority, function, left, right):
    to_the_right = symbol == "**"
    text = f"{_operand(left, priority, to_the_right)} {symbol} {_operand(right, priority, not to_the_right)}"
    return Expr(priority, text, lambda: function(_value(left), _value(right)))


_BINARY = {"add": ("+", 4), "sub": ("-", 4), "mul": ("*", 5), "truediv": ("/", 5), "floordiv": ("//", 5), "mod": ("%", 5),
          "pow": ("**", 7), "lshift": ("<<", 3), "rshift": (">>", 3), "and": ("&", 2), "xor": ("^", 1), "or": ("|", 0)}
_UNARY = {"neg": "-", "pos": "+", "invert": "~"}
_COMPARISON = {"eq": ("==", "!="), "ne": ("!=", "=="), "lt": ("<", ">="), "le": ("<=", ">"), "gt": (">", "<="), "ge": (">=", "<")}


def _install():
    """Give ``Expr`` the operators of the tables."""
    for name, (symbol, priority) in _BINARY.items():
        build = functools.partial(_binary, symbol, priority, getattr(operator, f"__{name}__"))
        setattr(Expr, f"__{name}__", lambda x, y, build=build: build(x, y))
        setattr(Expr, f"__r{name}__", lambda x, y, build=build: build(y, x))
    for name, symbol in _UNARY.items():
        function = getattr(operator, f"__{name}__")
        setattr(Expr, f"__{name}__", lambda x, s=symbol, f=function: Expr(6, s + _operand(x, 6, False), lambda: f(_value(x))))
    for name, (symbol, opposite) in _COMPARISON.items():
        function = getattr(operator, f"__{name}__")
        setattr(Expr, f"__{name}__", lambda x, y, s=symbol, o=opposite, f=function: _Comparison(x, y, s, o, f))


_install()


# ------------------------------------------------------------------------------------------------------------------ checks

def expect(*bool_exprs):
    """Raise ``InvalidType`` for the first expression (or boolean) that is false."""
    for i, expression in enumerate(bool_exprs):
        if isinstance(expression, _Comparison):
            expression.expect()
        elif not _value(expression):
            raise InvalidType(_where(), f"condition {i + 1} of the type check to hold", str(expression))


def eval(exp):  # Chainer's name
    """The value of an expression; other values are returned as they are."""
    return _value(exp)


def make_variable(value, name):
    """``value`` as an expression called ``name`` (the value itself in ``light_mode``)."""
    return value if in_light_mode() else Variable(value, name)


_PROD = Variable(_product, "prod")


def prod(xs):
    """The product of a sequence or of an expression for one."""
    symbolic = isinstance(xs, Expr) or any(isinstance(x, Expr) for x in xs)
    return _PROD(xs) if symbolic else _product(xs)


def same_types(*arrays):
    """Whether all arrays belong to one array module."""
    kinds = [np.ndarray] if cupy is None else [np.ndarray, cupy.ndarray]
    return any(all(isinstance(x, kind) for x in arrays) for kind in kinds)


def expect_broadcast_shapes(*shape_types):
    """Raise ``InvalidType`` unless the shapes broadcast."""
    shapes = [tuple(_value(s)) for s in shape_types]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        seen = ", ".join(f"{_show(t)} = {s}" for t, s in zip(shape_types, shapes))
        raise InvalidType(_where(), "shapes that broadcast", seen) from None
