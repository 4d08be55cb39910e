"""Operators, items and loops of objects that the program makes during the call, whose classes say in Python what these do."""
import types

from hybridnn.trace.refs import Doubt, class_lookup, constant, is_library_module

__all__ = ["WITHIN", "Protocols"]

WITHIN = "within"      # what becomes of the result of ``__contains__``
SWAPPED = {"<": "__gt__", "<=": "__ge__", ">": "__lt__", ">=": "__le__", "==": "__eq__", "!=": "__ne__"}


class Protocols:
    """Calls of methods that CPython looks up in the class of an object."""

    def object_method(self, ref, name):
        """What the class of an object that the call has made has under a name, if that is a function of the user's."""
        if ref.kind != "object":
            return None
        found = class_lookup(ref.value.cls, name)
        self.guard("classattr", ref.value.cls, name, found)
        return found if isinstance(found, types.FunctionType) else None

    def calls_reflected(self, f, x, y, symbol, name):
        """Whether an operator of a number and an object calls the object's method, as the number knows no such object."""
        fn = self.object_method(y, SWAPPED.get(symbol) or f"__r{name}__") if type(x.value) in (int, float, bool) and x.kind != "mirror" else None
        if fn is not None:
            f.waiting = ("call", constant(fn), [y, x], {}, "operator")
        return fn is not None

    def calls_unary(self, f, x, name):
        """Whether ``-x`` and the like calls a method of an object's."""
        fn = self.object_method(x, name)
        if fn is not None:
            f.waiting = ("call", constant(fn), [x], {}, "push")
        return fn is not None

    def calls_item(self, f, box, key, *value):
        """Whether ``box[key]``, or its assignment, calls a method of an object's."""
        fn = self.object_method(box, "__setitem__" if value else "__getitem__")
        if fn is not None:
            f.waiting = ("call", constant(fn), [box, key, *value], {}, "drop" if value else "push")
        return fn is not None

    def calls_contains(self, f, box, x, inverted):
        """Whether ``x in box`` calls a method of an object's."""
        fn = self.object_method(box, "__contains__")
        if fn is not None:
            f.waiting = ("call", constant(fn), [box, x], {}, (WITHIN, inverted))
        return fn is not None

    def contained(self, f, result, inverted):
        """The result of ``in``, of which CPython makes a bool."""
        if result.kind != "static" or type(result.value) is not bool:
            raise Doubt("the operator in")
        f.stack.append(constant(result.value is not inverted))

    def calls_iter(self, f, ref):
        """Whether a loop over an object calls a method of its class."""
        fn = self.object_method(ref, "__iter__")
        if fn is None or is_library_module(fn.__module__):
            return False
        self._call_function(f, constant(fn), [ref], {})
        return True
