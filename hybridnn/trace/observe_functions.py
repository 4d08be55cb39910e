"""Users' ``FunctionNode``s and ``Function``s: type checks, forward and backward are followed where the library calls them, and what these compute with
NumPy is computed by the plan."""
import operator
import types
from dataclasses import dataclass, field

import numpy as np

from hybridnn.core import OPS
from hybridnn.core.function_node import FunctionNode
from hybridnn.core.type_check import LightTypeInfoTuple
from hybridnn.core.variable import Variable
from hybridnn.function import Function, FunctionAdapter
from hybridnn.link import Link
from hybridnn.trace.computed import Computed, identify, sources_of
from hybridnn.trace.events import Number
from hybridnn.trace.path_tape import leaf_variables, rebinds_along
from hybridnn.trace.refs import Doubt, Ref, class_lookup, constant, is_library_module, mirror

__all__ = ["Functions"]

FORWARD, BACKWARD, CHECK = ("forward", "forward_cpu"), ("backward", "backward_cpu"), "check_type_forward"
ADAPTED = FunctionAdapter.backward.__code__
HANDING_ON = frozenset([OPS[name] for name in ("add", "mul", "sub")])      # operations whose rules take a number as it is, or not at all


@dataclass(eq=False, slots=True)
class Applied:
    """One application: the Ref of the function, the program's arrays with their Refs (inputs and outputs), and what forward returned."""
    function: Ref
    arrays: list = field(default_factory=list)
    returned: Ref | None = None


@dataclass(frozen=True)
class Gradient:
    """The value that became a gradient."""
    vid: int


@dataclass(frozen=True)
class Walk:
    """A backward that ran as a walk, as what it did: (leaf, value, whether it was added), in ``grads[0]``."""
    grads: tuple
    key: tuple = ((False, False, None),)


class Functions:
    """``applied`` has, by id of a function, its application; ``function_outputs`` the Refs of outputs, by vid."""

    def calls_method(self, frame, code):
        """Whether the library calls a method of a function that the program has made in this call; if so, it is followed from here on."""
        kind, names = self.trusted[1], code.co_varnames
        real = frame.f_locals.get(names[0]) if names else None
        if kind not in ("apply_function", "backward") or not isinstance(real, (FunctionNode, Function)):
            return False
        if kind == "apply_function":
            return self._follow_application(frame, code, real, frame.f_locals[names[1]])
        applied, old = self.applied.get(id(real)), isinstance(real, Function)
        if applied is None or not self._is_method(applied.function.value.cls, BACKWARD if old else BACKWARD[:1], code):
            return False
        given, gs = (frame.f_locals[name] for name in names[1:3])
        if old:
            taken = [self._inputs_again(applied, given), self._arrays_of_gradients(frame, gs)]
        else:
            taken = [constant(given), mirror(tuple, [constant(None) if g is None else self.known_variable(g) for g in gs])]
        self._follow_method(frame, code, [applied.function, *taken])
        return True

    def _follow_application(self, frame, code, real, arrays):
        """Of the type check, which gets the arrays themselves, or of forward."""
        function, *inputs = self.frames[-1].waiting[2]
        if function.kind != "object" or not self._is_method(function.value.cls, (CHECK, *FORWARD), code):
            return False
        applied = self.applied.get(id(real))
        if applied is None:
            applied = self.applied[id(real)] = Applied(function)
            self.keep.append(real)
            items = inputs if isinstance(real, Function) else self._items(inputs[0])
            given = [self._array_of_input(ref, a) for ref, a in zip(items, arrays, strict=True)]
            applied.arrays += zip(arrays, given, strict=True)
        if applied.function is not function or applied.returned is not None:
            raise Doubt("applies a function twice")
        given = [ref for _, ref in applied.arrays]
        self._follow_method(frame, code, [function, mirror(LightTypeInfoTuple if code.co_name == CHECK else tuple, given)])
        return True

    def checks_types(self):
        """Whether what runs is the type check of a function."""
        return any(f.suspended is not None and f.code.co_name == CHECK for f in self.frames)

    def _inputs_again(self, applied, arrays):
        """The inputs that backward of a ``Function`` gets, None for those that it does not retain."""
        refs = [constant(None) if x is None else next((ref for a, ref in applied.arrays if a is x), None) for x in arrays]
        if None in refs:
            raise Doubt("a function retains an array whose origin is not known")
        return mirror(tuple, refs)

    def _arrays_of_gradients(self, frame, arrays):
        """The gradients that backward of a ``Function`` gets, the arrays of those that the walk has."""
        while frame.f_code is not ADAPTED:
            frame = frame.f_back
        pairs = zip(arrays, frame.f_locals["grad_outputs"], strict=True)
        return mirror(tuple, [constant(None) if g is None else self.array_of(self.known_variable(g), a) for a, g in pairs])

    def _is_method(self, cls, names, code):
        self.guard("surface", cls)
        found = [class_lookup(cls, name) for name in names]
        return any(isinstance(fn, types.FunctionType) and fn.__code__ is code for fn in found)

    def _follow_method(self, frame, code, args):
        """The library's frame waits until the method returns."""
        fn = class_lookup(args[0].value.cls, code.co_name)
        suspended, self.trusted = self.trusted, None
        self._push_frame(frame, code, constant(fn), args, {})
        self.frames[-1].suspended = suspended

    def method_returned(self, f, ref, value):
        """A followed method has returned to the library."""
        self.trusted = f.suspended
        if f.code.co_name == CHECK:
            return
        if self.trusted[1] == "apply_function":
            next(a for a in reversed(self.applied.values()) if a.function is self.frames[-1].waiting[2][0]).returned = ref
        else:
            identify(self, ref, value)

    def _array_of_input(self, ref, a):
        if not isinstance(ref.value, Variable):
            identify(self, ref, a)
            return ref
        return self.array_of(ref, a)

    def function_applied(self, refs, value, start):
        """What ``apply`` returned, whose arrays are what forward has computed."""
        applied = next((a for a in reversed(self.applied.values()) if a.function is refs[0]), None)
        path = self.call.path
        if len(path) != start + 1 or path[start].kind != "function" or applied is None or applied.returned is None:
            raise Doubt("a function with its own Python that did not replay")
        several = type(value) is tuple
        for o, ref, v in zip(path[start].outs, self._items(applied.returned), value if several else (value,), strict=True):
            self._note_output(applied, o.vid, ref, v._array)
        return mirror(tuple, [self.known_variable(v) for v in value]) if several else self.known_variable(value)

    def _note_output(self, applied, vid, ref, a):
        y = ref.value
        if ref.kind == "array" and type(y) is np.ndarray and y.base is None and y.flags.c_contiguous and ref.source.real is None:
            identify(self, ref, a)
        elif ref.kind == "array" and isinstance(y, np.generic):
            if (y.dtype, y.tobytes()) != (a.dtype, a.tobytes()):
                raise Doubt("an array of the program's differs from what NumPy made for the observer")
        elif ref.kind != "fresh" or y is not a or ref.source[1] in self.call.view_of:
            raise Doubt("a function returns an array that may be seen elsewhere")
        self.take([ref])
        self.function_outputs[vid] = ref
        applied.arrays.append((a, ref))

    def retained(self, refs, value):
        """The Variables of inputs or outputs that backward takes."""
        applied = next((a for a in reversed(self.applied.values()) if a.function is refs[0]), None)
        found = []
        for v in value:
            ref = next((r for a, r in (() if applied is None else applied.arrays) if a is v._array), None)
            if ref is None:
                raise Doubt("a function retains an array whose origin is not known")
            self.keep.append(v)
            found.append(Ref("retained", v, ref))
        return mirror(tuple, found)

    def note_gradients(self):
        """The gradients of leaves before a walk."""
        self.before_walk = {id(x): self._gradient(x) for x in self._leaves_of_walk().values()}
        self.walk_begins = len(self.call.path)

    def _leaves_of_walk(self):
        return {vid: x for vid, x in leaf_variables(self.call, rebinds_along(self.call.path)).items() if x._requires_grad}

    def _gradient(self, x):
        node = x._tape or x.node._tape
        return None if node is None else node.grad

    def walked(self, output):
        """The effect of a backward through users' functions: which values became gradients."""
        self._note_numbers_of_walk()
        found = []
        for vid, x in self._leaves_of_walk().items():
            before, g = self.before_walk.get(id(x)), self._gradient(x)
            if g is before:
                continue
            made = self.call.known_vid(g)
            if before is not None or made is None or made in self.shown:
                raise Doubt("a gradient behind a function with its own Python that is added to another, or seen elsewhere")
            found.append((vid, Gradient(made), False))
        self.effects.append(("backward", Walk((found, [])), output))
        return constant(None)

    def _note_numbers_of_walk(self):
        """Gradient rules take numbers that their operations have taken, which may be others on every call; what they would compute of these is not known."""
        path, begins = self.call.path, self.walk_begins
        before, walked = [[(e, o) for e in part for o in e.operands if type(o) is Number and o.value is None]
                          for part in ([e for e in path[:begins] if any(app.taped for app in e.apps)], path[begins:])]
        values, known = self.call.values, self.numbers
        if walked and not all(o.vid not in known or e.key[0] in HANDING_ON or self._stays(known[o.vid]) for e, o in before):
            raise Doubt("a number that changes between calls, and a gradient through a function with its own Python")
        for _, o in [(e, o) for e, o in walked if o.vid not in known]:
            same = [earlier.vid for _, earlier in before if values[earlier.vid] is values[o.vid]]
            if not known.keys().isdisjoint(same):
                if type(values[o.vid]) is not float:     # one int may stand for several
                    raise Doubt("a gradient through a function with its own Python takes one of several ints that are equal")
                known[o.vid] = self._one_of_these([known.get(vid, constant(values[o.vid])) for vid in same])

    def _stays(self, ref):
        """Whether a number is a setting of a layer, such as an epsilon, which is then guarded to be what it is."""
        where = ref.source if ref.kind == "arg" else ()
        if where[:2] != ("load", "attr") or not isinstance(where[2], Link) or not is_library_module(type(where[2]).__module__):
            return False
        self.guard("value", where, ref.value)
        return True

    def _one_of_these(self, refs):
        """The Ref of a number that a gradient rule takes, which is any of these: they have to be the same object on every call."""
        first, *others = {id(r): r for r in sorted(refs, key=lambda r: r.kind == "static")}.values()
        if others and any(map(sources_of, (first, *others))):
            raise Doubt("a gradient through a function with its own Python takes one of several numbers that are equal")
        for ref in others:
            self.guard("outcome", Ref("number", True, Computed(operator.is_, [first, ref], {}, 0, safe=True)), True)
        return first
