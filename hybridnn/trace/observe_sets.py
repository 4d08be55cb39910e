"""Sets that the program makes during the call, of plain constants, as the observer follows them."""
from hybridnn.trace.refs import SCALARS, Doubt, Ref, constant, is_pure

__all__ = ["Sets"]

METHODS = frozenset(["add", "clear", "copy", "difference", "difference_update", "discard", "intersection", "intersection_update", "isdisjoint", "issubset",
                     "issuperset", "remove", "symmetric_difference", "union", "update"])
OPERATORS = {"|": "__or__", "&": "__and__", "-": "__sub__", "^": "__xor__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__", "==": "__eq__",
             "!=": "__ne__"}


class Sets:
    """The Ref of such a set has the kind ``set``; its value is one with the same members, in another order perhaps."""

    def op_BUILD_SET(self, f, i):
        f.stack.append(self.make_set(self._take(f, i.arg)))

    def make_set(self, items):
        """A set of these Refs."""
        return Ref("set", {self._member_of_set(ref) for ref in items})

    def _member_of_set(self, ref):
        ref = self.use(ref)
        if ref.kind == "mirror" and type(ref.value) is tuple:
            return tuple([self._member_of_set(r) for r in ref.value])
        if ref.kind != "static" or not is_pure(ref.value):
            raise Doubt("a set of values that are not the same on every call")
        return ref.value

    def op_SET_ADD(self, f, i):
        item = f.stack.pop()
        f.stack[-i.arg].value.add(self._member_of_set(item))

    def op_SET_UPDATE(self, f, i):
        items = self.as_set(f.stack.pop())
        f.stack[-i.arg].value.update(items)

    def set_method(self, ref, name, args):
        """What a method of a set gives."""
        if name not in METHODS:
            raise Doubt(f"calls the method {name} of a set")
        if name in ("add", "discard", "remove"):
            given = [self._member_of_set(a) for a in args]
        else:
            given = [self.as_set(a) for a in args]
        return self._found(getattr(ref.value, name)(*given))

    def as_set(self, ref):
        """The members of anything."""
        ref = self.use(ref)
        if ref.kind == "static" and type(ref.value) is frozenset and is_pure(ref.value):
            return ref.value
        if ref.kind == "static" and type(ref.value) is set and all(type(v) is str for v in ref.value):       # others have equals of another type
            self.guard("members", ref.value, tuple(ref.value))
            return ref.value
        return ref.value if ref.kind == "set" else [self._member_of_set(r) for r in self._items(ref)]

    def combine_sets(self, x, y, symbol):
        """An operator on two sets."""
        symbol = symbol if symbol in OPERATORS else symbol.removesuffix("=")
        known = [r.kind == "set" or r.kind == "static" and type(r.value) is frozenset and is_pure(r.value) for r in (x, y)]
        if symbol not in OPERATORS or not all(known):
            raise Doubt(f"the operator {symbol} on a set and a {type((y if x.kind == 'set' else x).value).__name__}")
        return self._found(getattr(x.value, OPERATORS[symbol])(y.value))

    def _found(self, value):
        if type(value) is set:
            return Ref("set", value)
        if type(value) not in SCALARS and not is_pure(value):
            raise Doubt(f"a set gives a {type(value).__name__}")
        return constant(value)
