"""Functions of the module ``operator`` that stand for instructions, and the objects of its ``itemgetter``, ``attrgetter`` and ``methodcaller``."""
import functools
import operator
from types import SimpleNamespace
from typing import Any

from hybridnn.trace.refs import Doubt, Ref, constant, is_pure, mirror

__all__ = ["GETTERS", "Getters"]

GETTERS = (operator.itemgetter, operator.attrgetter, operator.methodcaller)     # classes written in C, whose objects never change
UNARY = {operator.neg: "-", operator.pos: "+", operator.invert: "~", operator.not_: "not"}
IN_PLACE = {operator.iadd: "+=", operator.isub: "-=", operator.imul: "*=", operator.itruediv: "/=", operator.ifloordiv: "//=", operator.imod: "%=",
            operator.ipow: "**=", operator.imatmul: "@=", operator.iand: "&=", operator.ior: "|=", operator.ixor: "^="}
PLACES: dict[Any, int] = {operator.getitem: 2, operator.contains: 2, operator.is_: 2, operator.is_not: 2, **dict.fromkeys(UNARY, 1),
                          **dict.fromkeys(IN_PLACE, 2)}


class Getters:
    """Calls of these."""

    def call_operator(self, f, fn, args):
        """The call of a function that does what an instruction does; False if it is none."""
        if PLACES.get(fn) != len(args):
            return False
        if fn is operator.getitem:
            f.stack += args
            self.op_BINARY_SUBSCR(f, None)
        elif fn is operator.contains:
            f.stack += args[::-1]
            self.op_CONTAINS_OP(f, SimpleNamespace(arg=0))
        elif fn in UNARY:
            f.stack.append(args[0])
            self._unary(f, UNARY[fn])
        elif fn in IN_PLACE:
            self._binary(f, *args, IN_PLACE[fn])
        else:
            f.stack.append(constant(self._is_same(*args) is (fn is operator.is_)))
        return True

    def make_getter(self, cls, args, kw):
        """The call of one of these classes."""
        given = [self.use(a) for a in args]
        if not given or kw and cls is not operator.methodcaller or cls is not operator.itemgetter and type(self.plain(given[0])) is not str:
            raise Doubt("an exception is raised")
        return Ref("getter", (cls, given, kw))

    def getter_of(self, obj):
        """What an object of one of these classes was made of."""
        made, given = obj.__reduce__()
        name, kw = (made.args, made.keywords) if type(made) is functools.partial else ((), {})
        if not all(map(is_pure, [*given, *kw.values()])):
            raise Doubt(f"{type(obj).__name__} of what may change")
        return type(obj), [constant(x) for x in (*name, *given)], {k: constant(v) for k, v in kw.items()}

    def call_getter(self, f, made, args, kw):
        """The call of such an object: what it was ``made`` of, and the one that it is called with."""
        cls, given, named = made
        if len(args) != 1 or kw:
            raise Doubt("an exception is raised")
        calls = _items_got(args[0], given) if cls is operator.itemgetter else (
            _attributes_got(args[0], [self.plain(r) for r in given]) if cls is operator.attrgetter else _method_called(args[0], *given, **named))
        self.drive(f, calls)


def _items_got(x, keys):
    found = []
    for key in keys:
        found.append((yield constant(operator.getitem), [x, key]))
    return found[0] if len(keys) == 1 else mirror(tuple, found)


def _attributes_got(x, names):
    found = []
    for dotted in names:
        value = x
        for name in dotted.split("."):
            value = yield constant(getattr), [value, constant(name)]
        found.append(value)
    return found[0] if len(names) == 1 else mirror(tuple, found)


def _method_called(x, name, *args, **kw):
    method = yield constant(getattr), [x, name]
    return (yield method, [*args], kw)
