"""Watches one run of a function, instruction by instruction, to prove what it depends on.

While a verified replay runs the user's Python, ``Observer`` is the thread's trace function. It follows the bytecode of the user's functions (and of links)
with a stack of ``Ref``: what each value is and where it came from. Reading a global, a cell or an attribute leaves a guard; calling the library's functions is
known to depend on the arguments only; everything else (a C function that is not known to be pure, a store into an object that existed before, an exception)
is a ``Doubt`` with its line, and the function stays in verified replay. The observer changes nothing: CPython runs the program.
"""
import dis
import gc
import operator
import sys
import threading
import types

import numpy as np

from hybridnn.config import config, force_backprop_mode, no_backprop_mode, using_config
from hybridnn.core.variable import Variable
from hybridnn.errors import raised_by_signal
from hybridnn.link import ChainList
from hybridnn.sequential import Sequential
from hybridnn.trace.arrays import ARRAY_METHODS, calculate, combine, draw, folded, identify, is_array_function, is_draw, memory_of, rests_on_constants
from hybridnn.trace.events import vid_of
from hybridnn.trace.refs import (
    PURE_BUILTINS,
    SCALARS,
    Cell,
    Closure,
    Doubt,
    Iterator,
    Ref,
    Rows,
    bind_arguments,
    class_lookup,
    constant,
    is_library,
    is_pure,
    mirror,
    trusted_kind,
)
from hybridnn.trace.summaries import summarize

__all__ = ["Observer"]

HEAP_TYPE = 1 << 9       # Py_TPFLAGS_HEAPTYPE: a class that can be changed
COMPARISONS = ("<", "<=", "==", "!=", ">", ">=")
PASSED = ("hybridnn.trace.api", "hybridnn.trace.floats", "hybridnn.config")    # what runs between a call of a traced function and the function
TRACED = "a traced method"
BLOCKS = frozenset([using_config, no_backprop_mode, force_backprop_mode])
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv, "%": operator.mod, "**": operator.pow,
             "@": operator.matmul, "&": operator.and_, "|": operator.or_, "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
             "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge}
UNARY = {"-": operator.neg, "+": operator.pos, "~": operator.invert}
_instructions = {}


def instructions(code):
    """offset -> instruction of a code object, kept for the process (bounded by the program's size)."""
    found = _instructions.get(code)
    if found is None:
        found = _instructions[code] = {i.offset: i for i in dis.get_instructions(code)}
    return found


class Frame:
    """The state of a followed Python frame."""
    __slots__ = ("cells", "code", "fn", "kwnames", "locals", "real", "result", "stack", "table", "waiting")

    def __init__(self, code, fn, local, cells, real):
        self.code, self.fn, self.locals, self.cells, self.real = code, fn, local, cells, real
        self.stack, self.kwnames, self.waiting, self.result = [], (), None, None
        self.table = instructions(code)


class Observer:
    """Follow the run of ``fn(*args, **kwargs)`` under ``call``; afterwards ``doubt`` is None and ``result`` describes what it returned, or ``doubt``
    says why not.

    Attributes:
        guards: dict of facts, in order: (kind, ...) -> True. See ``guards.py`` for the kinds.
        effects: what the run did beside computing: ("grads", ...), ("update", ...), ("setattr", ...), in order.
        origins: id(Variable or array) -> Ref, for everything that came from outside.
        numbers: vid -> Ref for run-time numbers with a known origin.
        draws: the program's own draws, each with how many of the library's came before.
    """

    def __init__(self, call, fn, self_object, args, kwargs):
        self.call, self.fn, self.args, self.kwargs = call, fn, args, kwargs
        self.self_object = self_object
        self.frames, self.trusted = [], None
        self.guards, self.effects, self.origins, self.numbers = {}, [], {}, {}
        self.overlay, self.keep, self.views, self.draws = {}, [], [], []
        self.memory = {}
        self.doubt = self.result = None
        self.started = False

    # ------------------------------------------------------------------------------------------------------ trace function

    def __enter__(self):
        self.hook = self.on_call       # CPython 3.11 holds no reference of its own to a trace function that it is calling
        sys.settrace(self.hook)
        return self

    def __exit__(self, *exc):
        self._let_go()
        self.hook = None

    def _let_go(self):
        """Stop tracing, unless the program has set a trace function of its own meanwhile."""
        if sys.gettrace() == self.on_call:
            sys.settrace(None)

    def stop(self, reason, frame=None):
        """Doubt: note why, and stop looking."""
        if self.doubt is None:
            where = frame or (self.frames[-1].real if self.frames else None)
            line = f"{where.f_code.co_filename}:{where.f_lineno} in {where.f_code.co_name}" if where is not None else "<unknown>"
            self.doubt = Doubt(reason, line)
        self._let_go()
        for f in self.frames:
            f.real.f_trace_opcodes = False      # never drop a trace function while CPython 3.11 is calling it: it holds no reference of its own
        self.frames.clear()

    def fail(self, error):
        """An exception here must never reach the user's program, unless it is the user's own. Following an instruction that raises in CPython too is
        one way to get here."""
        if raised_by_signal(error):
            raise error
        self.stop(error.reason if isinstance(error, Doubt) else f"the proof met {type(error).__name__}: {error}")

    def on_call(self, frame, event, arg):
        if self.doubt is not None:
            return None
        try:
            return self._on_call(frame)
        except Exception as error:
            self.fail(error)
            return None

    def _on_call(self, frame):
        code = frame.f_code
        if gc.callbacks and _in_garbage_collection(frame):
            return None
        if self.trusted is not None:
            if not is_library(frame):
                raise Doubt(f"the library calls back {frame.f_globals.get('__name__')}.{code.co_name}")
            return None
        if not self.frames:
            return self._enter_root(frame, code) if not self.started else None
        top = self.frames[-1]
        if top.waiting is None:
            raise Doubt(f"{code.co_name} was called implicitly")
        if top.waiting[0] in ("make", "sum") or len(top.waiting) == 6 and frame.f_globals.get("__name__") in PASSED:
            return None
        self._identify(frame, code, top.waiting[2])
        kind = trusted_kind(frame)
        if kind:
            self.trusted = (frame, kind, len(self.call.path))
            self._before_trusted(kind, top)
            return self.on_trusted
        if kind is None:
            raise Doubt(f"calls {frame.f_globals.get('__name__')}.{code.co_name}, whose effects are not known")
        self._enter(frame, code, top)
        return self.on_event

    def _identify(self, frame, code, refs):
        """Arrays and Variables made by the function are met as arguments of the next call."""
        if not any(r.kind in ("array", "mirror") or r.kind == "made" and r.value is None for r in refs):
            return
        values = frame.f_locals
        names = code.co_varnames[:code.co_argcount]
        given = list(values["inputs"]) if code.co_name == "__array_ufunc__" else [values[n] for n in names]
        if code.co_flags & 4 and code.co_name != "__array_ufunc__":
            given += values[code.co_varnames[code.co_argcount + code.co_kwonlyargcount]]
        for ref, x in zip(refs, given):
            if ref.kind == "made" and ref.value is None:
                ref.value = x
                self.keep.append(x)
                self.origins.setdefault(id(x), ref)
            else:
                identify(self, ref, x)

    def _enter_root(self, frame, code):
        fn = self.fn
        if code is not getattr(fn, "__code__", None):
            return None
        self.started = True
        pos = [Ref("arg", x, ("arg", i)) for i, x in enumerate(self.args)]
        if self.self_object is not None:
            pos.insert(0, self.root_object(self.self_object, ("self",)))
        kw = {k: Ref("arg", x, ("kwarg", k)) for k, x in self.kwargs.items()}
        self._push_frame(frame, code, constant(fn), pos, kw)
        return self.on_event

    def _push_frame(self, frame, code, fn, pos, kw):
        for ref in [*pos, *kw.values()]:
            self.note_origin(ref)
        local, cells = bind_arguments(self, code, fn, pos, kw)
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if code.co_flags & 0x2A0:
            raise Doubt(f"{code.co_name} is a generator or coroutine")
        self.frames.append(Frame(code, fn, local, cells, frame))

    def _enter(self, frame, code, top):
        fn, pos, kw = top.waiting[1:4]
        target = fn
        if fn.kind == "closure":
            if fn.value.code is not code:
                raise Doubt(f"{code.co_name} was called implicitly")
        elif getattr(fn.value, "__code__", None) is not code:
            raise Doubt(f"{code.co_name} was called implicitly")
        self._push_frame(frame, code, target, pos, kw)

    def on_trusted(self, frame, event, arg):
        """Local trace function of a library function called from followed code."""
        frame.f_trace_lines = False
        if event == "exception":
            self.trusted = None
            self.stop("an exception")
        elif event == "return" and self.trusted is not None and self.trusted[0] is frame:
            _, kind, start = self.trusted
            self.trusted = None
            try:
                self.frames[-1].result = self._after_trusted(kind, start, arg)
            except Exception as error:
                self.fail(error)
        return self._next(frame, event, self.on_trusted)

    def _next(self, frame, event, local):
        """The local trace function from here on; a frame that is done lets go of the observer."""
        if event == "return":
            frame.f_trace_opcodes = False
            return None
        return local

    def on_event(self, frame, event, arg):
        """Local trace function of a followed frame."""
        if self.doubt is not None:
            return None
        try:
            if event == "opcode":
                self._finish(self.frames[-1])
                self._begin(self.frames[-1], frame.f_lasti)
            elif event == "return":
                self._return(self.frames[-1])
            elif event == "exception":
                raise Doubt("an exception")
        except Exception as error:
            self.fail(error)
            return None
        return self._next(frame, event, self.on_event)

    def _return(self, f):
        if f.waiting is None or f.waiting[0] != "return":
            raise Doubt("an exception")
        ref = f.waiting[1]
        self.frames.pop()
        if self.frames:
            self.frames[-1].result = ref
        else:
            self.result = ref
            self._let_go()

    def _finish(self, f):
        """Complete the previous instruction with what its call returned."""
        waiting, f.waiting = f.waiting, None
        if waiting is None:
            return
        if waiting[0] == "make":
            f.stack.append(waiting[4])
            return
        if waiting[0] == "sum":
            f.stack.append(self._summed(waiting[1]))
            return
        if f.result is None:
            name = getattr(waiting[1].value, "__name__", waiting[1].value) if isinstance(waiting[1], Ref) else waiting[1]
            raise Doubt(f"calls {name}, whose effects are not known")
        result, f.result = f.result, None
        after = waiting[4]
        if after == "push":
            f.stack.append(result)
        elif after == "variable":
            f.stack.append(waiting[2][0])

    def _begin(self, f, offset):
        i = f.table[offset]
        method = getattr(self, "op_" + i.opname, None)
        if method is None:
            raise Doubt(f"the instruction {i.opname} is not understood")
        method(f, i)

    # ------------------------------------------------------------------------------------------------------------- origins

    def guard(self, *fact):
        self.keep.append(fact)
        self.guards[identity(fact)] = fact

    def root_object(self, value, source):
        """An object reached from an argument: the same object on every call, checked."""
        self.guard("root", source, value)
        return Ref("static", value, source)

    def note_origin(self, ref):
        if isinstance(ref.value, np.generic) and ref.source is not None and ref.kind in ("arg", "static") and ref.value.dtype.kind in "fiu":
            self.keep.append(ref.value)
            self.origins.setdefault(id(ref.value), ref)
        if isinstance(ref.value, (Variable, np.ndarray)) and ref.source is not None and ref.kind in ("arg", "static", "state"):
            self.keep.append(ref.value)
            self.origins.setdefault(id(ref.value), ref)
            array = ref.value._array if isinstance(ref.value, Variable) else ref.value
            first = self.memory.setdefault(id(array), ref)
            if first.source != ref.source or first.value is not ref.value:
                self.guard("alias", place(first), first.value, place(ref), ref.value)

    def use(self, ref):
        """``ref`` as something that is the same on every call: adds the guard that makes it so."""
        if ref.kind in ("static", "fresh", "state", "view", "made", "array", "mask", "closure", "iterator", "null", "method"):
            return ref
        if ref.kind == "arg":
            return self._use_argument(ref)
        if ref.kind in ("hole", "number"):
            raise Doubt("a Python number read from a Variable decides what happens")
        return ref

    def _use_argument(self, ref):
        v = ref.value
        if isinstance(v, (Variable, np.ndarray)) or isinstance(v, np.generic) and v.dtype.kind in "fiu":
            return ref
        if type(v) in SCALARS:
            self.guard("value", ref.source, v)
            return Ref("static", v)
        if type(v) in (list, tuple) and len(v) <= 64:
            return mirror(type(v), [self._item(ref, k, x) for k, x in enumerate(v)], ref)
        if type(v) is dict and len(v) <= 64 and all(type(k) in SCALARS for k in v):
            return Ref("mirror", {k: self._item(ref, k, x) for k, x in v.items()}, ref.source)
        return self.root_object(v, ref.source)

    def _item(self, ref, k, x):
        item = Ref("arg", x, ("item", ref.source, k))
        self.note_origin(item)
        return item

    def loaded(self, value, fact):
        """A value read from a namespace: numbers and objects are guarded; arrays and Variables are read anew on every call."""
        if isinstance(value, (Variable, np.ndarray)) and type(value).__name__ != "Parameter":
            self.guard("spec", *fact)
            ref = Ref("state", value, ("load", *fact[:-1]))
        elif type(value) is float:
            ref = Ref("arg", value, ("load", *fact[:-1]))
        else:
            self.guard(*fact)
            ref = Ref("static", value, ("fixed",))
        self.note_origin(ref)
        return ref

    # ------------------------------------------------------------------------------------------------- loads and stores

    def op_RESUME(self, f, i):
        """Nothing happens."""

    op_NOP = op_CACHE = op_PRECALL = op_MAKE_CELL = op_COPY_FREE_VARS = op_RESUME
    op_JUMP_FORWARD = op_JUMP_BACKWARD = op_JUMP_BACKWARD_NO_INTERRUPT = op_RESUME

    def op_EXTENDED_ARG(self, f, i):
        """CPython shows this one, and not the instruction that it belongs to."""
        self._begin(f, i.offset + 2)

    def op_LOAD_CONST(self, f, i):
        f.stack.append(constant(i.argval))

    def op_LOAD_FAST(self, f, i):
        f.stack.append(f.locals[i.argval])

    def op_STORE_FAST(self, f, i):
        f.locals[i.argval] = f.stack.pop()

    def op_DELETE_FAST(self, f, i):
        f.locals.pop(i.argval, None)

    def op_LOAD_CLOSURE(self, f, i):
        f.stack.append(Ref("static", f.cells[i.argval]))

    def op_LOAD_DEREF(self, f, i):
        cell = f.cells[i.argval]
        if isinstance(cell, Cell):
            if cell.ref is None:
                raise Doubt("an empty cell")
            f.stack.append(cell.ref)
            return
        f.stack.append(self.loaded(cell.cell_contents, ("cell", cell, cell.cell_contents)))

    def op_STORE_DEREF(self, f, i):
        cell = f.cells[i.argval]
        if not isinstance(cell, Cell):
            raise Doubt(f"assigns the variable {i.argval!r} of an enclosing function")
        cell.ref = f.stack.pop()

    def op_LOAD_GLOBAL(self, f, i):
        if i.arg & 1:
            f.stack.append(Ref("null", None))
        name, space = i.argval, f.real.f_globals
        if name in space:
            f.stack.append(self.loaded(space[name], ("global", space, name, space[name])))
            return
        builtins = f.real.f_builtins
        if name not in builtins:
            raise Doubt(f"the name {name!r} is not defined")
        self.guard("builtin", space, builtins, name, builtins[name])
        f.stack.append(Ref("static", builtins[name]))

    def op_STORE_GLOBAL(self, f, i):
        raise Doubt(f"assigns the global {i.argval!r}")

    def op_LOAD_ATTR(self, f, i):
        self._load_attr(f, f.stack.pop(), i.argval, method=False)

    def op_LOAD_METHOD(self, f, i):
        self._load_attr(f, f.stack.pop(), i.argval, method=True)

    def _load_attr(self, f, owner, name, method):
        owner = self.use(owner)
        obj = owner.value
        if owner.kind in ("mirror", "iterator") or type(obj) in (list, dict, set, str, tuple):
            f.stack += [Ref("null", None), Ref("method", (owner, name))] if method else [Ref("method", (owner, name))]
            return
        if (id(obj), name) in self.overlay:
            f.stack += [Ref("null", None)] if method else []
            f.stack.append(self.overlay[id(obj), name])
            return
        if isinstance(obj, Variable):
            self._variable_attr(f, owner, name, method)
        elif isinstance(obj, np.ndarray) or owner.kind == "array":
            self._array_attr(f, owner, name, method)
        else:
            self._object_attr(f, owner, name, method)

    def _array_attr(self, f, owner, name, method):
        if name in ARRAY_METHODS:
            f.stack += [Ref("null", None), Ref("method", (owner, name))] if method else [Ref("method", (owner, name))]
        elif name == "T":
            self._push_attr(f, calculate(self, operator.methodcaller("transpose"), [owner], {}), method)
        elif name in ("shape", "dtype", "ndim", "size"):
            self._push_attr(f, constant(getattr(owner.value, name)), method)
        else:
            raise Doubt(f"reads .{name} of an array")

    def _variable_attr(self, f, owner, name, method):
        obj = owner.value
        attr = class_lookup(type(obj), name)
        if isinstance(attr, types.FunctionType):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, name, attr))]
        elif isinstance(attr, property):
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant(attr.fget), [owner], {}, "push")
        elif owner.kind == "static" and name in obj.__dict__ and not name.startswith("_"):
            f.stack += [Ref("null", None)] if method else []
            f.stack.append(self.loaded(obj.__dict__[name], ("attr", obj, name, obj.__dict__[name])))
        else:
            raise Doubt(f"reads .{name} of a Variable")

    def _object_attr(self, f, owner, name, method):
        obj = owner.value
        if owner.kind not in ("static",):
            raise Doubt(f"reads .{name} of an object whose origin is not known")
        if isinstance(obj, types.ModuleType):
            space = obj.__dict__
            if name not in space:
                raise Doubt(f"the module has no {name!r} yet")
            self._push_attr(f, self.loaded(space[name], ("global", space, name, space[name])), method)
            return
        if isinstance(obj, type):
            self._push_attr(f, self._class_attr(obj, name), method)
            return
        cls = type(obj)
        if obj is config:
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("call", constant("config"), [], {}, "push")     # the call notes which keys were read; the plan checks them
            return
        if isinstance(obj, threading.local) and cls.__module__.startswith("hybridnn."):
            self.guard("threadlocal", obj, name, getattr(obj, name))
            self._push_attr(f, constant(getattr(obj, name)), method)
            return
        if class_lookup(cls, "__getattribute__") is not object.__getattribute__:
            raise Doubt(f"{cls.__name__} defines __getattribute__")
        attr = class_lookup(cls, name)
        space = getattr(obj, "__dict__", None)
        self.guard("class", obj, cls)
        if attr is not None and hasattr(type(attr), "__set__"):
            self._descriptor(f, owner, attr, cls, name, method)
        elif space is not None and name in space:
            if attr is not None:
                self.guard("classattr", cls, name, attr)
            self._push_attr(f, self.loaded(space[name], ("attr", obj, name, space[name])), method)
        elif attr is None and any(name in base.__dict__ for base in cls.__mro__):
            if space is not None:
                self.guard("noattr", obj, name)
            self.guard("classattr", cls, name, None)
            self._push_attr(f, constant(None), method)
        elif attr is None:
            raise Doubt(f"{cls.__name__}.{name} is made by __getattr__ or missing")
        else:
            if space is not None:
                self.guard("noattr", obj, name)
            self.guard("classattr", cls, name, attr)
            self._bound(f, owner, attr, method, cls)

    def _push_attr(self, f, ref, method):
        f.stack += [Ref("null", None), ref] if method else [ref]

    def _class_attr(self, cls, name):
        attr = class_lookup(cls, name)
        if attr is None or isinstance(attr, (property, classmethod)):
            raise Doubt(f"reads {cls.__name__}.{name}")
        self.guard("classattr", cls, name, attr)
        return constant(attr.__func__ if isinstance(attr, staticmethod) else attr)

    def _descriptor(self, f, owner, attr, cls, name, method):
        if not isinstance(attr, property) or attr.fget is None:
            raise Doubt(f"{cls.__name__}.{name} is a descriptor written in C")
        self.guard("classattr", cls, name, attr)
        f.stack += [Ref("null", None)] if method else []
        if is_traced(attr.fget):
            self._call_traced(f, attr.fget, constant(attr.fget.__wrapped__), [owner], {})
            return
        f.waiting = ("call", constant(attr.fget), [owner], {}, "push")

    def _bound(self, f, owner, attr, method, cls):
        if isinstance(attr, types.FunctionType):
            f.stack += [constant(attr), owner] if method else [Ref("method", (owner, attr.__name__, attr))]
        elif isinstance(attr, staticmethod):
            self._push_attr(f, constant(attr.__func__), method)
        elif isinstance(attr, classmethod):
            f.stack += [constant(attr.__func__), constant(cls)] if method else [Ref("method", (constant(cls), "", attr.__func__))]
        elif hasattr(type(attr), "__get__"):
            if not is_traced(attr) or not isinstance(attr.__wrapped__, types.FunctionType):
                raise Doubt(f"{attr!r} is a descriptor whose effects are not known")
            f.stack += [Ref("null", None)] if method else []
            f.waiting = ("make", None, [], {}, Ref("method", (owner, TRACED, attr)))      # its __get__ runs meanwhile
        else:
            self._push_attr(f, self.loaded(attr, ("classattr", cls, "?", attr)) if isinstance(attr, (Variable, np.ndarray)) else constant(attr), method)

    def op_STORE_ATTR(self, f, i):
        owner = f.stack.pop()
        self._store_attr(f, owner, i.argval, f.stack.pop(), "drop")

    def _store_attr(self, f, owner, name, value, after):
        owner, value = self.use(owner), self.use(value)
        if owner.kind != "static" or isinstance(owner.value, (types.ModuleType, type, Variable)):
            raise Doubt(f"assigns .{name}")
        if value.kind not in ("static", "fresh", "arg", "state"):
            raise Doubt(f"assigns .{name} a value that was built in this call")
        self.overlay[id(owner.value), name] = value
        self.effects.append(("setattr", owner.value, name, value))
        setter = class_lookup(type(owner.value), "__setattr__")
        if setter is not object.__setattr__:
            if not is_library_code(setter):
                raise Doubt(f"assigns .{name}, and {type(owner.value).__name__} defines __setattr__")
            f.waiting = ("call", constant(setter), [], {}, after)
        elif after == "push":
            f.stack.append(constant(None))

    def op_STORE_SUBSCR(self, f, i):
        key, box, value = folded(self.use(f.stack.pop())), f.stack.pop(), f.stack.pop()
        if box.kind != "mirror" or box.source is not None or key.kind != "static" or isinstance(box.value, tuple):
            raise Doubt("stores into a container or array that may be seen from outside")
        box.value[key.value] = value

    def op_POP_TOP(self, f, i):
        f.stack.pop()

    def op_PUSH_NULL(self, f, i):
        f.stack.append(Ref("null", None))

    def op_COPY(self, f, i):
        f.stack.append(f.stack[-i.arg])

    def op_SWAP(self, f, i):
        f.stack[-1], f.stack[-i.arg] = f.stack[-i.arg], f.stack[-1]

    # ------------------------------------------------------------------------------------------------------------ operators

    def op_BINARY_OP(self, f, i):
        y, x = f.stack.pop(), f.stack.pop()
        self._binary(f, x, y, i.argrepr)

    def _binary(self, f, x, y, symbol):
        if isinstance(x.value, Variable) and x.kind != "mirror" or isinstance(y.value, Variable) and y.kind != "mirror":
            if "number" in (x.kind, y.kind):
                raise Doubt("a Python number computed from an array meets a Variable")
            f.waiting = ("call", Ref("static", f"operator {symbol}"), [x, y], {}, "push")
            return
        if "hole" in (x.kind, y.kind) or "number" in (x.kind, y.kind):
            f.stack.append(combine(self, symbol, OPERATORS, x, y))
            return
        x, y = self.use(x), self.use(y)
        if _is_numeric(x) or _is_numeric(y):
            if symbol.endswith("=") and symbol not in COMPARISONS and isinstance(x.value, np.ndarray):
                raise Doubt(f"changes an array in place ({symbol})")
            f.stack.append(calculate(self, OPERATORS[symbol if symbol in COMPARISONS else symbol.rstrip("=")], [x, y], {}))
        elif x.kind == y.kind == "static" and is_pure(x.value) and is_pure(y.value):
            symbol = symbol if symbol in COMPARISONS else symbol.rstrip("=")
            f.stack.append(constant(eval(f"x {symbol} y", {"x": x.value, "y": y.value})))
        elif symbol == "*" and x.kind == "mirror" and isinstance(x.value, (list, tuple)) and y.kind == "static" and type(y.value) is int and y.value <= 4096:
            f.stack.append(Ref("mirror", x.value * y.value))
        elif x.kind == y.kind == "mirror" and symbol in ("+", "+=") and type(x.value) is type(y.value):
            if symbol == "+=" and isinstance(x.value, list):
                if x.source is not None:
                    raise Doubt("extends a list that came from outside")
                x.value.extend(y.value)
                f.stack.append(x)
            else:
                f.stack.append(Ref("mirror", x.value + y.value))
        else:
            raise Doubt(f"the operator {symbol} on {type(x.value).__name__} and {type(y.value).__name__}")

    def op_COMPARE_OP(self, f, i):
        y, x = f.stack.pop(), f.stack.pop()
        self._binary(f, x, y, i.argval)

    def op_IS_OP(self, f, i):
        y, x = self.use(f.stack.pop()), self.use(f.stack.pop())
        same = x is y if "mirror" in (x.kind, y.kind) else x.value is y.value
        if any(r.kind in ("arg", "state") for r in (x, y)) and all(isinstance(r.value, (Variable, np.ndarray)) and r.source for r in (x, y)):
            self.guard("same", place(x), x.value, place(y), y.value)
        f.stack.append(constant(same is not bool(i.arg)))

    def op_CONTAINS_OP(self, f, i):
        box, x = self.use(f.stack.pop()), self.use(f.stack.pop())
        if x.kind != "static" or not is_pure(x.value):
            raise Doubt("the operator in")
        if box.kind == "mirror" and isinstance(box.value, dict) or box.kind == "static" and is_pure(box.value):
            found = x.value in box.value
        else:
            raise Doubt("the operator in")
        f.stack.append(constant(found is not bool(i.arg)))

    def _unary(self, f, symbol):
        x = f.stack.pop()
        if isinstance(x.value, Variable):
            f.waiting = ("call", Ref("static", f"operator {symbol}"), [x], {}, "push")
            return
        x = self.use(x)
        if _is_numeric(x) and symbol in UNARY:
            f.stack.append(calculate(self, UNARY[symbol], [x], {}))
        elif x.kind == "mirror" and symbol == "not":
            f.stack.append(constant(not x.value))
        elif x.kind == "static" and (is_pure(x.value) or symbol == "not" and self._plain_truth(x.value)):
            f.stack.append(constant(eval(f"{symbol} x", {"x": x.value})))
        else:
            raise Doubt(f"the operator {symbol}")

    def op_UNARY_NEGATIVE(self, f, i):
        self._unary(f, "-")

    def op_UNARY_NOT(self, f, i):
        self._unary(f, "not")

    def op_UNARY_INVERT(self, f, i):
        self._unary(f, "~")

    def op_UNARY_POSITIVE(self, f, i):
        self._unary(f, "+")

    def _plain_truth(self, value):
        """Whether an object is true because its class, as it stands, does not say otherwise."""
        cls = type(value)
        if class_lookup(cls, "__bool__") is not None or class_lookup(cls, "__len__") is not None:
            return False
        if cls.__flags__ & HEAP_TYPE:
            self.guard("class", value, cls)
            self.guard("truth", cls)
        return True

    def _condition(self, f, x):
        """A value decides a jump: it must be the same on every call, or a Variable, whose truth the tree of events branches on."""
        if isinstance(x.value, Variable) and x.kind != "mirror":
            f.waiting = ("call", Ref("static", "bool"), [x], {}, "drop")
            return
        x = self.use(x)
        if _is_numeric(x):
            raise Doubt("the truth of an array, or of a number that NumPy computed")
        if x.kind == "static" and not (is_pure(x.value) or self._plain_truth(x.value) or type(x.value) in (list, dict, set)):
            raise Doubt(f"the truth of a {type(x.value).__name__}")
        if x.kind == "static" and type(x.value) in (list, dict, set):
            self._freeze(x.value)

    def op_POP_JUMP_FORWARD_IF_FALSE(self, f, i):
        self._condition(f, f.stack.pop())

    op_POP_JUMP_FORWARD_IF_TRUE = op_POP_JUMP_BACKWARD_IF_FALSE = op_POP_JUMP_BACKWARD_IF_TRUE = op_POP_JUMP_FORWARD_IF_FALSE

    def op_POP_JUMP_FORWARD_IF_NONE(self, f, i):
        self.use(f.stack.pop())

    op_POP_JUMP_FORWARD_IF_NOT_NONE = op_POP_JUMP_BACKWARD_IF_NONE = op_POP_JUMP_BACKWARD_IF_NOT_NONE = op_POP_JUMP_FORWARD_IF_NONE

    def op_JUMP_IF_FALSE_OR_POP(self, f, i):
        x = self.use(f.stack[-1])
        if x.kind not in ("static", "mirror") or isinstance(x.value, Variable):
            raise Doubt("`and` or `or` on a Variable")
        self._condition(f, x)
        truth = bool(x.value)
        if truth is (i.opname == "JUMP_IF_FALSE_OR_POP"):
            f.stack.pop()

    op_JUMP_IF_TRUE_OR_POP = op_JUMP_IF_FALSE_OR_POP

    # ----------------------------------------------------------------------------------------------------------- containers

    def op_BINARY_SUBSCR(self, f, i):
        key, box = self.use(f.stack.pop()), self.use(f.stack.pop())
        if box.kind == "mirror" or type(box.value) in (list, tuple):
            key = folded(key)
        if box.kind == "mirror":
            f.stack.append(self._mirror_item(box, key))
        elif isinstance(box.value, Variable):
            if key.kind != "mirror" and isinstance(key.value, np.ndarray) and key.value.dtype == bool:
                key = Ref("mask", key.value, calculate(self, np.nonzero, [key], {}))
            f.waiting = ("call", Ref("static", "__getitem__"), [box, key], {}, "push")
        elif box.kind == "static" and key.kind == "static" and type(box.value) in (list, tuple, dict, str):
            f.stack.append(self._static_item(box.value, key.value))
        elif box.kind == "static" and is_pure(key.value) and isinstance(class_lookup(type(box.value), "__getitem__"), types.FunctionType):
            getter = class_lookup(type(box.value), "__getitem__")
            self.guard("class", box.value, type(box.value))
            self.guard("classattr", type(box.value), "__getitem__", getter)
            f.waiting = ("call", constant(getter), [box, key], {}, "push")
        elif isinstance(box.value, np.ndarray):
            self._array_item(f, box, key)
        else:
            raise Doubt(f"indexes a {type(box.value).__name__}")

    def _array_item(self, f, box, key):
        if box.kind in ("arg", "state", "view") and key.kind == "static" and type(key.value) is int and box.value.ndim > 1:
            f.stack.append(self.view(box, key.value))
        else:
            f.stack.append(calculate(self, operator.getitem, [box, key], {}))

    def view(self, ref, k):
        """A row of an array that came from outside: NumPy makes a new view, which is found again by its memory."""
        row = Ref("view", ref.value[k], ("row", ref.source, k))
        self.views.append(row)
        return row

    def _mirror_item(self, box, key):
        if key.kind != "static":
            raise Doubt("an index that is not the same on every call")
        item = box.value[key.value]
        return Ref("mirror", item) if isinstance(key.value, slice) else item

    def _static_item(self, box, key):
        if type(box) in (tuple, str):
            return Ref("static", box[key])
        value = box[key]
        if isinstance(key, slice):
            self._freeze(box)
            return mirror(list, [self.loaded(box[k], ("item", box, k, box[k])) for k in range(*key.indices(len(box)))])
        return self.loaded(value, ("item", box, key, value))

    def _freeze(self, box):
        """A list or dict that existed before: its length and members are guarded."""
        self.guard("members", box, tuple(box))

    def op_BUILD_TUPLE(self, f, i):
        f.stack.append(mirror(tuple, self._take(f, i.arg)))

    def op_BUILD_LIST(self, f, i):
        f.stack.append(mirror(list, self._take(f, i.arg)))

    def _take(self, f, n):
        items = f.stack[len(f.stack) - n:]
        del f.stack[len(f.stack) - n:]
        return items

    def op_BUILD_MAP(self, f, i):
        items = self._take(f, 2 * i.arg)
        f.stack.append(Ref("mirror", {self._key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}))

    def op_BUILD_CONST_KEY_MAP(self, f, i):
        keys = f.stack.pop().value
        f.stack.append(Ref("mirror", dict(zip(keys, self._take(f, i.arg), strict=True))))

    def _key(self, ref):
        ref = self.use(ref)
        if ref.kind != "static" or type(ref.value) not in SCALARS:
            raise Doubt("a dict key that is not a plain constant")
        return ref.value

    def op_BUILD_SLICE(self, f, i):
        parts = [self.use(x) for x in self._take(f, i.arg)]
        if any(p.kind != "static" for p in parts):
            raise Doubt("a slice that is not the same on every call")
        f.stack.append(constant(slice(*[p.value for p in parts])))

    def op_BUILD_STRING(self, f, i):
        parts = self._take(f, i.arg)
        f.stack.append(constant("".join(p.value for p in parts)))

    def op_FORMAT_VALUE(self, f, i):
        spec = f.stack.pop() if i.arg & 4 else constant("")
        x = self.use(f.stack.pop())
        if x.kind != "static" or type(x.value) not in SCALARS:
            raise Doubt("formats a value")
        convert = {0: lambda v: v, 1: str, 2: repr, 3: ascii}[i.arg & 3]
        f.stack.append(constant(format(convert(x.value), spec.value)))

    def op_LIST_EXTEND(self, f, i):
        items = self._items(f.stack.pop())
        f.stack[-i.arg].value.extend(items)

    def op_LIST_APPEND(self, f, i):
        item = f.stack.pop()
        f.stack[-i.arg].value.append(item)

    def op_MAP_ADD(self, f, i):
        value, key = f.stack.pop(), f.stack.pop()
        f.stack[-i.arg].value[self._key(key)] = value

    def op_LIST_TO_TUPLE(self, f, i):
        f.stack.append(mirror(tuple, f.stack.pop().value))

    def op_DICT_MERGE(self, f, i):
        other = self.use(f.stack.pop())
        if other.kind == "static" and type(other.value) is dict:
            other = self._dict_members(other.value)
        if other.kind != "mirror":
            raise Doubt("** of a dict from outside")
        f.stack[-i.arg].value.update(other.value)

    op_DICT_UPDATE = op_DICT_MERGE

    def op_UNPACK_EX(self, f, i):
        items = self._items(f.stack.pop())
        first, last = i.arg & 0xFF, i.arg >> 8
        if len(items) < first + last:
            raise Doubt("unpacks a different number of values")
        middle = len(items) - last
        f.stack += [*items[middle:][::-1], mirror(list, items[first:middle]), *items[:first][::-1]]

    def op_UNPACK_SEQUENCE(self, f, i):
        items = self._items(f.stack.pop())
        if len(items) != i.arg:
            raise Doubt("unpacks a different number of values")
        f.stack += items[::-1]

    def _items(self, ref):
        """The members of a sequence, as Refs."""
        ref = self.use(ref)
        if ref.kind == "static" and type(ref.value) is dict:
            ref = self._dict_members(ref.value)
        if ref.kind == "mirror":
            return [constant(k) for k in ref.value] if isinstance(ref.value, dict) else list(ref.value)
        if ref.kind == "iterator":
            return ref.value.rest()
        if ref.kind == "static" and type(ref.value) in (tuple, range):
            return [Ref("static", v) if is_pure(v) else self._static_item(ref.value, k) for k, v in enumerate(ref.value)]
        if ref.kind == "static" and type(ref.value) is list:
            self._freeze(ref.value)
            return [self.loaded(v, ("item", ref.value, k, v)) for k, v in enumerate(ref.value)]
        if isinstance(ref.value, np.ndarray) and ref.source is not None and (ref.value.ndim > 1 or ref.kind == "array" and ref.value.ndim):
            if ref.kind != "array":
                return [self.view(ref, k) for k in range(len(ref.value))]
            return [calculate(self, operator.getitem, [ref, constant(k)], {}) for k in range(len(ref.value))]
        if ref.kind == "static" and isinstance(ref.value, (ChainList, Sequential)):
            return self._layers(ref)
        raise Doubt(f"goes through a {type(ref.value).__name__}")

    def _layers(self, ref):
        """The layers of a ``ChainList`` or ``Sequential``, whose ``__iter__`` gives its list's."""
        obj, cls = ref.value, type(ref.value)
        base = Sequential if isinstance(obj, Sequential) else ChainList
        if class_lookup(cls, "__iter__") is not base.__iter__:
            raise Doubt(f"{cls.__name__} defines its own __iter__")
        name = "_layers" if base is Sequential else "_children"
        self.guard("class", obj, cls)
        self.guard("classattr", cls, "__iter__", base.__iter__)
        return self._items(self.loaded(obj.__dict__[name], ("attr", obj, name, obj.__dict__[name])))

    def op_GET_ITER(self, f, i):
        ref = self.use(f.stack.pop())
        if isinstance(ref.value, Variable):
            raise Doubt("iterates over a Variable")
        it = ref if ref.kind == "iterator" else Ref("iterator", Iterator(self._items(ref)))
        if isinstance(ref.value, (ChainList, Sequential)):
            f.waiting = ("make", ref, [], {}, it)       # their __iter__ runs meanwhile
            return
        f.stack.append(it)

    def op_FOR_ITER(self, f, i):
        it = f.stack[-1]
        if it.kind != "iterator":
            raise Doubt("iterates over something whose members are not known")
        item = it.value.next()
        if item is None:
            f.stack.pop()
        else:
            f.stack.append(item)

    # --------------------------------------------------------------------------------------------------------------- calls

    def op_KW_NAMES(self, f, i):
        f.kwnames = i.argval if isinstance(i.argval, tuple) else f.code.co_consts[i.arg]

    def op_CALL(self, f, i):
        args = self._take(f, i.arg)
        second, first = f.stack.pop(), f.stack.pop()
        fn = second if first.kind == "null" else first
        if first.kind != "null":
            args.insert(0, second)
        names, f.kwnames = f.kwnames, ()
        kw = dict(zip(names, args[len(args) - len(names):], strict=True)) if names else {}
        self._call(f, fn, args[:len(args) - len(names)] if names else args, kw)

    def op_CALL_FUNCTION_EX(self, f, i):
        kw = self.use(f.stack.pop()).value if i.arg & 1 else {}
        args = self._items(f.stack.pop())
        fn = f.stack.pop()
        if f.stack and f.stack[-1].kind == "null":
            f.stack.pop()
        self._call(f, fn, args, dict(kw))

    def _call(self, f, fn, args, kw):
        fn = self.use(fn)
        if fn.kind == "method":
            self._call_method(f, fn, args, kw)
            return
        if fn.kind == "exit":
            f.waiting = ("make", None, [], {}, constant(None))
            return
        if is_draw(fn.value) and fn.kind == "static":
            f.waiting = ("make", fn, [], {}, draw(self, fn.value, args, kw))
            return
        if is_array_function(fn.value) and fn.kind == "static":
            f.waiting = ("make", fn, [], {}, calculate(self, fn.value, args, kw))
            return
        if isinstance(fn.value, types.FunctionType) and fn.value in BLOCKS:
            self._enter_block(f, fn.value, args, kw)
            return
        if fn.kind == "closure" or isinstance(fn.value, types.FunctionType):
            f.waiting = ("call", fn, args, kw, "push")
        elif fn.kind != "static":
            raise Doubt("calls a function that was computed")
        elif isinstance(fn.value, types.MethodType):
            self._call(f, constant(fn.value.__func__), [self.root_object(fn.value.__self__, ("bound", fn.value)), *args], kw)
        elif fn.value is sum and not kw and args and self._sums_variables(args):
            f.waiting = ("sum", len(self.call.path), args, kw, None)
        elif fn.value is setattr and len(args) == 3 and not kw:
            self._store_attr(f, args[0], self.plain(args[1]), args[2], "push")
        elif fn.value in (PURE_BUILTINS if isinstance(fn.value, (type, types.BuiltinFunctionType)) else ()):
            self._call_builtin(f, fn.value, args, kw)
        elif fn.value is Variable:
            f.waiting = ("call", constant(Variable.__init__), [Ref("made", None, ("variable", args[0], kw)), *args], kw, "variable")
        elif isinstance(fn.value, (type, types.BuiltinFunctionType)):
            self._unknown(fn.value, args)
        else:
            self._call_object(f, fn, args, kw)

    def _sums_variables(self, args):
        """Whether a call of ``sum`` adds Variables; its operations are then those of the path."""
        if args[0].kind == "static" and type(args[0].value) not in (list, tuple) or args[0].kind not in ("mirror", "iterator", "static"):
            return False
        items = self._items(args[0])
        args[0] = mirror(list, items)
        if not items or any(type(r.value).__name__ not in ("Variable", "Parameter") or not isinstance(r.value, Variable) or r.kind == "mirror" for r in items):
            return False
        for r in items:
            if r.kind == "static":
                self._same_array(r.value)
        return all(r.kind == "static" and type(r.value) in (int, float) for r in args[1:])

    def _summed(self, start):
        """The Variable that ``sum`` returns: that of the last addition."""
        events = self.call.path[start:]
        if events and all(e.kind == "op" for e in events):
            vid = events[-1].outs[0].vid
            found = next((v for v, of in reversed(self.call.pending) if of == vid), None)
            if found is not None:
                self.keep.append(found)
                return Ref("fresh", found)
        raise Doubt("sum() of Variables that were not added one by one")

    def _unknown(self, fn, args):
        name = getattr(fn, "__qualname__", None) or repr(fn)
        raise Doubt(f"calls {name}, whose effects are not known")

    def _call_object(self, f, fn, args, kw):
        obj, cls = fn.value, type(fn.value)
        if is_traced(obj):
            self._call_traced(f, obj, constant(obj.__wrapped__), args, kw)
            return
        if cls.__module__ == "hybridnn.core.variable" and cls.__name__ == "Op":
            f.waiting = ("call", constant(cls.__call__), [fn, *args], kw, "push")
            return
        target = class_lookup(cls, "__call__")
        traced = is_traced(target)
        if not traced and not isinstance(target, types.FunctionType):
            self._unknown(obj, args)
        self.guard("class", obj, cls)
        self.guard("classattr", cls, "__call__", target)
        if traced:
            self._call_traced(f, target, constant(target.__wrapped__), [fn, *args], kw)
            return
        f.waiting = ("call", constant(target), [fn, *args], kw, "push")

    def _call_traced(self, f, traced, fn, args, kw):
        """Inside a traced call a traced function does nothing but call what it wraps."""
        if traced._memory is self.call.owner:
            raise Doubt("calls itself")          # a plan that holds its own function would live until the collector comes
        self.guard("wrapped", traced, traced.__wrapped__)
        self._call(f, fn, args, kw)
        if f.waiting is None or f.waiting[0] != "call":
            raise Doubt("calls another traced function")
        f.waiting = (*f.waiting, "traced")

    def _enter_block(self, f, fn, args, kw):
        """A block of the library's that overrides a configuration value: within it operations and reads come out as recorded, and its end restores all."""
        given = [self.plain(a) for a in args]
        if kw or len(given) != (2 if fn is using_config else 0):
            raise Doubt("a configuration block with unusual arguments")
        key = given[0] if given else "enable_backprop"
        if key not in ("train", "enable_backprop") and not key.startswith("user_"):
            raise Doubt(f"a block that changes config.{key}")
        f.waiting = ("make", None, [], {}, Ref("block", None))

    def _call_method(self, f, fn, args, kw):
        owner, name = fn.value[:2]
        if name is TRACED:
            self._call_traced(f, fn.value[2], constant(fn.value[2].__wrapped__), [owner, *args], kw)
        elif len(fn.value) == 3:
            f.waiting = ("call", constant(fn.value[2]), [owner, *args], kw, "push")
        elif _is_numeric(owner):
            plain = [self.plain(a) for a in args], {k: self.plain(v) for k, v in kw.items()}
            if set(plain[1]) & {"out", "where"} or any(isinstance(a, np.ndarray) for a in plain[0]):
                raise Doubt("a method of an array with unusual arguments")
            f.waiting = ("make", None, [], {}, calculate(self, operator.methodcaller(name, *plain[0], **plain[1]), [owner], {}))
        elif owner.kind == "static" and type(owner.value) is str:
            f.stack.append(constant(getattr(owner.value, name)(*[self.plain(a) for a in args], **{k: self.plain(v) for k, v in kw.items()})))
        elif owner.kind == "static" and type(owner.value) is dict and name in ("items", "keys", "values", "get") and not kw:
            f.stack.append(self._container_method(self._dict_members(owner.value), name, args))
        elif owner.kind == "mirror" and not kw:
            f.stack.append(self._container_method(owner, name, args))
        else:
            raise Doubt(f"calls {type(owner.value).__name__}.{name} of an object that came from outside")

    def plain(self, ref):
        """A constant argument."""
        ref = self.use(ref)
        if ref.kind != "static" or not is_pure(ref.value):
            raise Doubt("an argument that is not the same on every call")
        return ref.value

    def _dict_members(self, box):
        """A dict from outside, with its members guarded."""
        if any(type(k) not in SCALARS for k in box):
            raise Doubt("goes through a dict with unusual keys")
        self.guard("members", box, tuple(box))
        return Ref("mirror", {k: self.loaded(v, ("item", box, k, v)) for k, v in box.items()}, ("fixed",))

    def _container_method(self, owner, name, args):
        box = owner.value
        if isinstance(box, list) and name in ("append", "extend", "insert", "pop", "reverse", "clear"):
            if owner.source is not None:
                raise Doubt(f"changes a list that came from outside (.{name})")
            plain = [self._items(a) if name == "extend" else a if name == "append" or k else self._key(a) for k, a in enumerate(args)]
            result = getattr(box, name)(*plain)
            return result if isinstance(result, Ref) else constant(None)
        if isinstance(box, dict) and name in ("items", "keys", "values", "get"):
            if name == "get":
                return box.get(self._key(args[0]), args[1] if len(args) > 1 else constant(None))
            rows = {"items": [mirror(tuple, [constant(k), v]) for k, v in box.items()], "keys": [constant(k) for k in box],
                    "values": list(box.values())}[name]
            return mirror(Rows, rows)
        raise Doubt(f"calls the method {name} of a {type(box).__name__}")

    def _call_builtin(self, f, fn, args, kw):
        if fn in (float, int, bool) and len(args) == 1 and isinstance(args[0].value, Variable) and args[0].kind != "mirror":
            f.waiting = ("call", Ref("static", fn), args, kw, "push")
            return
        if fn in (float, int, bool) and len(args) == 1 and not kw and _is_numeric(args[0]):
            f.stack.append(calculate(self, fn, args, kw))
            return
        if fn is len and len(args) == 1 and isinstance(args[0].value, Variable) and args[0].kind != "mirror":
            f.waiting = ("call", Ref("static", fn), args, kw, "push")
            return
        f.stack.append(PURE_BUILTINS[fn](self, args, kw))

    def op_MAKE_FUNCTION(self, f, i):
        code = f.stack.pop().value
        cells = [r.value for r in f.stack.pop().value] if i.arg & 8 else []
        if i.arg & 4:
            f.stack.pop()
        kwdefaults = f.stack.pop().value if i.arg & 2 else {}
        defaults = f.stack.pop() if i.arg & 1 else None
        defaults = [] if defaults is None else [constant(v) for v in defaults.value] if defaults.kind == "static" else list(defaults.value)
        f.stack.append(Ref("closure", Closure(code, cells, defaults, kwdefaults)))

    def op_RETURN_VALUE(self, f, i):
        f.waiting = ("return", f.stack.pop())

    # ------------------------------------------------------------------------------------------------------------- library

    def _before_trusted(self, kind, top):
        waiting = top.waiting
        if kind == "report":
            self.check_arguments(waiting[2][1:], {k: v for k, v in waiting[3].items() if k == "observer"})
        elif isinstance(kind, str) and kind != "operator":
            self.check_arguments(waiting[2], waiting[3])

    def check_arguments(self, args, kw):
        """What is handed to a library function must be the same on every call, or an array or Variable."""
        for ref in [*args, *kw.values()]:
            self._settle(ref)

    def _settle(self, ref):
        ref = self.use(ref)
        if ref.kind == "mirror":
            for item in ref.value.values() if isinstance(ref.value, dict) else ref.value:
                self._settle(item)
        elif ref.kind == "closure":
            raise Doubt("passes a function to the library")
        elif ref.kind == "static":
            self._freeze_all(ref.value)

    def _freeze_all(self, value):
        """A container handed to the library is the same on every call, with all that is in it."""
        if type(value) in (list, dict, set):
            self._freeze(value)
        if type(value) is dict:
            for k, v in value.items():
                self.guard("item", value, k, v)
                self._freeze_all(v)
        elif type(value) in (list, tuple):
            for v in value:
                self._freeze_all(v)

    def _after_trusted(self, kind, start, value):
        waiting = self.frames[-1].waiting
        refs = [*waiting[2], *waiting[3].values()]
        for ref in refs:
            if ref.kind == "static" and isinstance(ref.value, Variable):
                self._same_array(ref.value)
        for event in self.call.path[start:]:
            self._note_numbers(event, refs)
        if refs[-1:] and refs[-1].kind == "mask":
            self._identify_mask(refs.pop().source.value, start)
        if kind in ("function", "operator") and not (isinstance(value, Variable) and any(value._array is real_array(r) for r in refs)):
            vids = {vid_of(o) for e in self.call.path[start:] for o in e.operands}
            leaves = [x._array if isinstance(x, Variable) else x for x in map(self.call.leaves.get, vids) if x is not None]
            self._only_operands(refs, vids, {memory_of(a) for a in leaves if isinstance(a, np.ndarray)})
        return summarize(self, kind, refs, value, start)

    def _identify_mask(self, indices, start):
        """Indexing by a mask is indexing by where it is true."""
        operands = self.call.path[start].operands[1:] if len(self.call.path) == start + 1 else ()
        if len(operands) != len(indices) or any(type(o).__name__ != "Leaf" for o in operands):
            raise Doubt("indexes a Variable by a mask")
        for o, ref in zip(operands, indices, strict=True):
            identify(self, ref, self.call.leaves[o.vid])

    def _only_operands(self, refs, operands, lying):
        """Arrays handed to the library are operands of its operations: it has not looked at their elements otherwise."""
        for ref in refs:
            if ref.kind == "mirror":
                self._only_operands(ref.value.values() if isinstance(ref.value, dict) else ref.value, operands, lying)
            elif _is_numeric(ref) and not rests_on_constants(ref):
                real = real_array(ref)
                if isinstance(real, np.ndarray) and memory_of(real) in lying:
                    continue
                code = self.call.ids.get(id(real), 0)
                vids = [v for v in operands if self.call.scalars.get(v) is real] if isinstance(real, np.generic) else [code if code >= 0 else ~code]
                if not operands & {*vids} or not isinstance(real, np.generic) and id(real) not in self.call.ids:
                    raise Doubt("the library looks at the elements of an array")

    def _same_array(self, v):
        """What the library tells of a parameter rests on its array."""
        if v._array is None:
            raise Doubt("a parameter has no array yet")
        self.guard("variable", v, v._array)

    def _note_numbers(self, event, refs):
        for o in event.operands:
            if type(o).__name__ == "Number" and o.value is None:
                x = self.call.values[o.vid]
                for ref in refs:
                    if ref.kind in ("arg", "hole") and ref.value is x:
                        self.numbers[o.vid] = ref

    def op_BEFORE_WITH(self, f, i):
        if f.stack.pop().kind != "block":
            raise Doubt("a with statement")
        f.stack.append(Ref("exit", None))
        f.waiting = ("make", None, [], {}, constant(None))

    def op_RAISE_VARARGS(self, f, i):
        raise Doubt("raises an exception")

    def op_IMPORT_NAME(self, f, i):
        raise Doubt(f"imports {i.argval}")


def _in_garbage_collection(frame):
    """Whether one of ``gc.callbacks`` runs: it comes between any two instructions, and is no part of the program."""
    codes = [getattr(fn, "__code__", None) for fn in gc.callbacks]
    while frame is not None and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None


def _is_numeric(ref):
    """Whether a Ref is an array, or a number of NumPy's that may differ from call to call."""
    return ref.kind == "array" or ref.kind != "mirror" and (type(ref.value) is np.ndarray or isinstance(ref.value, np.generic))


def real_array(ref):
    """The program's own array, which the observer may have a copy of."""
    return ref.source.real if ref.kind == "array" else ref.value


def place(ref):
    """Where a guard reads the value anew; None if it is the same object on every call."""
    return None if ref.kind == "static" else ref.source


def identity(x):
    """A hashable key: equal for tuples of the same objects."""
    return tuple(map(identity, x)) if type(x) is tuple else x if isinstance(x, (str, int)) else (id(x),)


def is_traced(obj):
    """Whether an object is a traced callable (whose module imports this one)."""
    return type(obj).__module__ == "hybridnn.trace.api" and type(obj).__name__ == "Traced"


def is_library_code(fn):
    """Whether a function is the library's own."""
    return isinstance(fn, types.FunctionType) and fn.__module__.split(".")[0] == "hybridnn"
