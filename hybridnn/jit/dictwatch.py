"""Whether dicts, and the classes of objects, have changed since, in nanoseconds.

CPython 3.11 gives every dict a version tag that is new, in the whole process, after each change (PEP 509). Comparing the tags of
a hundred dicts natively takes less time than looking one key up. Where the tags are not to be had, ``watch`` returns None.
"""
import ctypes
import functools
import sys

import numpy as np

__all__ = ["Watch", "watch", "watchable"]

VERSION_OFFSET = 24       # PyDictObject: refcount, type, used, version tag
TYPE_OFFSET = 8           # PyObject: refcount, type
DICT_OFFSET = -24         # the managed __dict__ of an instance stands before its garbage collector's head


class Watch:
    """The dicts watched, and objects whose class and ``__dict__`` must stay the same objects.

    ``unchanged()`` tells; ``renew()`` takes the present state as the one to compare with. Objects are not kept alive: the caller must not ask after one
    of them has gone.
    """

    def __init__(self, dicts, objects=()):
        self.dicts = tuple(dicts)
        addresses = [id(d) + VERSION_OFFSET for d in self.dicts]
        for obj in objects:
            addresses += [id(obj) + TYPE_OFFSET, id(obj) + DICT_OFFSET] if _has_dict_word(obj) else [id(obj) + TYPE_OFFSET]
        self._table = np.array([len(addresses), *[w for a in addresses for w in (a, 0)]], np.int64)
        self._cells = [ctypes.c_int64.from_address(a) for a in addresses]
        from hybridnn.jit.native import _builtin  # loads at the first plan, for the import time of the package
        self.unchanged = _builtin("unchanged", "hnn_unchanged", (self._table, self.dicts))
        self.renew()

    def renew(self):
        """From here on, compare with the state of now."""
        self._table[2::2] = [cell.value for cell in self._cells]


def watchable(obj):
    """Whether an object's ``__dict__``, if it has one, stands where ``Watch`` looks."""
    return _tags_work() and (not hasattr(obj, "__dict__") or _has_dict_word(obj))


def _has_dict_word(obj):
    space = getattr(obj, "__dict__", None)
    return space is not None and ctypes.c_int64.from_address(id(obj) + DICT_OFFSET).value == id(space)


def watch(dicts, objects=()):
    """A ``Watch``, or None where this interpreter has no version tags."""
    return Watch(dicts, objects) if _tags_work() else None


class _Probe:
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
    return seen.unchanged()
