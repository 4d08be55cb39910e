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
from hybridnn.errors import InvalidType, checking

__all__ = ["Atom", "BinaryOperator", "BoolBinaryOperator", "Call", "Constant", "Expr", "GetAttr", "GetItem", "InvalidType", "LightMode",
           "LightTypeInfoTuple", "TypeInfo", "TypeInfoTuple", "UnaryOperator", "UnmetExpectation", "Variable", "eval", "expect",
           "expect_broadcast_shapes", "get_function_check_context", "get_light_types", "get_types", "in_light_mode", "light_mode",
           "make_variable", "prod", "same_types"]


class _State(threading.local):
    light = False


_state = _State()


@contextlib.contextmanager
def get_function_check_context(f):
    """A block whose failures name the function ``f`` (its ``label``)."""
    before, checking.function = checking.function, f
    try:
        yield
    finally:
        checking.function = before


def _where():
    return getattr(checking.function, "label", None) or "type check"


class UnmetExpectation(InvalidType):
    """An ``expect`` failed; the text has the form that Chainer gives it."""

    def __init__(self, expected, actual):
        super().__init__(expected, actual)


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
    assert isinstance(data, tuple), f"get_types takes a tuple of arrays, not {type(data).__name__}"
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

    def __init__(self, priority):
        self.priority = priority

    def eval(self):
        """The value."""
        raise NotImplementedError(f"{type(self).__name__} does not define eval")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return GetAttr(self, name)

    def __getitem__(self, key):
        return GetItem(self, key)

    def __call__(self, *args):
        return Call(self, args)

    def __bool__(self):
        raise RuntimeError(f"the expression {self} has no truth value yet\n  hint: type_check.expect(...) or .eval(...)")

    __hash__ = object.__hash__


class Atom(Expr):
    """An expression that never needs parentheses."""

    def __init__(self):
        super().__init__(8)


class Constant(Atom):
    """A value that prints as itself."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def eval(self):
        return self.value

    def __str__(self):
        return _repr(self.value)


class Variable(Atom):
    """A named value."""

    def __init__(self, value, name):
        super().__init__()
        self.value, self.name = value, name

    def eval(self):
        return self.value

    def __str__(self):
        return self.name


class GetAttr(Atom):
    """``obj.name``; the name is a string, or an expression for one."""

    def __init__(self, obj, name):
        super().__init__()
        self.obj, self.name = obj, name

    def eval(self):
        return getattr(_value(self.obj), _value(self.name))

    def __str__(self):
        name = self.name.value if isinstance(self.name, Constant) else self.name
        return f"{_repr(self.obj)}.{name}" if isinstance(name, str) else f"getattr({_repr(self.obj)}, {_repr(name)})"


class GetItem(Atom):
    """``obj[key]``."""

    def __init__(self, obj, key):
        super().__init__()
        self.obj, self.key = obj, key

    def eval(self):
        return _value(self.obj)[_value(self.key)]

    def __str__(self):
        return f"{_repr(self.obj)}[{_subscript(self.key)}]"


class Call(Atom):
    """``obj(*args)``."""

    def __init__(self, obj, args):
        super().__init__()
        self.obj, self.args = obj, args

    def eval(self):
        return _value(self.obj)(*map(_value, self.args))

    def __str__(self):
        return f"{_repr(self.obj)}({', '.join(map(_repr, self.args))})"


class UnaryOperator(Expr):
    """The sign ``exp`` in front of a term; ``func`` computes it."""

    def __init__(self, priority, term, exp, func):
        super().__init__(priority)
        self.term, self.exp, self.func = term, exp, func

    def eval(self):
        return self.func(_value(self.term))

    def __str__(self):
        return self.exp + _operand(self.term, self.priority, False)


class BinaryOperator(Expr):
    """The sign ``exp`` between two terms; ``func`` computes it."""

    def __init__(self, priority, lhs, rhs, exp, func, right_associative=False):
        super().__init__(priority)
        self.lhs, self.rhs, self.exp, self.func, self.right_associative = lhs, rhs, exp, func, right_associative

    def eval(self):
        return self.func(_value(self.lhs), _value(self.rhs))

    def __str__(self):
        left = _operand(self.lhs, self.priority, self.right_associative)
        return f"{left} {self.exp} {_operand(self.rhs, self.priority, not self.right_associative)}"


class BoolBinaryOperator(BinaryOperator):
    """A comparison, which ``expect`` can check; ``inv`` is the sign of its opposite."""

    def __init__(self, lhs, rhs, exp, inv, func):
        super().__init__(-1, lhs, rhs, exp, func)
        self.inv = inv

    def expect(self):
        """Raise ``InvalidType`` unless it holds."""
        if not self.eval():
            raise UnmetExpectation(str(self), f"{_value(self.lhs)} {self.inv} {_value(self.rhs)}")


def _value(x):
    if isinstance(x, Expr):
        return x.eval()
    return type(x)(map(_value, x)) if type(x) in (list, tuple) else x


def _repr(x):
    """The text of an expression, or of lists and tuples of them."""
    if isinstance(x, (list, tuple)):
        items = ", ".join(map(_repr, x))
        return f"[{items}]" if isinstance(x, list) else f"({items},)" if len(x) == 1 else f"({items})"
    return str(x) if isinstance(x, Expr) else repr(x)


def _subscript(key):
    if isinstance(key, tuple):
        return ", ".join(map(_subscript, key))
    if isinstance(key, slice):
        parts = [key.start, key.stop] + ([] if key.step is None else [key.step])
        return ":".join("" if p is None else _repr(p) for p in parts)
    return "..." if key is Ellipsis else _repr(key)


def _operand(x, priority, tight):
    loose = isinstance(x, Expr) and (x.priority < priority or (tight and x.priority == priority))
    return f"({_repr(x)})" if loose else _repr(x)


_BINARY = {"add": ("+", 4), "sub": ("-", 4), "mul": ("*", 5), "truediv": ("/", 5), "floordiv": ("//", 5), "mod": ("%", 5),
          "pow": ("**", 7), "lshift": ("<<", 3), "rshift": (">>", 3), "and": ("&", 2), "xor": ("^", 1), "or": ("|", 0)}
_UNARY = {"neg": "-", "pos": "+", "invert": "~"}
_COMPARISON = {"eq": ("==", "!="), "ne": ("!=", "=="), "lt": ("<", ">="), "le": ("<=", ">"), "gt": (">", "<="), "ge": (">=", "<")}


def _binary(symbol, priority, function, left, right):
    return BinaryOperator(priority, left, right, symbol, function, symbol == "**")


def _install():
    """Give ``Expr`` the operators of the tables."""
    for name, (symbol, priority) in _BINARY.items():
        build = functools.partial(_binary, symbol, priority, getattr(operator, f"__{name}__"))
        setattr(Expr, f"__{name}__", lambda x, y, build=build: build(x, y))
        setattr(Expr, f"__r{name}__", lambda x, y, build=build: build(y, x))
    for name, symbol in _UNARY.items():
        function = getattr(operator, f"__{name}__")
        setattr(Expr, f"__{name}__", lambda x, s=symbol, f=function: UnaryOperator(6, x, s, f))
    for name, (symbol, opposite) in _COMPARISON.items():
        function = getattr(operator, f"__{name}__")
        setattr(Expr, f"__{name}__", lambda x, y, s=symbol, o=opposite, f=function: BoolBinaryOperator(x, y, s, o, f))


_install()


# ------------------------------------------------------------------------------------------------------------------ checks

def expect(*bool_exprs):
    """Raise ``InvalidType`` for the first expression (or boolean) that is false."""
    for i, expression in enumerate(bool_exprs):
        if isinstance(expression, BoolBinaryOperator):
            expression.expect()
        elif not _value(expression):
            raise UnmetExpectation(f"condition {i + 1} of the type check to hold", str(expression))


def eval(exp):  # Chainer's name
    """The value of an expression; other values are returned as they are."""
    return _value(exp)


def _argname(in_types, names):
    """Name the types of the inputs for the texts of errors; their number has to be that of the names."""
    if len(in_types) != len(names):
        raise InvalidType(_where(), f"{len(names)} argument(s): {', '.join(names)}", f"{len(in_types)} argument(s)")
    for in_type, name in zip(in_types, names, strict=True):
        if isinstance(in_type, Variable):
            in_type.name = name


def make_variable(value, name):
    """``value`` as an expression called ``name`` (the value itself in ``light_mode``)."""
    return value if in_light_mode() else Variable(value, name)


def _make_variable_from_array(array, name):
    """An array that is no input as an expression called ``name``: its type (the array itself in ``light_mode``)."""
    if not is_array(array):
        raise InvalidType(_where(), f"{name} as an array", type(array).__name__)
    return array if in_light_mode() else _type_of(name, array, False, array.shape)


_PROD = Variable(_product, "prod")


def prod(xs):
    """The product of a sequence, or of an expression for one, as an expression (as a number in ``light_mode``)."""
    return _product(xs) if in_light_mode() else _PROD(xs)


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
        seen = ", ".join(f"{_repr(t)} = {s}" for t, s in zip(shape_types, shapes))
        raise InvalidType(_where(), "shapes that broadcast", seen) from None
