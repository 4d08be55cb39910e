"""Whether dicts, classes, and the classes of objects, have changed since, in nanoseconds.

CPython 3.11 and 3.12 give every dict a version tag that is new, in the whole process, after each change (PEP 509), and so they do for classes, whose tags
change with those of their bases. Comparing the tags of a hundred dicts natively takes less time than looking one key up. In CPython 3.13 attributes of an
instance may change without the tag of its ``__dict__``: there the values that stand in the instance are compared too, each by its address. Where neither
can be had, ``watch`` returns None.
"""
import contextlib
import ctypes
import functools
import sys
import threading
import types

import numpy as np

__all__ = ["Watch", "space_of", "version", "watch", "watchable"]

VERSIONS = ((3, 11), (3, 12), (3, 13))      # where this has been tried
VERSION_OFFSET = 24       # PyDictObject: refcount, type, used, version tag, keys, values
VALUES_OFFSET = 40
FIRST_VALUE = 8           # PyDictValues: capacity (one byte), ...; the values
TYPE_OFFSET = 8           # PyObject: refcount, type
FUNCTION_OFFSETS = (48, 56, 64)   # PyFunctionObject: __code__, __defaults__, __kwdefaults__, after globals, builtins, name, qualname
ARRAY_OFFSETS = (24, 32, 40, 56, 64)      # PyArrayObject_fields, after data: nd, dimensions, strides, (base,) descr, flags
CLASS_OFFSET = 384        # PyTypeObject: tp_version_tag, after tp_del
NO_TAG = -1               # differs from every word: what has none is looked at on every call
OFTEN = 8                 # how many times a dict has changed when it is better looked at by itself
PLAIN = frozenset([int, float, bool, str, bytes, complex, type(None)])
DICT_OFFSET = -24         # the managed __dict__ of an instance stands before its garbage collector's head


class Watch:
    """The dicts and classes watched, objects whose class and ``__dict__`` must stay the same objects, functions whose code and defaults must, and arrays
    whose shape, strides, dtype and flags must stay.

    ``unchanged()`` tells whether they are as they were. ``renew()`` takes the present state as the one to compare with, and ``confirm()`` of what it gave says
    that all that rests on it has been looked at since: before that, nothing counts as unchanged. Objects are not kept alive: the caller must not ask after
    one of them has gone. What rests on more than the identity of values may look at numbers and texts only: these are kept up to the next ``renew()``, so that
    nothing else comes to lie at their addresses. Objects whose identity matters must be kept elsewhere. ``restless`` has the dicts that have changed so often
    that one would better not watch them: all that is watched has to be looked at when one of them changes.

    Args:
        values: whether to compare the values of instances one by one.
    """

    def __init__(self, dicts, objects=(), classes=(), values=False):
        self.dicts, self.classes, self.values = tuple(dicts), tuple(classes), values
        rows = [[id(c) + CLASS_OFFSET] for c in self.classes]
        self._first = len(rows)
        rows += [_words_of(d) if values else [id(d) + VERSION_OFFSET] for d in self.dicts]
        self._lengths = [len(r) for r in rows[self._first:]]
        self._headers = []        # (row, address of the dimensions) of arrays
        for obj in objects:
            rows.append(_words_of_object(obj))
            if type(obj) is np.ndarray:
                self._headers.append((len(rows) - 1, rows[-1][1], _word(rows[-1][1])))
        starts = np.cumsum([0, *map(len, rows)])
        self._owners = np.repeat(np.arange(len(rows)) - self._first, np.diff(starts))       # of each word, the number of its dict
        self._changes, self.restless = [0] * len(self.dicts), []
        self._headers = [(starts[row], starts[row + 1], *rest) for row, *rest in self._headers]
        addresses = [a for row in rows for a in row]
        self._table = np.array([len(addresses), *[w for a in addresses for w in (a, 0)], 0, 0], np.int64)
        self._places = [ctypes.c_int64.from_address(id(d) + VALUES_OFFSET) for d in self.dicts] if values else []
        self._placed = [p.value for p in self._places]
        self._held = self._true = self._token = None
        self._fits = True
        self._lock = threading.RLock()
        from hybridnn.jit.native import _builtin  # loads at the first plan, for the import time of the package
        self.unchanged = _builtin("unchanged", "hnn_unchanged", (self._table, self.dicts, self.classes))
        self._copy = _builtin("renew", "hnn_renew", (self._table,))
        self.renew()

    def renew(self):
        """From here on, compare with the state of now, once this is confirmed."""
        with self._lock:
            self._token = token = object()
            for cls in self.classes:
                _give_tag(cls)
            if self.values:
                self._held = [v for d in self.dicts for v in d.values() if type(v) in PLAIN]
                self._place()
            self._keep_to_headers()
            before = self._table[2:-2:2].copy()
            before[:1] = before[:1] if self._true is None else self._true
            self._copy()
            self._count(before != self._table[2:-2:2])
            tags = self._table[2:2 + 2 * self._first:2]
            tags[tags == 0] = NO_TAG
            self._true, self._table[2] = self._table[2], NO_TAG
        return token

    def _count(self, changed):
        """Note which dicts have changed, and which of them do so again and again."""
        for k in sorted({*self._owners[changed].tolist()}):      # ``np.unique`` would load numpy.ma
            if 0 <= k < len(self.dicts):
                self._changes[k] += 1
                self.restless += [self.dicts[k]] if self._changes[k] == OFTEN else []

    def confirm(self, token):
        """What rests on the state at that ``renew()`` holds."""
        with self._lock:
            if token is self._token and self._fits:
                self._table[2] = self._true

    def _keep_to_headers(self):
        """If an array's dimensions have moved, they are looked for no longer, and nothing counts as unchanged any more."""
        for start, stop, place, dimensions in self._headers:
            if _word(place) != dimensions:
                self._fits = False
                self._table[1 + 2 * start:1 + 2 * stop:2] = place

    def _place(self):
        """Follow dicts whose values have moved, which happens seldom. They need no more room than at first; if one did, nothing would count as unchanged."""
        placed = [p.value for p in self._places]
        if placed == self._placed:
            return
        at = 1 + 2 * self._first
        for d, room in zip(self.dicts, self._lengths, strict=True):
            words = _words_of(d)
            self._fits = self._fits and len(words) <= room
            words += words[:1] * (room - len(words))
            self._table[at:at + 2 * room:2] = words[:room]
            at += 2 * room
        self._placed = placed


def _words_of(d):
    """Addresses of the words of which one changes when an instance's dict does; in an order in which none is read after what it stands in has gone."""
    words = [id(d) + VERSION_OFFSET, id(d) + VALUES_OFFSET]
    start = _word(id(d) + VALUES_OFFSET)
    n = ctypes.c_uint8.from_address(start).value if start else 0
    return words + [start + FIRST_VALUE + 8 * k for k in range(n)]


def _word(address):
    return ctypes.c_int64.from_address(address).value


def _words_of_object(obj):
    """Addresses of what makes an object or a function what it is."""
    if type(obj) is types.FunctionType:
        return [id(obj) + offset for offset in FUNCTION_OFFSETS]
    if type(obj) is np.ndarray:
        words = [id(obj) + offset for offset in ARRAY_OFFSETS]
        return words + [_word(words[1]) + 8 * k for k in range(2 * obj.ndim)]       # the strides stand behind the dimensions
    return [id(obj) + TYPE_OFFSET, id(obj) + DICT_OFFSET] if _has_dict_word(obj) else [id(obj) + TYPE_OFFSET]


def watchable(obj):
    """Whether what makes an object what it is, its ``__dict__`` too if that can be replaced, stands where ``Watch`` looks."""
    if type(obj) is types.FunctionType:
        return _how() is not None and _functions_hold()
    if type(obj) is np.ndarray:
        return _how() is not None and _arrays_hold()
    return _how() is not None and (type(obj) is types.ModuleType or space_of(obj) is None or _has_dict_word(obj))


def space_of(obj):
    """The ``__dict__`` of an object, None if it has none: its class's ``__getattr__`` is not asked."""
    try:
        return object.__getattribute__(obj, "__dict__")
    except AttributeError:
        return None


def _has_dict_word(obj):
    space = space_of(obj)
    return space is not None and _word(id(obj) + DICT_OFFSET) == id(space)


def watch(dicts, objects=(), classes=()):
    """A ``Watch``, or None where this interpreter has no version tags."""
    values = _how()
    return None if values is None else Watch(dicts, objects, classes, values)


def version(space):
    """A number that is another one after each change of a dict, which no instance has; None where that cannot be had."""
    return None if _how() is None else _word(id(space) + VERSION_OFFSET)


def _give_tag(cls):
    """A class has a tag from the first look for an attribute that was not met lately."""
    with contextlib.suppress(AttributeError):
        type.__getattribute__(cls, "_hnn_not_there")


def _probes():
    """Classes to try changes on, which no other thread has: a class, its base and another one."""
    class Base:
        pass

    class Other:
        pass

    class Probe(Base):
        pass
    return Probe, Base, Other


def _set(obj, value):
    obj.a = value


@functools.cache
def _how():
    """What ``Watch`` takes for ``values`` here, or None if changes are not to be seen."""
    from hybridnn.jit.native import layout_holds
    if sys.version_info[:2] not in VERSIONS or not layout_holds() or not _class_tags_work():
        return None
    return next((values for values in (False, True) if (values is False or _values_hold()) and _tags_work(values)), None)


def _values_hold():
    """Whether the values of an instance's dict stand where ``Watch`` looks for them, and move when the instance goes."""
    probe = _probes()[0]()
    probe.a, probe.b = first, second = object(), object()
    space = probe.__dict__
    words = _words_of(space)[2:]
    if not 2 <= len(words) <= 254 or [_word(w) for w in words[:2]] != [id(first), id(second)]:
        return False
    del probe
    return _words_of(space)[2] != words[0]


def _tags_work(values):
    """Tried on real dicts, plain and of instances, with every way to change one, specialised bytecode included."""
    probe, plain = _probes()[0](), {"a": 1}
    probe.a = 0
    space = probe.__dict__
    seen = Watch([plain, space], values=values)
    if seen.unchanged():
        return False
    seen.confirm(seen.renew())
    changes = [lambda: plain.update(a=2), lambda: plain.__setitem__("a", 3), lambda: plain.pop("a"), lambda: plain.setdefault("a", 5), plain.clear,
               lambda: plain.__ior__({"b": 1}), plain.popitem, lambda: plain.update({str(k): k for k in range(100)}),
               lambda: object.__setattr__(probe, "a", 1), lambda: space.__setitem__("a", 2), lambda: setattr(probe, "b", 1), lambda: delattr(probe, "b")]
    changes += [lambda k=k: _set(probe, (k,)) for k in range(200)]
    changes += [lambda: space.pop("a"), lambda: _set(probe, 3), lambda: space.update({str(k): k for k in range(100)}), lambda: _set(probe, 4)]
    changes += [lambda k=k: _set(probe, (k,)) for k in range(200)]
    changes += [lambda: delattr(probe, "a"), space.clear, lambda: _set(probe, 5)]
    return all(_is_seen(seen, change) for change in changes)


def _class_tags_work():
    """Every way to change a class, or a base of it."""
    probe, base, other = _probes()
    seen = Watch([], classes=[probe])
    seen.confirm(seen.renew())
    changes = [lambda: setattr(probe, "a", 1), lambda: setattr(probe, "a", 2), lambda: delattr(probe, "a"), lambda: setattr(base, "b", 1),
               lambda: setattr(probe, "__bases__", (base, other)), lambda: setattr(other, "__getattribute__", object.__getattribute__),
               lambda: delattr(other, "__getattribute__"), lambda: setattr(probe, "__bases__", (base,)), lambda: delattr(base, "b")]
    return all(_is_seen(seen, change) for change in changes)


@functools.cache
def _functions_hold():
    """Whether the parts of a function stand where ``Watch`` looks for them."""
    def probe(a, b=1, *, c=2):
        return a
    parts = [probe.__code__, probe.__defaults__, probe.__kwdefaults__]
    return [_word(id(probe) + offset) for offset in FUNCTION_OFFSETS] == [id(p) for p in parts]


@functools.cache
def _arrays_hold():
    """Whether an array's header looks as ``Watch`` takes it to, and what it can be made to say is noticed."""
    probe = np.zeros((2, 3), np.float32)
    nd, dimensions, strides, descr, _ = [_word(id(probe) + offset) for offset in ARRAY_OFFSETS]
    if (nd, descr, strides) != (2, id(probe.dtype), dimensions + 16) or [_word(dimensions + 8 * k) for k in range(4)] != [*probe.shape, *probe.strides]:
        return False
    seen = Watch([], [probe])
    seen.confirm(seen.renew())
    return _is_seen(seen, lambda: setattr(probe.flags, "writeable", False)) and _is_seen(seen, lambda: setattr(probe.flags, "writeable", True))


def _is_seen(seen, change):
    """Whether a ``Watch`` notices a change, and nothing but that."""
    if not seen.unchanged():
        return False
    change()
    if seen.unchanged():
        return False
    seen.confirm(seen.renew())
    return seen.unchanged()
