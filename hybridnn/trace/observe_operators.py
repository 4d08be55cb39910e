"""Operators, comparisons and jumps, as the observer follows them."""
import functools
import operator
import types
from collections import Counter, deque

import numpy as np

from hybridnn.core.variable import Variable
from hybridnn.trace.arithmetic import combine
from hybridnn.trace.calculations import calculate
from hybridnn.trace.computed import Computed, is_number
from hybridnn.trace.observe_iteration import Rows
from hybridnn.trace.refs import CONTAINERS, DICTS, SCALARS, Doubt, Ref, class_lookup, constant, is_numeric, is_plain_key, is_pure, mirror, place

__all__ = ["SYMBOLS", "Operators"]

VALUES = ("static", "mirror", "fresh", "made", "arg", "state", "view", "array", "number", "hole")      # kinds of Refs that have one
HEAP_TYPE = 1 << 9       # Py_TPFLAGS_HEAPTYPE: a class that can be changed
TAKING_TRUTHS = ("+", "-", "*", "/")       # operators that take a bool as an int
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod, "**": operator.pow,
             "@": operator.matmul, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
             "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge}
UNARY = {"-": operator.neg, "+": operator.pos, "~": operator.invert}
SYMBOLS = {fn: symbol for symbol, fn in OPERATORS.items()}
METHODS = {symbol: fn.__name__.strip("_") for symbol, fn in OPERATORS.items()}
UNARY_METHODS = {"-": "__neg__", "+": "__pos__", "~": "__invert__", "not": "__bool__"}


SINGLETONS = frozenset([bool, type(None), type(...), type(NotImplemented)])      # classes whose objects are the same if they are equal
COMPARABLE = frozenset(["static", "arg", "state", "fresh", "made", "view", "object", "mirror", "set", "iterator", "closure", "array", "mask"])     # by ``is``


class Operators:
    """Instructions that compute and decide."""

    def op_BINARY_OP(self, f, i):
        y, x = f.stack.pop(), f.stack.pop()
        self._binary(f, x, y, i.argrepr)

    def _binary(self, f, x, y, symbol):
        if x.kind == "object" and self._own_method(f, x, y, symbol):
            return
        if y.kind == "object" and self.calls_reflected(f, x, y, symbol, METHODS[symbol if symbol in METHODS else symbol.rstrip("=")]):
            return
        if isinstance(x.value, Variable) and x.kind != "mirror" or isinstance(y.value, Variable) and y.kind != "mirror":
            name = METHODS[symbol if symbol in METHODS else symbol.rstrip("=")]
            self._operators_of(x, y, *[f"__{prefix}{name}__" for prefix in (("i", "", "r") if symbol not in COMPARISONS else ("",))])
            f.waiting = ("call", Ref("static", f"operator {symbol}"), [x, y], {}, "operator")
            return
        if symbol.rstrip("=") in TAKING_TRUTHS:
            x, y = self.counting_truths(x, y), self.counting_truths(y, x)
        if self._computes_numbers(x, y):
            f.stack.append(combine(self, OPERATORS[symbol if symbol in OPERATORS else symbol.rstrip("=")], x, y))
            return
        numeric = is_numeric(x) or is_numeric(y)
        x, y = [r if numeric and is_number(r) else self.use(r) for r in (x, y)]
        if numeric:
            if symbol.endswith("=") and symbol not in COMPARISONS and isinstance(x.value, np.ndarray):
                f.stack.append(self.change_in_place(symbol, x, y))
                return
            f.stack.append(calculate(self, OPERATORS[symbol if symbol in COMPARISONS else symbol.rstrip("=")], [x, y], {}))
        elif x.kind == "set" or y.kind == "set":
            self._combine_sets(f, x, y, symbol)
        elif (combined := self._combined(x, y, symbol)) is not None:
            f.stack.append(combined)
        elif not self._identity(f, x, y, symbol) and not self._own_method(f, x, y, symbol):
            raise Doubt(f"the operator {symbol} on {type(x.value).__name__} and {type(y.value).__name__}")

    def _combined(self, x, y, symbol):
        """The Ref of what an operator makes of constants and containers; None for others."""
        if x.kind == y.kind == "static" and is_pure(x.value) and is_pure(y.value):
            symbol = symbol if symbol in COMPARISONS else symbol.rstrip("=")
            return constant(eval(f"x {symbol} y", {"x": x.value, "y": y.value}))
        if symbol == "*" and x.kind == "mirror" and isinstance(x.value, (list, tuple)) and y.kind == "static" and type(y.value) is int and y.value <= 4096:
            return x if type(x.value) is tuple and y.value == 1 else Ref("mirror", x.value * y.value)
        if {x.kind, y.kind} <= {"mirror", "static"} and symbol in ("+", "+=") and type(x.value) is type(y.value) in (list, tuple):
            return self._joined(x, y, symbol)
        if x.kind == "static" and type(x.value) is str and symbol == "%" and y.kind == "mirror":
            return constant(x.value % self.formatted(y))
        if _is_plain_box(x) and _is_plain_box(y) and symbol in COMPARISONS:
            return constant(OPERATORS[symbol](self.whole(x), self.whole(y)))
        if symbol in ("|", "|=") and all(r.kind == "mirror" and type(r.value) is dict for r in (x, y)) and (symbol == "|" or x.source is None):
            if symbol == "|":
                return Ref("mirror", {**x.value, **y.value})
            x.value.update(y.value)
            return x
        return None

    def _joined(self, x, y, symbol):
        """The sum of two lists or tuples."""
        if symbol == "+=" and type(x.value) is list:
            if x.kind == "static":
                self.extend(x.value, y)
                return x
            if x.source is not None:
                raise self.changed_outside(x, "extends a list that came from outside")
            x.value.extend(self._items(y))
            return x
        if type(x.value) is tuple and not (x.value and y.value):        # no new tuple
            return x if x.value else y
        return mirror(type(x.value), [*self._items(x), *self._items(y)])

    def _combine_sets(self, f, x, y, symbol):
        if symbol.endswith("=") and symbol not in COMPARISONS and x.kind == "set":
            made = self.combine_sets(x, y, symbol)
            x.value.clear()
            x.value.update(made.value)
            f.stack.append(x)
            return
        f.stack.append(self.combine_sets(x, y, symbol))

    def _identity(self, f, x, y, symbol):
        """``==`` and ``!=`` where neither class has its own: whether both are one object."""
        if symbol not in ("==", "!=") or any(r.kind not in ("static", "object", "closure") for r in (x, y)):
            return False
        others = [r for r in (x, y) if r.kind == "object" or r.kind == "static" and not is_pure(r.value)]
        classes = [r.value.cls if r.kind == "object" else type(r.value) for r in others]
        if any(class_lookup(c, "__eq__") is not object.__eq__ or class_lookup(c, "__ne__") is not object.__ne__ for c in classes):
            return False
        self._refuse_records(x, y)
        for r in (x, y):
            if r.kind == "static" and not is_pure(r.value):
                self.guard("class", r.value, type(r.value))
        for c in classes:
            self.guard("classattr", c, "__eq__", object.__eq__)
            self.guard("classattr", c, "__ne__", object.__ne__)
        same = x is y if x.kind != "static" or y.kind != "static" else x.value is y.value
        f.stack.append(constant(same is (symbol == "==")))
        return True

    def _own_method(self, f, x, y, symbol):
        """The method of a class of the user's that stands for an operator, where the other operand's class has no say before it."""
        kinds = [self._class_for_operator(r) for r in (x, y)]
        if kinds[0] is None or x.kind not in ("static", "object") or kinds[1] is None or kinds[1] is not kinds[0] and issubclass(kinds[1], kinds[0]):
            return False
        name = METHODS[symbol if symbol in METHODS else symbol.rstrip("=")]
        names = [f"__i{name}__", f"__{name}__"] if symbol.endswith("=") and symbol not in COMPARISONS else [f"__{name}__"]
        unequal = symbol == "!=" and class_lookup(kinds[0], "__ne__") is object.__ne__
        if unequal:         # asks __eq__
            self.guard("classattr", kinds[0], "__ne__", object.__ne__)
            names = ["__eq__"]
        found = [class_lookup(kinds[0], n) for n in names]
        method = next((m for m in found if m is not None), None)
        if not isinstance(method, types.FunctionType):
            return False
        if x.kind == "static":
            self.guard("class", x.value, kinds[0])
        for n, m in zip(names, found, strict=True):
            self.guard("classattr", kinds[0], n, m)
        f.waiting = ("call", constant(method), [x, y], {}, "unequal" if unequal else "operator")
        return True

    def _class_for_operator(self, ref):
        if ref.kind == "object":
            return ref.value.cls
        return type(ref.value) if ref.kind in VALUES and not isinstance(ref.value, type) else None

    def _operators_of(self, *refs_and_names):
        """The methods that stand for an operator in the classes of Variables stay the library's."""
        names = [n for n in refs_and_names if type(n) is str]
        for cls in {type(r.value) for r in refs_and_names if isinstance(r, Ref) and isinstance(r.value, Variable)}:
            for name in names:
                self.guard("classattr", cls, name, class_lookup(cls, name))

    def counting_truths(self, ref, beside=None):
        """``ref`` as an int, if it is a bool that may be another one on every call, beside a number or alone: one within an argument or a sample, as whether an
        episode was over, or one that is computed, as whether an answer is right."""
        if ref.kind == "number" and type(ref.value) is bool and (beside is None or self._is_plain_number(beside)):
            return combine(self, operator.pos, ref)
        if ref.kind != "arg" or type(ref.value) is not bool or ref.source[0] != "item" or beside is not None and not self._is_plain_number(beside):
            return ref
        self.guard("typed", ref.source, bool)
        return Ref("number", int(ref.value), Computed(int, [ref], {}, len(self.call.path), safe=True))

    @staticmethod
    def _is_plain_number(ref):
        return is_number(ref) or ref.kind == "static" and type(ref.value) in (int, float)

    def _computes_numbers(self, *refs):
        """Whether all are Python numbers, and some may differ from call to call: ints from outside do so if the function assigns them."""
        if not any(is_number(r) and (type(r.value) is float or r.kind != "arg" or r.source[0] != "load" or self._counts(r)) for r in refs):
            return False
        return all(is_number(r) or r.kind == "static" and type(r.value) in (int, float) for r in refs)

    def op_COMPARE_OP(self, f, i):
        y, x = f.stack.pop(), f.stack.pop()
        self._binary(f, x, y, i.argval)

    def op_IS_OP(self, f, i):
        y, x = f.stack.pop(), f.stack.pop()
        f.stack.append(constant(self._is_same(x, y) is not bool(i.arg)))

    def _is_same(self, x, y):
        """Whether two values are one object."""
        for r, other in ((x, y), (y, x)):
            if is_number(r) and other.kind == "static" and other.value is None:
                if r.kind == "arg":
                    self.guard("typed", r.source, type(r.value))
                return False
            if r.kind == "arg" and _is_equal_to_others(r.value) and not (other.kind == "static" and type(other.value) in SINGLETONS):
                return self._is_same_place(x, y)
        x, y = self.use(x), self.use(y)
        self._refuse_records(x, y)
        if "namespace" in (x.kind, y.kind):
            raise Doubt("compares the namespace of an object")
        outside = all(r.kind in ("arg", "state", "static") and isinstance(r.value, (Variable, np.ndarray)) and r.source for r in (x, y))
        if outside and (x.kind, y.kind) != ("static", "static"):
            return self._is_same_place(x, y)
        if not {x.kind, y.kind} <= COMPARABLE:
            raise Doubt("whether two values are one object")
        if x is y or any(r.kind == "static" and type(r.value) in SINGLETONS for r in (x, y)):
            return x is y or x.value is y.value
        if "array" in (x.kind, y.kind):
            raise Doubt("whether two arrays are one")
        return not x.value and type(x.value) is type(y.value) is tuple if "mirror" in (x.kind, y.kind) else x.value is y.value

    @staticmethod
    def _refuse_records(x, y):
        """An argument that is another object on every call may be one that is known otherwise."""
        if any(r.kind == "object" and r.value.source is not None and other.kind in ("object", "static") and type(other.value) not in SCALARS
               for r, other in ((x, y), (y, x))):
            raise Doubt("whether an argument that is another object on every call is one that is known")

    def _is_same_place(self, x, y):
        """Whether two places have one object, which no value tells."""
        if any(r.kind not in ("arg", "state", "static") for r in (x, y)):
            if all(r.kind != "mirror" or r.source is None for r in (x, y)) and "mirror" in (x.kind, y.kind):
                return False        # a container that the call has made
            raise Doubt("whether a value from outside is the same object as one that was computed")
        self.guard("same", place(x), x.value, place(y), y.value)
        return x.value is y.value

    def op_CONTAINS_OP(self, f, i):
        box, x = self.use(f.stack.pop()), f.stack.pop()
        if is_numeric(box) and np.ndim(box.value) and (is_numeric(x) or type(x.value) in (int, float)):
            found = calculate(self, np.any, [calculate(self, operator.eq, [box, x], {})], {})
            if not self.decides(found):
                raise Doubt("the operator in")
            f.stack.append(constant(bool(found.value) is not bool(i.arg)))
            return
        if self.calls_contains(f, box, x, bool(i.arg)):
            return
        if self._computes_numbers(x) and (members := self._constants_in(box)) is not None:
            found = combine(self, functools.partial(_is_among, members), x)
            if not self.decides(found):
                raise Doubt("the operator in")
            f.stack.append(constant(found.value is not bool(i.arg)))
            return
        x = self.key_of_classes(self.use(x))
        if box.kind == "mirror" and isinstance(box.value, dict):
            x = self.joined_key(x)
        if not self._compares_plainly(x):
            raise Doubt("the operator in")
        hashed = box.kind == "set" or isinstance(box.value, (set, frozenset, dict))
        if hashed and not (is_pure(x.value) or is_plain_key(x.value)):
            raise Doubt("the operator in")
        f.stack.append(constant(self._contains(box, x.value) is not bool(i.arg)))

    def _constants_in(self, box):
        """The members of a container, or the keys of a dict, which are plain constants that it keeps; None if they are not."""
        if box.kind == "static" and type(box.value) in (*CONTAINERS, Counter) and all(type(v) in SCALARS for v in box.value):
            if type(box.value) is Counter:
                self.guard("class", box.value, Counter)
            self._freeze(box.value)
            return tuple(box.value)
        if box.kind == "set" or box.kind == "static" and is_pure(box.value) and type(box.value) in (tuple, frozenset, range):
            return box.value if type(box.value) is range else tuple(box.value)
        if box.kind != "mirror" or type(box.value) not in (list, tuple, deque):
            return None
        items = [self.use(r) for r in box.value if not is_number(r)]
        return tuple([r.value for r in items]) if len(items) == len(box.value) and all(r.kind == "static" and is_pure(r.value) for r in items) else None

    def _compares_plainly(self, ref):
        """Whether ``==`` of a value that is the same on every call runs no code: of constants, functions, classes, and objects that are equal to themselves
        only."""
        value, cls = ref.value, type(ref.value)
        if ref.kind != "static" or isinstance(value, (Variable, np.ndarray)):
            return False
        if is_pure(value) or cls in (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type):
            return True
        plain = class_lookup(cls, "__eq__") is object.__eq__
        if plain:
            self.guard("class", value, cls)
            self.guard("classattr", cls, "__eq__", object.__eq__)
        return plain

    def _contains(self, box, x):
        """Whether a plain constant is in a container; one that came from outside is guarded, with its members."""
        if box.kind == "set" or box.kind == "static" and is_pure(box.value):
            return x in box.value
        if box.kind == "static" and type(box.value) is set and all(is_pure(v) or is_plain_key(v) for v in box.value):
            self.guard("members", box.value, tuple(box.value))
            return x in box.value
        if box.kind == "static" and type(box.value) is Counter and all(type(k) in SCALARS for k in box.value):
            self.guard("class", box.value, Counter)
            self._freeze(box.value)
            return x in box.value
        if box.kind == "static" and type(box.value) in DICTS and type(x) is tuple and all(map(_is_classes, box.value)):
            self._freeze(box.value)
            return x in box.value
        if box.kind == "static" and type(box.value) in DICTS:
            box = self._dict_members(box.value)
        if box.kind == "namespace":
            box = self.namespace_members(box.value)
        if box.kind == "mirror" and isinstance(box.value, dict):
            return x in box.value
        if type(box.value) not in (list, tuple, deque, Rows):
            raise Doubt("the operator in")
        items = [self.use(r) for r in self._items(box)]
        if not all(map(self._compares_plainly, items)):
            raise Doubt("the operator in")
        return x in [r.value for r in items]

    def _unary(self, f, symbol):
        x = f.stack.pop()
        if isinstance(x.value, Variable):
            self._operators_of(x, UNARY_METHODS[symbol])
            f.waiting = ("call", Ref("static", f"operator {symbol}"), [x], {}, "negate" if symbol == "not" else "push")
            return
        if symbol == "not" and self.decides(x):
            f.stack.append(constant(not x.value))
            return
        x = self.counting_truths(x) if symbol in ("-", "+") else x
        if symbol in ("-", "+") and self._computes_numbers(x):
            f.stack.append(combine(self, UNARY[symbol], x))
            return
        x = self.use(x)
        if symbol in UNARY and self.calls_unary(f, x, UNARY_METHODS[symbol]):
            return
        if is_numeric(x) and symbol in UNARY:
            f.stack.append(calculate(self, UNARY[symbol], [x], {}))
        elif x.kind in ("mirror", "set") and symbol == "not":
            f.stack.append(constant(not x.value))
        elif x.kind == "static" and symbol == "not" and type(x.value) in (*CONTAINERS, deque):
            f.stack.append(constant(not self._has_members(x.value)))
        elif symbol == "~" and type(x.value) is bool:
            raise Doubt("Python warns of ~ of a bool")
        elif x.kind == "static" and (is_pure(x.value) or symbol == "not" and self._plain_truth(x.value)):
            f.stack.append(constant(eval(f"{symbol} x", {"x": x.value})))
        else:
            raise Doubt(f"the operator {symbol}")

    def op_UNARY_NEGATIVE(self, f, i):
        self._unary(f, "-")

    def op_UNARY_NOT(self, f, i):
        self._unary(f, "not")

    def op_UNARY_INVERT(self, f, i):
        self._unary(f, "~")

    def op_UNARY_POSITIVE(self, f, i):
        self._unary(f, "+")

    def _plain_truth(self, value):
        """Whether an object is true because its class, as it stands, does not say otherwise."""
        cls = type(value)
        if class_lookup(cls, "__bool__") is not None or class_lookup(cls, "__len__") is not None:
            return False
        if cls.__flags__ & HEAP_TYPE:
            self.guard("class", value, cls)
            self.guard("truth", cls)
        return True

    def decides(self, x):
        """Whether the truth of a computed number is an outcome of the path: a plan computes it anew, and leaves if it is another one."""
        if x.kind not in ("array", "number") or not isinstance(x.source, Computed) or np.size(x.value) != 1:
            return False
        if self.has_updated() and not self.can_compute_ahead(x):
            self.leaves_behind()
        if x.source.last:       # what has been written can be taken back
            self.effects.append(("decide", x, bool(x.value)))
        else:
            self.guard("outcome", x, bool(x.value))
        return True

    def _object_truth(self, cls):
        """An object made in the call is true unless its class says otherwise."""
        if class_lookup(cls, "__bool__") is not None or class_lookup(cls, "__len__") is not None:
            raise Doubt(f"the truth of a {cls.__name__}")
        self.guard("truth", cls)

    def _condition(self, f, x):
        """A value decides a jump: it must be the same on every call, or a Variable, whose truth the tree of events branches on."""
        if isinstance(x.value, Variable) and x.kind != "mirror":
            self._operators_of(x, "__bool__", "__len__")
            f.waiting = ("call", Ref("static", "bool"), [x], {}, "drop")
            return
        if self.decides(x):
            return
        x = self.use(x)
        if x.kind == "static" and type(x.value) in (*CONTAINERS, deque):
            self._has_members(x.value)
            return
        if is_numeric(x):
            raise Doubt("the truth of an array, or of a number that NumPy computed")
        if x.kind == "object":
            self._object_truth(x.value.cls)
            return
        if x.kind not in ("static", "mirror", "set"):
            raise Doubt("the truth of a value that is not known")
        if x.kind == "static" and not (is_pure(x.value) or self._plain_truth(x.value)):
            raise Doubt(f"the truth of a {type(x.value).__name__}")

    def _has_members(self, box):
        """Whether a container from outside has any, which is an outcome of the path where its length changes from call to call."""
        length = self.length_of(box)
        if length is None:
            self.freeze_length(box)
        else:
            self.decides(combine(self, operator.gt, length, constant(0)))
        return bool(box)

    def op_POP_JUMP_FORWARD_IF_FALSE(self, f, i):
        self._condition(f, f.stack.pop())

    op_POP_JUMP_FORWARD_IF_TRUE = op_POP_JUMP_BACKWARD_IF_FALSE = op_POP_JUMP_BACKWARD_IF_TRUE = op_POP_JUMP_FORWARD_IF_FALSE

    def op_POP_JUMP_FORWARD_IF_NONE(self, f, i):
        ref = f.stack.pop()
        if not is_number(ref):
            self.use(ref)
        elif ref.kind == "arg":
            self.guard("typed", ref.source, type(ref.value))

    op_POP_JUMP_FORWARD_IF_NOT_NONE = op_POP_JUMP_BACKWARD_IF_NONE = op_POP_JUMP_BACKWARD_IF_NOT_NONE = op_POP_JUMP_FORWARD_IF_NONE

    def op_JUMP_IF_FALSE_OR_POP(self, f, i):
        x = f.stack[-1]
        if self.decides(x):
            f.stack[-1] = constant(x.value) if type(x.value) is bool else x
        else:
            x = self.use(x)
            if x.kind not in ("static", "mirror") or isinstance(x.value, Variable):
                raise Doubt("`and` or `or` on a Variable")
            self._condition(f, x)
        truth = bool(x.value)
        if truth is (i.opname == "JUMP_IF_FALSE_OR_POP"):
            f.stack.pop()

    op_JUMP_IF_TRUE_OR_POP = op_JUMP_IF_FALSE_OR_POP


def _is_among(members, x):
    return x in members


def _is_plain_box(ref):
    return ref.kind == "mirror" and type(ref.value) in (list, tuple, dict) or ref.kind == "static" and is_pure(ref.value)


def _is_classes(key):
    """Whether a key of a dict is a tuple of classes."""
    return type(key) is tuple and all(type(c) is type for c in key)


def _is_equal_to_others(value):
    """Whether guards look at what a value from outside consists of, and so may take another object for it."""
    return isinstance(value, tuple) or type(value) in (list, dict) or type(value) in SCALARS and type(value) not in SINGLETONS
