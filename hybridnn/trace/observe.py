"""Watches one run of a function, instruction by instruction, to prove what it depends on.

While a verified replay runs the user's Python, ``Observer`` is the thread's trace function. It follows the bytecode of the user's functions (and of links)
with a stack of ``Ref``: what each value is and where it came from. Reading a global, a cell or an attribute leaves a guard; calling the library's functions is
known to depend on the arguments only; everything else (a C function that is not known to be pure, a store into an object that existed before, an exception)
is a ``Doubt`` with its line, and the function stays in verified replay. The observer changes nothing: CPython runs the program.
"""
import dis
import functools
import gc
import itertools
import sys
import types
from collections import deque

from hybridnn.core.variable import Variable, replaying
from hybridnn.errors import raised_by_signal
from hybridnn.jit.known import Known
from hybridnn.trace.computed import identify
from hybridnn.trace.lengths import settle
from hybridnn.trace.observe_arrays import Arrays
from hybridnn.trace.observe_callbacks import Callbacks, drives
from hybridnn.trace.observe_calls import Calls
from hybridnn.trace.observe_collections import Collections
from hybridnn.trace.observe_containers import Containers
from hybridnn.trace.observe_copies import Copies
from hybridnn.trace.observe_exceptions import Exceptions
from hybridnn.trace.observe_functions import Functions
from hybridnn.trace.observe_getters import Getters
from hybridnn.trace.observe_gradients import Gradients
from hybridnn.trace.observe_heaps import Heaps
from hybridnn.trace.observe_imports import Imports
from hybridnn.trace.observe_iteration import Iteration
from hybridnn.trace.observe_keys import Keys
from hybridnn.trace.observe_library import Library
from hybridnn.trace.observe_match import Match
from hybridnn.trace.observe_methods import Methods
from hybridnn.trace.observe_names import Names
from hybridnn.trace.observe_objects import KEEP, Objects
from hybridnn.trace.observe_operators import Operators
from hybridnn.trace.observe_origins import Origins
from hybridnn.trace.observe_protocols import WITHIN, Protocols
from hybridnn.trace.observe_recent import Recent
from hybridnn.trace.observe_sets import Sets
from hybridnn.trace.observe_stores import Stores
from hybridnn.trace.observe_sums import Sums
from hybridnn.trace.observe_texts import Texts
from hybridnn.trace.refs import (
    HASH_OF_MEMBERS,
    Closure,
    Doubt,
    Generator,
    Pending,
    Raised,
    Ref,
    bind_arguments,
    class_lookup,
    code_of,
    constant,
    is_library,
    looks_only,
    trusted_kind,
)

__all__ = ["Observer", "following", "instructions"]

# What runs between a call of a traced function and the function.
PASSED = ("hybridnn.trace.api", "hybridnn.trace.running", "hybridnn.trace.memory", "hybridnn.trace.floats", "hybridnn.config")
# Instructions that take no items from iterators: half of all that run.
SIMPLE = frozenset(["CACHE", "COPY", "COPY_FREE_VARS", "JUMP_BACKWARD", "JUMP_FORWARD", "LOAD_CONST", "LOAD_FAST", "LOAD_GLOBAL", "MAKE_CELL", "NOP", "POP_TOP",
                    "PRECALL", "PUSH_NULL", "RESUME", "STORE_FAST", "SWAP"])
# Instructions that hand arrays of any length on, or to NumPy.
TAKING_VARIED = SIMPLE | {"BINARY_OP", "BINARY_SUBSCR", "BUILD_CONST_KEY_MAP", "BUILD_LIST", "BUILD_MAP", "BUILD_SLICE", "BUILD_TUPLE", "CALL", "CALL_KW",
                          "COMPARE_OP", "EXTENDED_ARG", "FOR_ITER", "KW_NAMES", "LIST_APPEND", "LOAD_ATTR", "LOAD_CLOSURE", "LOAD_DEREF", "LOAD_FAST_CHECK",
                          "LOAD_FAST_LOAD_FAST", "LOAD_METHOD", "RETURN_VALUE", "STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST", "STORE_SUBSCR",
                          "UNARY_INVERT", "UNARY_NEGATIVE", "YIELD_VALUE"}
GOING_THROUGH = ("GET_ITER", "UNPACK_SEQUENCE")
ROWS = frozenset([code for code in Variable.__iter__.__code__.co_consts if isinstance(code, types.CodeType)])
_known = Known(2048)      # id of a code object -> itself, its instructions by their offsets, and the offset behind each


def instructions(code):
    """offset -> instruction of a code object."""
    return _looked_at(code)[1]


def following(code):
    """offset -> offset of the instruction after it."""
    return _looked_at(code)[2]


def _looked_at(code):
    """What is known of a code object. A program that is run again, as cells of a notebook are, has equal code, whose inner functions are others; and one that
    writes programs has ever more of it."""
    found = _known.get(id(code))
    if found is None:
        table = {i.offset: i for i in dis.get_instructions(code)}
        found = _known[id(code)] = code, table, dict(itertools.pairwise(table))
    return found


@functools.cache
def _followers(cls):
    """What follows each kind of instruction, by its name."""
    return {name[3:]: getattr(cls, name) for name in dir(cls) if name.startswith("op_")}


class Frame:
    """The state of a followed Python frame."""
    __slots__ = ("branch", "cells", "code", "fn", "generator", "handler", "kwnames", "last", "locals", "real", "result", "retrying", "stack", "suspended",
                 "table", "waiting")

    def __init__(self, code, fn, local, cells, real, generator=None):
        self.code, self.fn, self.locals, self.cells, self.real = code, fn, local, cells, real
        self.stack, self.kwnames, self.waiting, self.result = [], (), None, None
        self.generator, self.retrying, self.last, self.branch, self.suspended, self.handler = generator, None, None, None, None, None
        self.table = instructions(code)


class Observer(Origins, Names, Stores, Arrays, Objects, Operators, Containers, Recent, Iteration, Texts, Calls, Methods, Sums, Callbacks, Sets, Gradients,
               Functions, Imports, Match, Keys, Library, Protocols, Getters, Collections, Heaps, Copies, Exceptions):
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
        self.frames, self.trusted, self.followers = [], None, _followers(type(self))
        self.guards, self.guarded, self.effects, self.origins, self.numbers = {}, set(), [], {}, {}
        self.overlay, self.keep, self.views, self.draws, self.computed = {}, [], {}, [], []
        self.memory = {}
        self.varied = False      # whether there have been arrays that may have another length on the next call
        self.shown, self.changed, self.given, self.held, self.changed_at, self.prior, self.ungiven = {}, {}, {}, {}, {}, {}, []       # see ``Gradients``
        self.applied, self.function_outputs, self.before_walk, self.walk_begins = {}, {}, {}, 0       # see ``Functions``
        self.leaf_refs = {}       # vid of an array that the call has made -> the Ref of what it was when an operation took it, where it has changed since
        self.changed_operands = {}        # vid of one of these -> how many events came before it changed
        self.uses, self.taken = {}, set()       # id of an array of NumPy's -> what is computed of it; ids of those that must not change any more
        self.samples = {}           # name of a list of objects that is drawn -> its Ref
        self.told = []              # iterators that were asked where they stand
        self.befores = {}           # id of a list or deque from outside to which this call has appended, or out of which it has taken members -> what it had
        self.trimmed = {}           # id of a list -> how many members it has at most, since this call has deleted those before
        self.popped = {}            # id of one -> how many of its first members this call has taken out
        self.carried = {}           # ids of a place -> the Ref of the tuple, list or dict there, if another one is there on every call
        self.changing = getattr(call.owner, "changing", set())      # places of lists and dicts that do not count as such, since the function changes them
        self.records = {}           # place of an argument -> its Ref, if another object comes with every call
        self.identities = getattr(call.owner, "identities", {})     # place of an argument -> id of the object that was there; see ``Objects``
        self.bits = {}              # id of the Ref of an int -> how many bits it has at most
        self.doubt = self.result = None
        self.started = False
        self.stored_at = sys.maxsize      # how many events came before the first of these was written
        self.risky, self.leaves_until = set(), 0      # ids of what may fail behind an update, and how many events came before the last place like that
        self.rebound_at = sys.maxsize     # how many before the first array was assigned to a Variable
        self.rebinds = []           # (how many before it, the Variable, the Ref of the array) for each of those
        self.stored = set()         # ids of arrays that NumPy has written, and of those whose memory they are part of
        self.errstates = 0          # blocks of numpy.errstate that the program is in
        self.passed = {}            # id of such an array that is an argument, or a member of one -> where it is
        self.rows = {}              # id of the Ref of a row -> the Refs of the array and of the row's number
        self.rows_made = set()      # (id of an event, number) of rows of Variables that iterators have given
        self.opened = {}            # see ``Keys``
        self.unlisted = {}          # id of a key that has lists -> its members, and the key with arrays instead
        self.places = ()            # ints that choose an element of a Variable as operands, while it is taken
        self.pins = {}              # id of the Ref that tells whether a computed int is the one that the path has -> that int
        self.parts = {}             # id of the Ref of a view that was changed in place -> the array that it is a view of, and its place there
        self.rewritten = set()      # ids of containers from outside of which this call has assigned members
        self.grown = set()          # ids of containers from outside that this call has given more members
        self.boxes = {}             # id of a list or dict among the arguments -> its Ref
        self.originals = {}         # id of one in which this call has assigned members -> where it is, and what it had before
        self.counters = getattr(call.owner, "counters", set())      # places that the function assigns: their numbers are read anew on every call
        self.grown_ids = getattr(call.owner, "grown_ids", frozenset())      # ids of lists and dicts among the arguments that keep growing
        self.windows = getattr(call.owner, "windows", set())        # places of lists that it has been seen to replace by their last members
        self.first_found = getattr(call.owner, "first_found", {})       # what the first proof has found at a place: a parameter's array, weakly, or a length
        self.generators = []        # those of the user's that have not ended
        self.passing = ()           # code that the library runs inside the present instruction, and that does nothing but look at what is guarded

    # ------------------------------------------------------------------------------------------------------ trace function

    def __enter__(self):
        self.hook = self.on_call       # CPython 3.11 holds no reference of its own to a trace function that it is calling
        sys.settrace(self.hook)
        return self

    def __exit__(self, *exc):
        self._let_go()
        self.hook = None
        for g in self.generators:       # a frame knows its trace function, which is a method of this object: only the collector would end them
            g.frame = None
        self.generators.clear()

    def _let_go(self):
        """Stop tracing, unless the program has set a trace function of its own meanwhile."""
        if sys.gettrace() == self.on_call:
            sys.settrace(None)

    def aside(self, fn, *args):
        """``fn(*args)``, which calls nothing of the program's. CPython would ask about each of the library's functions that run there."""
        if self.hook is None or sys.gettrace() != self.hook:
            return fn(*args)
        sys.settrace(None)
        try:
            return fn(*args)
        finally:
            sys.settrace(self.hook)

    def stop(self, reason, by_chance=False):
        """Doubt: note why, and stop looking."""
        if self.doubt is None:
            self.doubt = Doubt(reason, self._place(self.frames[-1].real if self.frames else None), by_chance)
        self._let_go()
        for f in self.frames:
            f.real.f_trace_opcodes = False      # never drop a trace function while CPython 3.11 is calling it: it holds no reference of its own
        self.frames.clear()
        self.trusted = None         # a frame, which knows its trace function

    def _place(self, where):
        """The user's line that runs; and the library's, if that is where the observer stopped."""
        if where is None:
            return "<unknown>"
        own = next((f.real for f in reversed(self.frames) if not is_library(f.real)), where)
        inside = "" if own is where else f", inside {where.f_globals.get('__name__')}.{where.f_code.co_name}"
        return f"{own.f_code.co_filename}:{own.f_lineno} in {own.f_code.co_name}{inside}"

    def fail(self, error):
        """An exception here must never reach the user's program, unless it is the user's own. Following an instruction that raises in CPython too is
        one way to get here."""
        if raised_by_signal(error):
            raise error
        known = isinstance(error, Doubt)
        self.stop(error.reason if known else f"an instruction could not be followed ({type(error).__name__}: {error})", by_chance=known and error.by_chance)

    def on_call(self, frame, event, arg):
        if self.trusted is not None and is_library(frame) and not gc.callbacks:       # nine calls in ten
            return None
        if not self.frames and self.call not in replaying:        # an alarm went off just before the end of the block that lets go
            self._let_go()
            return None
        if self.doubt is not None:
            return None
        try:
            return self._on_call(frame)
        except Exception as error:
            self.fail(error)
            return None

    def _on_call(self, frame):
        code = frame.f_code
        if self.trusted is not None and is_library(frame):
            return None
        if gc.callbacks and _in_garbage_collection(frame, self.frames[0].real if self.frames else None):
            return None
        if self.trusted is not None:
            if self.calls_method(frame, code):
                return self.on_event
            raise Doubt(f"the library calls back {frame.f_globals.get('__name__')}.{code.co_name}")
        if not self.frames:
            return self._enter_root(frame, code) if not self.started else None
        if code in self.passing or looks_only(frame):
            return None
        if (self.generators or code in ROWS) and self._closes(frame):
            return None
        top = self.frames[-1]
        if top.waiting is not None and top.waiting[0] == "retry":
            if not self.enter_mapped(frame, code, top) and (top.waiting[2] or self._is_generators(code) or frame.f_back is not top.real):
                return self._resume(frame, code, top)
            if top is self.frames[-1]:          # its items have all been taken: this is the call that they are for
                self._retry(top, top.waiting)
            top = self.frames[-1]
        if top.result is not None and drives(top.waiting):
            self.go_on(top)
        if top.waiting is None and code is HASH_OF_MEMBERS:
            self._hashes_member(frame.f_locals["self"])
            return None
        if top.waiting is None:
            raise Doubt(f"{code.co_qualname} is called by an operator, a builtin function or the interpreter, and is not followed there")
        if top.waiting[0] in ("make", "sum") or len(top.waiting) == 6 and frame.f_globals.get("__name__") in PASSED:
            return None
        kind = trusted_kind(frame)
        self._identify(frame, code, *top.waiting[2:4], followed=kind is False)
        if kind:
            fn = top.waiting[1]
            if isinstance(fn, Ref) and isinstance(fn.value, types.FunctionType) and fn.value.__code__ is code:
                self.guard("function", fn.value, code, fn.value.__defaults__, fn.value.__kwdefaults__)
            self.trusted = (frame, kind, len(self.call.path))
            self._before_trusted(kind, top)
            return self.on_trusted
        if kind is None:
            raise Doubt(f"calls {frame.f_globals.get('__name__')}.{code.co_name}, whose effects are not known")
        self._enter(frame, code, top)
        return self.on_event

    def _identify(self, frame, code, refs, kw, followed):
        """Arrays and Variables made by the function are met as arguments of the next call; arrays only where it is not ``followed``."""
        if self.varied and not followed:
            settle([*refs, *kw.values()])
        if not any(r.kind in ("array", "mirror") or r.kind == "made" and r.value is None for r in (*refs, *kw.values())):
            return
        values = frame.f_locals
        self._identify_each([(r, values[name]) for name, r in kw.items() if name in values], followed)
        names = code.co_varnames[:code.co_argcount]
        given = list(values["inputs"]) if code.co_name == "__array_ufunc__" else [values[n] for n in names]
        if code.co_flags & 4 and code.co_name != "__array_ufunc__":
            given += values[code.co_varnames[code.co_argcount + code.co_kwonlyargcount]]
        self._identify_each(zip(refs, given), followed)

    def _identify_each(self, pairs, followed):
        for ref, x in pairs:
            if ref.kind == "mirror" and type(x) in (list, tuple, deque) and type(ref.value) is type(x) and len(ref.value) == len(x):
                self._identify_each(zip(ref.value, x), followed)
            elif ref.kind == "made" and ref.value is None:
                ref.value = x
                self.keep.append(x)
                self.origins.setdefault(id(x), ref)
            elif not followed:
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
        if code.co_flags & 0x280:
            raise Doubt(f"{code.co_name} is a coroutine")
        self._follow(frame, Frame(code, fn, local, cells, frame))

    def _follow(self, frame, followed):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.frames.append(followed)

    def make_generator(self, fn, pos, kw):
        """The Ref of a generator that a call makes: its code runs when somebody asks for an item."""
        code = code_of(fn)
        for ref in [*pos, *kw.values()]:
            self.note_origin(ref)
        made = Generator(fn, code, *bind_arguments(self, code, fn, pos, kw))
        self.generators.append(made)
        return Ref("iterator", made)

    def _closes(self, frame):
        """Whether a generator, or the library's of a Variable's rows, ends that nobody asks any more: it does not begin with the instruction that it went on to
        after it was asked."""
        known = frame.f_code in ROWS or any(g.frame is not None and g.frame.real is frame for g in self.generators)
        if not known or instructions(frame.f_code)[frame.f_lasti].opname == "RESUME":
            return False
        if self._handles(frame):
            raise Doubt(f"the generator {frame.f_code.co_name} is closed")
        frame.f_trace = None
        return True

    def _handles(self, frame):
        """Whether code of the user's may run when an exception ends this generator."""
        return bool(frame.f_code.co_exceptiontable)

    def _hashes_member(self, member):
        """A member of an enumeration is looked up, by its name."""
        self.guard("attr", member, "_name_", member._name_)
        for name in ("__hash__", "__eq__"):
            self.guard("classattr", type(member), name, class_lookup(type(member), name))

    def _resume(self, frame, code, top):
        """A frame that runs while an instruction asks iterators for items: a generator, or an addition that ``sum`` makes."""
        for g in self.generators:
            if g.frame is None and g.code is code and _has_locals(frame, g):
                g.frame = Frame(code, g.fn, g.locals, g.cells, frame, g)
            if g.frame is not None and g.frame.real is frame:
                self._follow(frame, g.frame)
                return self.on_event
        if top.waiting[2] and is_library(frame):
            return None
        raise Doubt(f"{code.co_qualname} is called by an operator, a builtin function or the interpreter, and is not followed there")

    def _enter(self, frame, code, top):
        fn, pos, kw = top.waiting[1:4]
        target = fn
        if fn.kind == "closure":
            if fn.value.code is not code:
                raise Doubt(f"{code.co_qualname} is called by an operator, a builtin function or the interpreter, and is not followed there")
        elif getattr(fn.value, "__code__", None) is not code:
            raise Doubt(f"{code.co_qualname} is called by an operator, a builtin function or the interpreter, and is not followed there")
        self._push_frame(frame, code, target, pos, kw)

    def on_trusted(self, frame, event, arg):
        """Local trace function of a library function called from followed code."""
        frame.f_trace_lines = False
        if event == "exception":
            self.trusted = None
            self.stop("an exception is raised")
        elif event == "return" and self.trusted is not None and self.trusted[0] is frame:
            _, kind, start = self.trusted
            self.trusted = None
            try:
                self.returned(self._after_trusted(kind, start, arg))
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
                self._return(self.frames[-1], arg)
            elif event == "exception":
                self.has_raised(self.frames[-1], frame, arg[0])
        except Exception as error:
            self.fail(error)
            return None
        return self._next(frame, event, self.on_event)

    def _return(self, f, value):
        if f.waiting is None or f.waiting[0] not in ("return", "yield"):
            raise Doubt("an exception is raised")
        kind, ref = f.waiting
        self.frames.pop()
        if f.generator is not None:
            self._leave_generator(f, kind, ref)
        elif f.suspended is not None:
            self.method_returned(f, ref, value)
        elif self.frames:
            self.returned(ref)
        else:
            settle([ref])
            self.result = ref
            self._let_go()

    def _leave_generator(self, f, kind, ref):
        g = f.generator
        if kind == "yield":
            g.yielded.append(ref)
            f.waiting = ("make", None, [], {}, constant(None))      # what it will be sent
        else:
            g.done, g.returned, g.frame = True, ref, None
            self.generators.remove(g)

    def _finish(self, f):
        """Complete the previous instruction with what its call returned."""
        waiting, f.waiting = f.waiting, None
        if waiting is None:
            return
        if waiting[0] == "make":
            f.stack += [] if waiting[4] is None else [waiting[4]]
            return
        if waiting[0] == "retry":
            self._retry(f, waiting)
            if f.waiting is not None:
                self._finish(f)
            return
        if waiting[0] == "sum":
            f.stack.append(self._summed(waiting[1], waiting[2][0].value, *waiting[2][1:]))
            return
        if f.result is None:
            called = waiting[1].value if isinstance(waiting[1], Ref) else waiting[1]
            name = called.code.co_qualname if isinstance(called, Closure) else getattr(called, "__qualname__", called)
            raise Doubt(f"calls {name}, whose effects are not known")
        if drives(waiting):
            f.waiting = waiting
            self.go_on(f)
            if f.waiting is not None and f.waiting[0] != "make":
                raise Doubt("a builtin function did not make a call that it should")
            self._finish(f)
            return
        result, f.result = f.result, None
        self._go_on_with(f, waiting, result)

    def _go_on_with(self, f, waiting, result):
        """What an instruction does with the result of the call that it has made."""
        after = waiting[4]
        if after in ("operator", "unequal") and result.kind == "static" and result.value is NotImplemented:
            raise Doubt("an operator that is not implemented for these operands")
        if after == "unequal":
            f.stack.append(constant(not self.plain(result)))
        elif after in ("push", "operator"):
            f.stack.append(result)
        elif after == "there":
            f.stack.append(constant(True))
        elif after == "negate":
            f.stack.append(constant(not result.value))
        elif after == "variable":
            f.stack.append(waiting[2][0])
        elif after[0] is KEEP:
            self.keep_property(f, waiting[2][0], after[1], result)
        elif after[0] is WITHIN:
            self.contained(f, result, after[1])

    def _retry(self, f, waiting):
        """Follow an instruction, now that it has taken items from iterators."""
        f.retrying, f.waiting = waiting, None
        self._begin(f, waiting[1])
        f.retrying = None

    def _is_generators(self, code):
        return any(g.code is code for g in self.generators)

    def _begin(self, f, offset):
        i, expected, f.branch, f.handler = f.table[offset], f.branch, None, None
        if expected is not None and offset != expected:
            raise Doubt("a loop does not go on as was expected")
        name = i.opname
        follow = self.followers.get(name)
        if follow is None:
            raise Doubt(f"the instruction {name} is not understood")
        self.passing = ()
        if self.varied and name not in TAKING_VARIED:
            self._ask_lengths(f.stack, name)
        if name in SIMPLE:
            follow(self, f, i)
            return
        stack, kwnames = list(f.stack), f.kwnames
        try:
            follow(self, f, i)
        except Raised as raised:
            self.will_raise(f, offset, raised, stack)
        except Pending as pending:
            f.stack, f.kwnames = stack, kwnames
            f.waiting = ("retry", offset, pending.passes, len(self.call.path), pending.iterator)

    @staticmethod
    def _ask_lengths(stack, name):
        """An instruction may ask how long arrays are: one that goes through something, of this only."""
        if name not in GOING_THROUGH:
            settle(stack)
        elif stack[-1].kind == "varied":
            settle(stack[-1:])

    def ask(self, iterator):
        """Items are about to be taken from an iterator: an instruction that runs generators is followed once they have run."""
        self.passing = iterator.passing
        if iterator.live and self.frames[-1].retrying is None:
            raise Pending(iterator.runs_library, iterator)

def _in_garbage_collection(frame, root):
    """Whether one of ``gc.callbacks`` runs: it comes between any two instructions, and is no part of the program. ``root``: the program's frame, if it runs."""
    codes = [getattr(fn, "__code__", None) for fn in gc.callbacks]
    while frame is not None and frame is not root and frame.f_code not in codes:
        frame = frame.f_back
    return frame is not None and frame is not root


def _has_locals(frame, g):
    """Whether a frame's arguments are a generator's."""
    values = frame.f_locals
    return all(values.get(name) is ref.value for name, ref in g.locals.items() if ref.kind in ("static", "arg", "state"))
