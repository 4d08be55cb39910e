"""``match`` statements, as the observer follows them."""
import abc
import types

from hybridnn.trace.observe_builtins import PURE_BUILTINS, asks_class
from hybridnn.trace.observe_iteration import Rows
from hybridnn.trace.refs import SCALARS, Doubt, class_lookup, constant, mirror

__all__ = ["Match"]

SEQUENCE, MAPPING = 1 << 5, 1 << 6      # Py_TPFLAGS_SEQUENCE, Py_TPFLAGS_MAPPING
SELF_MATCHING = frozenset([bool, bytes, dict, float, frozenset, int, list, set, str, tuple])


class Match:
    """Instructions of patterns."""

    def _flag(self, ref, flag):
        """Whether the class of a value says that it is a sequence, or a mapping."""
        ref = self.use(ref)
        if type(ref.value) is Rows:
            raise Doubt("matches a view of a dict")
        if ref.kind == "object":
            cls = ref.value.cls
        elif ref.kind in ("mirror", "fresh") or ref.kind == "static" and type(ref.value) in SCALARS | {list, tuple, dict}:
            cls = type(ref.value)
        elif ref.kind == "static":
            cls = type(ref.value)
            self.guard("class", ref.value, cls)
        else:
            raise Doubt("matches a value whose class is not known")
        self.guard("abctoken", abc.get_cache_token())       # a class becomes one by registration
        return bool(cls.__flags__ & flag)

    def op_MATCH_SEQUENCE(self, f, i):
        f.stack.append(constant(self._flag(f.stack[-1], SEQUENCE)))

    def op_MATCH_MAPPING(self, f, i):
        f.stack.append(constant(self._flag(f.stack[-1], MAPPING)))

    def op_GET_LEN(self, f, i):
        f.stack.append(PURE_BUILTINS[len](self, [f.stack[-1]], {}))

    def op_MATCH_KEYS(self, f, i):
        keys, box = f.stack[-1], self.use(f.stack[-2])
        if box.kind == "static" and type(box.value) is dict:
            box = self._dict_members(box.value)
        if box.kind != "mirror" or type(box.value) is not dict:
            raise Doubt(f"matches the keys of a {type(box.value).__name__}")
        names = [self.plain(k) for k in self._items(keys)]
        found = [box.value[name] for name in names if name in box.value]
        f.stack.append(mirror(tuple, found) if len(found) == len(names) else constant(None))

    def op_MATCH_CLASS(self, f, i):
        names, cls, x = [self.plain(r) for r in self._items(f.stack.pop())], self.use(f.stack.pop()), self.use(f.stack.pop())
        if cls.kind != "static" or type(cls.value) is not type:
            raise Doubt("matches a class that is not known")
        if asks_class(cls):
            raise Doubt("matches an abstract class")
        if not PURE_BUILTINS[isinstance](self, [x, cls], {}).value:
            f.stack.append(constant(None))
            return
        found = [x] if i.arg == 1 and cls.value in SELF_MATCHING else [self._attribute(f, x, n) for n in self._positional(cls.value, i.arg)]
        f.stack.append(mirror(tuple, [*found, *[self._attribute(f, x, n) for n in names]]))

    def _positional(self, cls, n):
        """The names that positional patterns stand for."""
        if not n:
            return ()
        names = class_lookup(cls, "__match_args__")
        if type(names) is not tuple or len(names) < n or class_lookup(type(cls), "__match_args__") is not None:
            raise Doubt(f"positional patterns of {cls.__name__}")
        self.guard("classattr", cls, "__match_args__", names)
        return names[:n]

    def _attribute(self, f, x, name):
        """An attribute that a pattern looks at, which runs no code of the user's."""
        attr = class_lookup(x.value.cls if x.kind == "object" else type(x.value), name)
        if isinstance(attr, (property, types.FunctionType)):
            raise Doubt(f"a pattern that looks at {name}")
        self._load_attr(f, x, name, method=False)
        if f.waiting is not None:
            raise Doubt(f"a pattern that looks at {name}")
        return f.stack.pop()
