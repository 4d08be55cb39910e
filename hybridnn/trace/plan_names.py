"""How the text of a plan names objects, and where it reads values.

Objects stand in the text as names of a namespace. Objects at the root of what a function reaches (found in globals, cells or arguments) are held weakly, and
the plan goes when one of them goes.
"""
import types
import weakref

import numpy as np

from hybridnn.trace.refs import class_lookup

__all__ = ["PlanNames", "number_of"]


class PlanNames:
    """Names of objects in one generated function, and expressions that read a source anew. ``on_death`` is called when a root object goes."""

    def __init__(self, on_death):
        self.names, self.known, self.on_death = {}, {}, on_death
        self.drawn = set()      # names of what is drawn at which a line looks

    def strong(self, obj):
        """A name for an object that the plan keeps."""
        key = ("strong", id(obj))
        if key not in self.known:
            name = self.known[key] = f"k{len(self.names)}"
            self.names[name] = obj
        return self.known[key]

    def held(self, obj):
        """An expression for an object, weak if it can be (modules, functions and classes live on anyway)."""
        if obj is None or obj is True or obj is False:
            return repr(obj)
        if isinstance(obj, (types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, np.ndarray)):
            return self.strong(obj)
        key = ("weak", id(obj))
        if key not in self.known:
            try:
                ref = weakref.ref(obj, self.on_death)
            except TypeError:
                return self.strong(obj)
            name = self.known[key] = f"w{len(self.names)}"
            self.names[name] = ref
        return f"{self.known[key]}()"

    def space(self, obj):
        """A name for an object's ``__dict__``."""
        key = ("space", id(obj))
        if key not in self.known:
            name = self.known[key] = f"d{len(self.names)}"
            self.names[name] = obj.__dict__
        return self.known[key]

    def read(self, source):
        """An expression that reads a source anew."""
        kind = source[0]
        if kind == "arg":
            return f"args[{source[1]}]"
        if kind == "drawn":
            self.drawn.add(source[1])
            return source[1]
        if kind == "kwarg":
            return f"kwargs[{source[1]!r}]"
        if kind == "self":
            return "self"
        if kind in ("item", "row"):
            key = source[2] if isinstance(source[2], int) and not isinstance(source[2], bool) else self.strong(source[2])
            return f"{self.read(source[1])}[{key}]"
        if kind == "member":
            return f"{self.read(source[1])}.__dict__[{source[2]!r}]" if source[3] is None else f"{self.strong(source[3])}.__get__({self.read(source[1])})"
        if kind == "load":
            return self._load(*source[1:])
        if kind == "inside":
            return f"{self.strong(source[1])}._array"
        if kind == "arrayof":
            return f"{self.read(source[1])}._array"
        if kind == "held":
            return self.strong(source[1])
        if kind == "slot":
            return f"{self.strong(source[1])}._state[{source[2]!r}]"
        raise AssertionError(f"source {source!r}")

    def _load(self, kind, *where):
        if kind == "attr":
            return self._get(self.space(where[0]), repr(where[1]))
        if kind == "length":
            return f"len({self.strong(where[0])})"
        if kind == "count":
            return f"{self.strong(number_of)}({self.strong(where[0])})"
        if kind == "tail":
            return self._tail(*where)
        if kind == "slotattr":
            return self._slot(*where[:2])
        if kind == "global":
            return f"{self.strong(where[0])}.get({where[1]!r})"
        if kind == "cell":
            return f"{self.strong(where[0])}.cell_contents"
        if kind == "item" and isinstance(where[0], dict) and type(where[0]) is not dict:      # a guard makes no defaults, and runs no method of a class's own
            return f"{self.strong(dict.get)}({self.strong(where[0])}, {self.strong(where[1])})"
        if kind == "item":
            return f"{self.strong(where[0])}[{self.strong(where[1])}]"
        if kind == "classattr":
            return f"{self.strong(class_lookup)}({self.strong(where[0])}, {where[1]!r})"
        raise AssertionError(f"load {kind}")

    def _tail(self, box, n, skipped):
        """The last ``n`` members of a list, or all of a list or deque, without the first few."""
        text = self.strong(box) if n is not None and not skipped else f"[*{self.strong(box)}]"
        return text + (f"[{skipped}:]" if skipped else "") + ("" if n is None else f"[-{n}:]")

    def _get(self, space, what):
        """The text that gets something from a dict, of whose class no method runs."""
        return f"{space}.get({what})" if type(self.names.get(space)) is dict else f"{self.strong(dict.get)}({space}, {what})"

    def _slot(self, obj, name):
        """The text that reads a slot, whatever the class has under its name now, which may run code."""
        return f"{self.strong(class_lookup(type(obj), name))}.__get__({self.held(obj)})"


def number_of(counter):
    """The int that an ``itertools.count`` gives next, without taking it; None if it counts otherwise."""
    text = repr(counter)[len("count("):-1]
    return int(text) if text.removeprefix("-").isdigit() else None
