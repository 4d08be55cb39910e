"""Following bytecode on CPython 3.12 and 3.13: the instructions that they added or changed, and the order in which instructions are seen.

There, ``sys.settrace`` rests on ``sys.monitoring``, which another thread that runs the same code can switch off in the middle of a function. So each
instruction seen must be just the one that the last leads to: the one after it, or the target of a jump that the observer knows to be taken. Else something was
missed, and that is a ``Doubt``.
"""
import dis
import os
import sys
import threading

from hybridnn.core.variable import Variable
from hybridnn.trace.observe import Observer, following, instructions
from hybridnn.trace.refs import Cell, Closure, Doubt, Ref, constant

__all__ = ["LaterObserver", "observer_type"]

UNBOUND = Ref("unbound", None)      # what a variable without a value gives
ON_STACK = object()                 # the truth of the condition will lie on the stack
TRUTH = "truth"                     # what becomes of a result: the instruction also asks for its truth
ATTRIBUTES = {1: "defaults", 2: "kwdefaults", 4: "annotations", 8: "cells"}
_turn = [threading.Lock()]
if hasattr(os, "register_at_fork"):     # the thread that had it may not be there to give it back
    os.register_at_fork(after_in_child=lambda: _turn.__setitem__(0, threading.Lock()))
CONVERSIONS = {1: str, 2: repr, 3: ascii}


def observer_type():
    """The class of observers for this interpreter, or None if there is none, or somebody else watches what runs. From CPython 3.12 on, what one thread asks
    to be shown is shown to all, so that one at a time is followed."""
    if sys.version_info[:2] == (3, 11):
        return Observer
    if sys.version_info[:2] not in ((3, 12), (3, 13)) or any(map(sys.monitoring.get_tool, range(6))) or _turn[0].locked():
        return None
    return LaterObserver


def _is_users(code, offset):
    """Whether an exception handler is any but the one which keeps StopIteration inside a generator."""
    table = instructions(code)
    first = table[offset]
    return first.opname != "CALL_INTRINSIC_1" or first.argrepr != "INTRINSIC_STOPITERATION_ERROR" or table[offset + 2].opname != "RERAISE"


def _asks_truth(f):
    return f.waiting is not None and f.waiting[4:5] == (TRUTH,)


def _ask_for_instructions():
    """CPython 3.12 shows instructions only to trace functions that are set after some frame has asked for them. This one never runs: a frame that does so
    without a trace function, while another thread has one, is more than CPython 3.12 can bear."""
    (x for x in ()).gi_frame.f_trace_opcodes = True


class LaterObserver(Observer):
    """An ``Observer`` for the bytecode of CPython 3.12 and 3.13."""

    # ------------------------------------------------------------------------------------------------- the order of instructions

    def __enter__(self):
        self.turn = _turn[0]
        if not self.turn.acquire(blocking=False):
            self.turn, self.doubt = None, Doubt("another thread is being followed")
            return self
        try:
            _ask_for_instructions()
            return super().__enter__()
        except BaseException:
            self._let_go()
            raise

    def __exit__(self, *exc):
        super().__exit__(*exc)
        self._hide()

    def _let_go(self):
        super()._let_go()
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.release()

    def aside(self, fn, *args):
        """What one thread stops to watch, all threads do: here it goes on."""
        return fn(*args)

    def _hide(self):
        """This thread has no trace function any more: its frames ask for nothing."""
        for f in self.frames:
            f.real.f_trace_opcodes = False

    def fail(self, error):
        try:
            super().fail(error)
        except BaseException:
            self._hide()
            raise

    def _follow(self, frame, followed):
        begins, last = followed.table[frame.f_lasti], followed.last
        if begins.opname != "RESUME" or last is not None and following(followed.code)[last.offset] != begins.offset:
            raise Doubt(f"{followed.code.co_name} does not begin where it should")
        followed.last, followed.branch = begins, None
        frame.f_trace = self.on_event           # CPython 3.13 shows instructions from here on only if the frame has a trace function already
        super()._follow(frame, followed)

    def _next(self, frame, event, local):
        if event != "return":
            return local
        if sys.version_info < (3, 13) or not any(f.code is frame.f_code for f in self.frames):   # in CPython 3.13 this belongs to the code, not the frame
            frame.f_trace_opcodes = False
        return None

    def _on_call(self, frame):
        top = self.frames[-1] if self.frames else None
        if top is not None and top.result is not None and _asks_truth(top) and frame.f_code.co_name == "__bool__":
            compared, top.result = top.result, None
            self._condition(top, compared)
            top.waiting = (*top.waiting[:4], "push")
        return super()._on_call(frame)

    def _finish(self, f):
        compared = f.result if _asks_truth(f) else None
        super()._finish(f)
        if compared is not None:
            if compared.kind == "static" and compared.value is NotImplemented:
                raise Doubt("a comparison that is not implemented for these operands")
            f.stack.append(constant(self._truth(f, compared)))
        if f.branch is ON_STACK and f.waiting is None:
            f.branch = self._decided(f, f.stack.pop())

    def _begin(self, f, offset):
        retried = f.retrying is not None
        if not retried and offset != self._expected(f):
            raise Doubt("an instruction was not seen")
        f.last, f.branch = f.table[offset], None
        super()._begin(f, offset)

    def _expected(self, f):
        """The offset of the instruction that must be the next, or None if none may follow."""
        if f.handler is not None:
            return f.handler
        last, after = f.last, following(f.code)
        name = last.opname
        if name.startswith("RETURN_") or name == "YIELD_VALUE":
            return None
        if name.startswith("JUMP_") or name.startswith(("POP_JUMP_", "SEND")) and f.branch is True:
            return last.argval
        if name == "FOR_ITER" and f.branch is True:
            return self._past(f, last.argval, ["END_FOR"] if sys.version_info < (3, 13) else ["END_FOR", "POP_TOP"])
        return after[last.offset]

    def _past(self, f, offset, names):
        """The offset behind instructions that CPython passes over."""
        for name in names:
            if f.table[offset].opname != name:
                raise Doubt(f"{f.table[offset].opname} stands where {name} should")
            offset = following(f.code)[offset]
        return offset

    def on_event(self, frame, event, arg):
        try:
            return self._on_event(frame, event, arg)
        except BaseException:       # of a signal's handler
            self._hide()
            raise

    def _on_event(self, frame, event, arg):
        if self.doubt is None and (not self.frames or self.frames[-1].real is not frame):
            self.stop(f"{frame.f_code.co_name} ends, or runs on, where it should not")
            return None
        if event == "exception" and arg[0] is StopIteration and self.doubt is None and self.frames[-1].last.opname in ("END_SEND", "FOR_ITER"):
            return self.on_event            # a generator has returned a value; if anything is caught, another instruction follows
        return super().on_event(frame, event, arg)

    def _handles(self, frame):
        entries = dis.Bytecode(frame.f_code).exception_entries
        return any(e.start <= frame.f_lasti < e.end and _is_users(frame.f_code, e.target) for e in entries)

    # ------------------------------------------------------------------------------------------------- jumps

    def _truth(self, f, x):
        """What ``bool`` gives for ``x``, which is no Variable."""
        self._condition(f, x)
        if f.waiting is not None:
            raise Doubt("the truth of a Variable")
        return bool((x if x.kind in ("array", "number") else self.use(x)).value)

    def _decided(self, f, ref):
        """Whether the jump is taken that the last instruction may make."""
        if ref.kind != "static" or type(ref.value) is not bool:
            raise Doubt("a condition whose outcome is not known")
        return ref.value is f.last.opname.endswith("TRUE")

    def op_POP_JUMP_IF_FALSE(self, f, i):
        x = f.stack.pop()
        if isinstance(x.value, Variable) and x.kind != "mirror":
            self._condition(f, x)
            f.waiting, f.branch = (*f.waiting[:4], "push"), ON_STACK
        else:
            f.branch = self._decided(f, constant(self._truth(f, x)))

    op_POP_JUMP_IF_TRUE = op_POP_JUMP_IF_FALSE

    def op_POP_JUMP_IF_NONE(self, f, i):
        x = f.stack[-1]
        self.op_POP_JUMP_FORWARD_IF_NONE(f, i)
        none = x.kind in ("static", "arg") and x.value is None
        f.branch = none is (i.opname == "POP_JUMP_IF_NONE")

    op_POP_JUMP_IF_NOT_NONE = op_POP_JUMP_IF_NONE

    def op_TO_BOOL(self, f, i):
        x = f.stack.pop()
        if isinstance(x.value, Variable) and x.kind != "mirror":
            self._condition(f, x)
            f.waiting = (*f.waiting[:4], "push")
        else:
            f.stack.append(constant(self._truth(f, x)))

    def op_COMPARE_OP(self, f, i):
        super().op_COMPARE_OP(f, i)
        if sys.version_info >= (3, 13) and i.arg & 16:
            if f.waiting is None:
                f.stack.append(constant(self._truth(f, f.stack.pop())))
            elif f.waiting[4] != "unequal":         # which gives a bool anyway
                f.waiting = (*f.waiting[:4], TRUTH)

    def op_FOR_ITER(self, f, i):
        n = len(f.stack)
        super().op_FOR_ITER(f, i)
        f.branch = len(f.stack) < n

    def op_SEND(self, f, i):
        n, receiver = len(f.stack), f.stack[-2]
        super().op_SEND(f, i)
        f.branch = len(f.stack) < n
        if f.branch:
            f.stack.insert(-1, receiver)

    def op_END_SEND(self, f, i):
        del f.stack[-2]

    def op_EXTENDED_ARG(self, f, i):
        """The instruction that it belongs to is seen too."""

    def op_RETURN_CONST(self, f, i):
        f.waiting = ("return", constant(i.argval))

    # ------------------------------------------------------------------------------------------------- variables

    def _push_local(self, f, name):
        if name in f.cells:
            f.stack.append(Ref("static", f.cells[name]))        # as an operand of what makes a function
        elif name in f.locals:
            f.stack.append(f.locals[name])
        else:
            raise Doubt(f"the variable {name!r} has no value")

    def _set_local(self, f, name, ref):
        if ref.kind == "cell":
            f.cells[name] = ref.value
        if ref.kind in ("cell", "unbound"):
            f.locals.pop(name, None)
        else:
            f.locals[name] = ref

    def op_LOAD_FAST(self, f, i):
        self._push_local(f, i.argval)

    op_LOAD_FAST_CHECK = op_LOAD_FAST

    def op_STORE_FAST(self, f, i):
        self._set_local(f, i.argval, f.stack.pop())

    def op_LOAD_FAST_AND_CLEAR(self, f, i):
        """What the variable of a comprehension is outside of it, which comes back at its end."""
        value, cell = f.locals.pop(i.argval, UNBOUND), f.cells.pop(i.argval, None)
        f.stack.append(value if cell is None else Ref("cell", cell))

    def op_LOAD_FAST_LOAD_FAST(self, f, i):
        for name in i.argval:
            self._push_local(f, name)

    def op_STORE_FAST_LOAD_FAST(self, f, i):
        self._set_local(f, i.argval[0], f.stack.pop())
        self._push_local(f, i.argval[1])

    def op_STORE_FAST_STORE_FAST(self, f, i):
        for name in i.argval:
            self._set_local(f, name, f.stack.pop())

    def op_MAKE_CELL(self, f, i):
        f.cells[i.argval] = Cell(f.locals.pop(i.argval, None))

    def op_LOAD_ATTR(self, f, i):
        self._load_attr(f, f.stack.pop(), i.argval, method=bool(i.arg & 1))

    def op_LOAD_SUPER_ATTR(self, f, i):
        called, cls, owner = self._take(f, 3)
        if called.value is not super:
            raise Doubt("calls something else that is called super")
        self.make_super(f, [cls, owner])
        self.super_attr(f, f.stack.pop(), i.argval, method=bool(i.arg & 1))

    # ------------------------------------------------------------------------------------------------- calls

    def op_CALL(self, f, i):
        names, f.kwnames = f.kwnames, ()
        self._call_with(f, i.arg, names)

    def op_CALL_KW(self, f, i):
        self._call_with(f, i.arg, f.stack.pop().value)

    def _call_with(self, f, n, names):
        """CPython 3.12 has ``NULL, callable`` under the arguments, 3.13 ``callable, NULL``, and both ``method, self``."""
        args = self._take(f, n)
        second, fn = f.stack.pop(), f.stack.pop()
        if fn.kind == "null":
            fn, second = second, fn
        if second.kind != "null":
            args.insert(0, second)
        kw = dict(zip(names, args[len(args) - len(names):], strict=True))
        self._call(f, fn, args[:len(args) - len(names)], kw)

    def op_CALL_FUNCTION_EX(self, f, i):
        kw = self.use(f.stack.pop()).value if i.arg & 1 else {}
        args = self._items(f.stack.pop())
        second, fn = f.stack.pop(), f.stack.pop()
        self._call(f, second if fn.kind == "null" else fn, args, dict(kw))

    def op_CALL_INTRINSIC_1(self, f, i):
        if i.argrepr == "INTRINSIC_UNARY_POSITIVE":
            self._unary(f, "+")
        elif i.argrepr == "INTRINSIC_LIST_TO_TUPLE":
            self.op_LIST_TO_TUPLE(f, i)
        else:
            raise Doubt(f"the instruction {i.opname} {i.argrepr} is not understood")

    def op_MAKE_FUNCTION(self, f, i):
        if sys.version_info < (3, 13):
            super().op_MAKE_FUNCTION(f, i)
        else:
            f.stack.append(Ref("closure", Closure(f.stack.pop().value, [], [], {})))

    def op_SET_FUNCTION_ATTRIBUTE(self, f, i):
        fn, given = f.stack.pop(), f.stack.pop()
        name = ATTRIBUTES[i.arg]
        if name == "cells":
            fn.value.cells = [r.value for r in given.value]
        elif name == "kwdefaults":
            fn.value.kwdefaults = given.value
        elif name == "defaults":
            fn.value.defaults = [constant(v) for v in given.value] if given.kind == "static" else list(given.value)
        f.stack.append(fn)

    # ------------------------------------------------------------------------------------------------- slices and texts

    def op_BINARY_SLICE(self, f, i):
        self._slice(f)
        self.op_BINARY_SUBSCR(f, i)

    def op_STORE_SLICE(self, f, i):
        self._slice(f)
        self.op_STORE_SUBSCR(f, i)

    def _slice(self, f):
        f.stack.append(self.slice_of(self._take(f, 2)))

    def op_CONVERT_VALUE(self, f, i):
        self._push_text(f, CONVERSIONS[i.arg])

    def op_FORMAT_SIMPLE(self, f, i):
        self._push_text(f, format)

    def op_FORMAT_WITH_SPEC(self, f, i):
        spec = f.stack.pop()
        if spec.kind != "static":
            raise Doubt("a format that is not the same on every call")
        self._push_text(f, lambda v: format(v, spec.value))
