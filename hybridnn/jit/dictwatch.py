"""Whether dicts, classes, and the classes of objects, have changed since, in nanoseconds.

CPython 3.11 gives every dict a version tag that is new, in the whole process, after each change (PEP 509), and so it does for classes, whose tags
change with those of their bases. Comparing the tags of a hundred dicts natively takes less time than looking one key up. Where the tags are not
to be had, ``watch`` returns None.
"""
import contextlib
import ctypes
import functools
import sys
import types

import numpy as np

__all__ = ["Watch", "watch", "watchable"]

VERSION_OFFSET = 24       # PyDictObject: refcount, type, used, version tag
TYPE_OFFSET = 8           # PyObject: refcount, type
CLASS_OFFSET = 384        # PyTypeObject: tp_version_tag, after tp_del
NO_TAG = -1               # differs from every tag: a class that has none is looked at on every call
DICT_OFFSET = -24         # the managed __dict__ of an instance stands before its garbage collector's head


class Watch:
    """The dicts and classes watched, and objects whose class and ``__dict__`` must stay the same objects.

    ``unchanged()`` tells; ``renew()`` takes the present state as the one to compare with. Objects are not kept alive: the caller must not ask after one
    of them has gone.
    """

    def __init__(self, dicts, objects=(), classes=()):
        self.dicts, self.classes = tuple(dicts), tuple(classes)
        addresses = [*[id(c) + CLASS_OFFSET for c in self.classes], *[id(d) + VERSION_OFFSET for d in self.dicts]]
        for obj in objects:
            addresses += [id(obj) + TYPE_OFFSET, id(obj) + DICT_OFFSET] if _has_dict_word(obj) else [id(obj) + TYPE_OFFSET]
        self._table = np.array([len(addresses), *[w for a in addresses for w in (a, 0)]], np.int64)
        self._cells = [ctypes.c_int64.from_address(a) for a in addresses]
        from hybridnn.jit.native import _builtin  # loads at the first plan, for the import time of the package
        self.unchanged = _builtin("unchanged", "hnn_unchanged", (self._table, self.dicts, self.classes))
        self.renew()

    def renew(self):
        """From here on, compare with the state of now."""
        for cls in self.classes:
            _give_tag(cls)
        k = len(self.classes)
        self._table[2::2] = [*[cell.value or NO_TAG for cell in self._cells[:k]], *[cell.value for cell in self._cells[k:]]]


def watchable(obj):
    """Whether an object's ``__dict__``, if it has one that can be replaced, stands where ``Watch`` looks."""
    return _tags_work() and (type(obj) is types.ModuleType or not hasattr(obj, "__dict__") or _has_dict_word(obj))


def _has_dict_word(obj):
    space = getattr(obj, "__dict__", None)
    return space is not None and ctypes.c_int64.from_address(id(obj) + DICT_OFFSET).value == id(space)


def watch(dicts, objects=(), classes=()):
    """A ``Watch``, or None where this interpreter has no version tags."""
    return Watch(dicts, objects, classes) if _tags_work() else None


def _give_tag(cls):
    """A class has a tag from the first look for an attribute that was not met lately."""
    with contextlib.suppress(AttributeError):
        type.__getattribute__(cls, "_hnn_not_there")


class _Base:
    pass


class _Other:
    pass


class _Probe(_Base):
    pass


def _set(obj, value):
    obj.a = value


@functools.cache
def _tags_work():
    """Tried on real dicts, plain and of instances, with every way to change one, specialised bytecode included."""
    from hybridnn.jit.native import layout_holds
    if sys.version_info[:2] != (3, 11) or not layout_holds():
        return False
    probe, plain = _Probe(), {"a": 1}
    probe.a = 0
    space = probe.__dict__
    seen = Watch([plain, space])
    if not seen.unchanged():
        return False
    changes = [lambda: plain.update(a=2), lambda: plain.__setitem__("a", 3), lambda: plain.pop("a"), lambda: plain.setdefault("a", 5), plain.clear,
               lambda: object.__setattr__(probe, "a", 1), lambda: space.__setitem__("a", 2), lambda: setattr(probe, "b", 1), lambda: delattr(probe, "b")]
    changes += [lambda k=k: _set(probe, (k,)) for k in range(64)]
    for change in changes:
        change()
        if seen.unchanged():
            return False
        seen.renew()
    return seen.unchanged() and _class_tags_work()


def _class_tags_work():
    """Every way to change a class, or a base of it."""
    seen = Watch([], classes=[_Probe])
    changes = [lambda: setattr(_Probe, "a", 1), lambda: setattr(_Probe, "a", 2), lambda: delattr(_Probe, "a"), lambda: setattr(_Base, "b", 1),
               lambda: setattr(_Probe, "__bases__", (_Base, _Other)), lambda: setattr(_Other, "__getattribute__", object.__getattribute__),
               lambda: delattr(_Other, "__getattribute__"), lambda: setattr(_Probe, "__bases__", (_Base,)), lambda: delattr(_Base, "b")]
    for change in changes:
        if not seen.unchanged():
            return False
        change()
        if seen.unchanged():
            return False
        seen.renew()
    return seen.unchanged()
