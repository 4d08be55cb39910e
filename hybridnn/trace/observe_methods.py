"""Methods of arrays, random generators, texts and containers, as the observer follows calls of them."""
import operator
from collections import Counter, deque, namedtuple

import numpy as np

from hybridnn.trace.calculations import calculate
from hybridnn.trace.changed_copies import SORTED
from hybridnn.trace.drawing import draw, shuffle
from hybridnn.trace.numpy_functions import CHANGING
from hybridnn.trace.observe_builtins import PURE_BUILTINS
from hybridnn.trace.observe_collections import COUNTING
from hybridnn.trace.refs import DICTS, TRACED, Doubt, Raised, Ref, class_lookup, constant, is_named_tuple, is_numeric, is_plain_key, mirror
from hybridnn.trace.streams import is_stream

__all__ = ["Methods"]

VIEWS = ("items", "keys", "values")
REPLACE, AS_DICT = [class_lookup(namedtuple("Fields", "a"), name).__code__ for name in ("_replace", "_asdict")]      # those of all named tuples


class Methods:
    """Calls of methods that are no functions of the user's."""

    def _call_method(self, f, fn, args, kw):
        owner, name = fn.value[:2]
        if name is TRACED:
            self._call_traced(f, fn.value[2], constant(fn.value[2].__wrapped__), [owner, *args], kw)
        elif len(fn.value) == 3:
            self._call(f, constant(fn.value[2]), [owner, *args], kw)
        elif is_numeric(owner):
            f.waiting = ("make", None, [], {}, self._array_method(owner, name, args, kw))
        elif owner.kind == "static":
            self._method_from_outside(f, fn, args, kw)
        elif owner.kind == "namespace" and name == "setdefault" and not kw and self.plain(args[0]) in owner.value.__dict__:
            f.stack.append(self.namespace_item(owner.value, self.plain(args[0])))
        elif owner.kind == "namespace" and name in (*VIEWS, "get", "copy"):
            self._call_method(f, Ref("method", (self.namespace_members(owner.value), name)), args, kw)
        elif owner.kind == "set" and not kw:
            f.stack.append(self.set_method(owner, name, args))
        elif owner.kind == "mirror" and type(owner.value) is list and owner.source is None and name == "sort" and not args:
            self.sort_list(f, owner.value, kw)
        elif owner.kind == "mirror" and type(owner.value) is Counter and name in COUNTING:
            f.waiting = ("make", None, [], {}, self.counter_method(owner.value, name, args, kw))     # its own Python runs meanwhile
        elif owner.kind == "mirror" and isinstance(owner.value, dict) and name == "update" and kw:
            f.stack.append(self._container_method(owner, name, [PURE_BUILTINS[dict](self, args, kw)]))
        elif owner.kind == "mirror" and name == "_replace" and is_named_tuple(type(owner.value)) and not args:
            f.waiting = ("make", None, [], {}, self._with_fields(owner.value, kw))
        elif owner.kind == "mirror" and name == "_asdict" and is_named_tuple(type(owner.value)) and not args and not kw:
            f.waiting = ("make", None, [], {}, self._fields_of(owner.value))
        elif owner.kind == "mirror" and isinstance(owner.value, dict) and owner.source is None and name in ("move_to_end", "popitem"):
            f.stack.append(self.ordered_method(owner.value, name, args, kw))
        elif owner.kind == "mirror" and not kw:
            f.stack.append(self._container_method(owner, name, args))
        else:
            self._unknown_method(owner, name)

    def _unknown_method(self, owner, name):
        raise Doubt(f"calls {type(owner.value).__name__}.{name} of an object that came from outside")

    def _array_method(self, owner, name, args, kw):
        """What a method of an array gives."""
        if name in CHANGING:
            self._change_by_method(owner, name, args, kw)
            return constant(None)
        plain, named = [self.whole(a) for a in args], {k: self.whole(v) for k, v in kw.items() if k != "out"}
        if "where" in named or any(isinstance(a, np.ndarray) for a in plain):
            raise Doubt("a method of an array with unusual arguments")
        fn = operator.methodcaller(name, *plain, **named)
        return self.compute_into(fn, [owner], {"out": kw["out"]}) if "out" in kw else calculate(self, fn, [owner], {})

    def _change_by_method(self, owner, name, args, kw):
        """``a.fill(number)``, which does what ``a[...] = number`` does, or ``a.sort()``."""
        if name == "sort" and not args and not kw:
            self.change_by(np.ndarray.sort, SORTED, owner)
        elif name == "fill" and len(args) == 1 and not kw and isinstance(args[0].value, (int, float, np.generic)):
            self.store_elements(owner, constant(...), args[0])
        else:
            raise Doubt(f"calls .{name} of an array with unusual arguments")

    def _method_from_outside(self, f, fn, args, kw):
        """A method of a random generator, a text or a container that existed before."""
        owner, name = fn.value[:2]
        box, cls = owner.value, type(owner.value)
        if is_stream(box):
            draws = shuffle if name == "shuffle" else draw
            f.waiting = ("make", fn, [], {}, self._drawn(draws, getattr(box, name), args, kw, box))
        elif cls is str:
            f.stack.append(self._text_method(box, name, args, kw))
        elif cls is Counter and name == "update":
            f.waiting = ("make", None, [], {}, self.count_outside(box, args, kw))       # its own Python runs meanwhile
        elif cls in DICTS and name == "update":
            self.update_dict(box, PURE_BUILTINS[dict](self, args, kw).value)
            f.stack.append(constant(None))
        elif kw:
            self._unknown_method(owner, name)
        elif cls in (list, tuple) and name in ("index", "count", "copy"):
            f.stack.append(self._container_method(mirror(list, self._items(owner)), name, args))
        elif cls in (*DICTS, Counter) and name in VIEWS and not args:
            f.stack.append(self.view_of_dict(owner, name))
        elif cls in (*DICTS, Counter) and name == "get":
            f.stack.append(self._container_method(self._dict_members(box), name, args))
        elif cls in DICTS and name == "setdefault" and 0 < len(args) < 3:
            f.stack.append(self._static_item(box, self._key(args[0])))      # the call that makes the default is not the rule
        elif cls in (list, deque) and name == "append" and len(args) == 1:
            self.append(box, args[0])
            f.stack.append(constant(None))
        elif cls in (list, deque) and name == "extend" and len(args) == 1 and (type(args[0].value) in (list, tuple) or _is_row(args[0])):
            self.extend(box, args[0])
            f.stack.append(constant(None))
        elif self._takes_first(box, name, args):
            f.stack.append(self.take_first(box))
        else:
            self._unknown_method(owner, name)

    def _text_method(self, text, name, args, kw):
        """What a method of a text gives."""
        if name in ("format", "format_map") and "n}" in text:
            raise Doubt("a text that depends on the locale")
        found = getattr(text, name)(*[self.formatted(a) for a in args], **{k: self.formatted(v) for k, v in kw.items()})
        if type(found) is dict:
            raise Doubt("str.maketrans(), whose dict the program may change")
        return mirror(list, map(constant, found)) if type(found) is list else constant(found)

    @staticmethod
    def _with_fields(box, kw):
        """``box._replace(**kw)`` of a named tuple."""
        if getattr(class_lookup(type(box), "_replace"), "__code__", None) is not REPLACE or not kw.keys() <= set(box._fields):
            raise Doubt("an exception is raised, or a named tuple replaces fields by code of its own")
        return Ref("mirror", type(box)._make([kw.get(field, ref) for field, ref in zip(box._fields, box, strict=True)]))

    @staticmethod
    def _fields_of(box):
        """``box._asdict()`` of a named tuple."""
        if getattr(class_lookup(type(box), "_asdict"), "__code__", None) is not AS_DICT:
            raise Doubt("a named tuple that makes a dict by code of its own")
        return Ref("mirror", dict(zip(box._fields, box, strict=True)))

    def _takes_first(self, box, name, args):
        """Whether a method takes the first member out of a list or deque."""
        if type(box) is deque:
            return name == "popleft" and not args
        return type(box) is list and name == "pop" and len(args) == 1 and self.plain(args[0]) == 0 and type(self.plain(args[0])) is int

    def _dict_members(self, box):
        """A dict from outside, with its members guarded."""
        if not all(map(is_plain_key, box)):
            raise Doubt("goes through a dict with unusual keys")
        self._freeze(box)
        return Ref("mirror", {k: self.overlaid("item", box, k) or self.loaded(v, ("item", box, k, v)) for k, v in box.items()}, ("fixed",))

    def _container_method(self, owner, name, args):
        box = owner.value
        if type(box) is deque and name not in ("count", "index"):
            return self.deque_method(box, name, args)
        if isinstance(box, list) and name in ("append", "extend", "insert", "pop", "reverse", "clear"):
            if owner.source is not None and name == "append" and len(args) == 1:
                self.add_member(owner, args[0])
                return constant(None)
            if owner.source is not None:
                raise self.changed_outside(owner, f"changes a list that came from outside (.{name})")
            plain = [self._items(a) if name == "extend" else a if name == "append" or k else self._key(a) for k, a in enumerate(args)]
            if name == "pop" and not box:
                raise Raised(IndexError)
            result = getattr(box, name)(*plain)
            return result if isinstance(result, Ref) else constant(None)
        if isinstance(box, list) and name == "copy":
            return mirror(list, box)
        if isinstance(box, (list, tuple, deque)) and name in ("index", "count"):
            return constant(getattr(type(box)([self.whole(r) for r in box]), name)(*[self.whole(a) for a in args]))
        if isinstance(box, dict) and name in ("update", "setdefault") and owner.source is not None:
            return self._put_members(owner, name, args)
        if type(box) is dict and name == "copy" and owner.source == ("fixed",):
            return Ref("mirror", box.copy())
        if isinstance(box, dict) and name in ("update", "setdefault", "pop", "copy", "clear") and owner.source is None:
            return self._dict_method(box, name, args)
        if isinstance(box, dict) and name in VIEWS:
            return self.view_of_dict(owner, name)
        if isinstance(box, dict) and name == "get":
            return box.get(self._key(args[0]), args[1] if len(args) > 1 else constant(None))
        raise Doubt(f"calls the method {name} of a {type(box).__name__}")

    def _put_members(self, owner, name, args):
        """``box.update(...)``, or ``box.setdefault(...)``, of a dict among the arguments."""
        if name == "update":
            for k, v in PURE_BUILTINS[dict](self, args, {}).value.items():
                self.put_member(owner, k, v)
            return constant(None)
        key = self._key(args[0])
        if key not in owner.value:
            self.put_member(owner, key, args[1] if len(args) > 1 else constant(None))
        return owner.value[key]

    def _dict_method(self, box, name, args):
        if name == "update":
            box.update(PURE_BUILTINS[dict](self, args, {}).value)
            return constant(None)
        if name == "copy":
            return Ref("mirror", box.copy())
        if name == "clear":
            box.clear()
            return constant(None)
        key, default = self._key(args[0]), args[1] if len(args) > 1 else constant(None)
        if name == "pop" and len(args) == 1 and key not in box:
            raise Raised(KeyError)
        return box.setdefault(key, default) if name == "setdefault" else box.pop(key, default)


def _is_row(ref):
    """Whether a value is an array of numbers along one axis."""
    return is_numeric(ref) and isinstance(ref.value, np.ndarray) and ref.value.ndim == 1
