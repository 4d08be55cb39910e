"""A small language for writing native functions in Python: loops, loads and stores over LLVM IR.

``numba`` compiles the fused kernels; the few functions here must exist before any kernel does, touch ``PyObject`` memory or
call C libraries, and have to load in milliseconds. They are written with :class:`Func`, whose values overload the operators::

    f = Func(module, "double_all", VOID, [PTR, I64])
    data, n = f.params
    with f.range(0, n) as i:
        f.store(f.load(F32, data, i) * 2.0, data, i)
    f.ret()

Integers are signed, sizes and byte offsets are int64, pointers are untyped. Mutable variables are stack slots, which LLVM
turns into registers.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

import llvmlite
from llvmlite import ir

from hybridnn.jit import machine_code, objects

VOID, PTR = ir.VoidType(), ir.PointerType()
I1, I8, I16, I32, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()
BYTES = {I8: 1, I16: 2, I32: 4, I64: 8, F32: 4, F64: 8, PTR: 8}
INTEGERS, REALS = {1: I8, 2: I16, 4: I32, 8: I64}, {"f32": F32, "f64": F64}

Number = Union["Val", int, float]


def _is_float(kind: ir.Type) -> bool:
    return (kind.element if isinstance(kind, ir.VectorType) else kind) in (F32, F64)


class Val:
    """A value of the function being written; arithmetic and comparisons emit instructions."""

    __slots__ = ("f", "ir")

    def __init__(self, f: Func, value: ir.Value):
        self.f, self.ir = f, value

    def _binary(self, other: Number, on_int: str, on_float: str, swap: bool = False) -> Val:
        a, b = self.ir, self.f.value(other, self.ir.type).ir
        op = getattr(self.f.builder, on_float if _is_float(a.type) else on_int)
        return Val(self.f, op(b, a) if swap else op(a, b))

    def _compare(self, sign: str, other: Number) -> Val:
        a, b = self.ir, self.f.value(other, self.ir.type).ir
        builder = self.f.builder
        return Val(self.f, (builder.fcmp_ordered if _is_float(a.type) else builder.icmp_signed)(sign, a, b))

    def __add__(self, other: Number) -> Val:
        return self._binary(other, "add", "fadd")

    __radd__ = __add__

    def __sub__(self, other: Number) -> Val:
        return self._binary(other, "sub", "fsub")

    def __rsub__(self, other: Number) -> Val:
        return self._binary(other, "sub", "fsub", swap=True)

    def __mul__(self, other: Number) -> Val:
        return self._binary(other, "mul", "fmul")

    __rmul__ = __mul__

    def __floordiv__(self, other: Number) -> Val:
        """Quotient towards zero, as in C."""
        return self._binary(other, "sdiv", "fdiv")

    def __truediv__(self, other: float | Val) -> Val:
        """Quotient of floats."""
        return self._binary(other, "", "fdiv")

    def __mod__(self, other: Number) -> Val:
        return self._binary(other, "srem", "frem")

    def __and__(self, other: Number) -> Val:
        return self._binary(other, "and_", "and_")

    def __or__(self, other: Number) -> Val:
        return self._binary(other, "or_", "or_")

    def __xor__(self, other: Number) -> Val:
        return self._binary(other, "xor", "xor")

    def __lshift__(self, other: Number) -> Val:
        return self._binary(other, "shl", "shl")

    def __rshift__(self, other: Number) -> Val:
        """Without regard to the sign."""
        return self._binary(other, "lshr", "lshr")

    def __lt__(self, other: Number) -> Val:
        return self._compare("<", other)

    def __le__(self, other: Number) -> Val:
        return self._compare("<=", other)

    def __gt__(self, other: Number) -> Val:
        return self._compare(">", other)

    def __ge__(self, other: Number) -> Val:
        return self._compare(">=", other)

    def __eq__(self, other: object) -> Val:  # type: ignore[override]
        return self._compare("==", other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Val:  # type: ignore[override]
        return self._compare("!=", other)  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


class Func:
    """Builder of one native function; see the module's docstring."""

    def __init__(self, module: ir.Module, name: str, ret: ir.Type, params: Sequence[ir.Type]):
        self.ir = ir.Function(module, ir.FunctionType(ret, params), name)
        self._entry = self.ir.append_basic_block("entry")
        self.builder = ir.IRBuilder(self.ir.append_basic_block("start"))
        self.params = [Val(self, p) for p in self.ir.args]

    # values
    def value(self, x: Number, kind: ir.Type = I64) -> Val:
        """``x`` itself, or the constant ``x`` of type ``kind``, in all lanes if that is a vector."""
        if isinstance(x, Val):
            return x
        if isinstance(kind, ir.VectorType):
            return Val(self, ir.Constant(kind, [ir.Constant(kind.element, x)] * kind.count))
        if kind is PTR:
            return Val(self, self.builder.inttoptr(ir.Constant(I64, x), PTR))
        return Val(self, ir.Constant(kind, x))

    def var(self, init: Number, kind: ir.Type = I64) -> Var:
        slot = self._alloca(kind, 1)
        self.builder.store(self.value(init, kind).ir, slot)
        return Var(self, slot, kind)

    def stack(self, bytes_: int) -> Val:
        """A fixed block of stack memory, 16-aligned."""
        return Val(self, self._alloca(ir.ArrayType(I64, (bytes_ + 7) // 8), 1))

    def stack_dynamic(self, words: Val) -> Val:
        """``words`` int64 of stack; only outside loops."""
        return Val(self, self.builder.alloca(I64, words.ir))

    def _alloca(self, kind: ir.Type, count: int) -> ir.Value:
        slot = ir.IRBuilder(self._entry).alloca(kind, count)
        slot.align, slot.type = 16 if isinstance(kind, ir.ArrayType) else None, PTR
        return slot

    # memory
    def at(self, base: Val, offset: Number) -> Val:
        """The pointer ``offset`` bytes after ``base``."""
        return Val(self, self.builder.gep(base.ir, [self.value(offset).ir], source_etype=I8))

    def load(self, kind: ir.Type, base: Val, index: Number = 0) -> Val:
        """Element ``index`` of an array of ``kind``, at no particular alignment."""
        return Val(self, self.builder.load(self._element(kind, base, index), typ=kind, align=BYTES[kind]))

    def store(self, x: Number, base: Val, index: Number = 0, kind: ir.Type = I64) -> None:
        value = self.value(x, kind).ir
        self.builder.store(value, self._element(value.type, base, index), align=BYTES[value.type])

    def _element(self, kind: ir.Type, base: Val, index: Number) -> ir.Value:
        if isinstance(index, int) and index == 0:
            return base.ir
        return self.builder.gep(base.ir, [self.value(index).ir], source_etype=kind)

    def load_vector(self, kind: ir.Type, lanes: int, base: Val) -> Val:
        return Val(self, self.builder.load(base.ir, typ=ir.VectorType(kind, lanes), align=BYTES[kind]))

    def store_vector(self, x: Val, base: Val, align: int) -> None:
        self.builder.store(x.ir, base.ir, align=align)

    def splat(self, x: Val, lanes: int) -> Val:
        """A vector that has ``x`` in all lanes."""
        one = self.builder.insert_element(ir.Constant(ir.VectorType(x.ir.type, lanes), ir.Undefined), x.ir, ir.Constant(I32, 0))
        return self.shuffle(Val(self, one), Val(self, one), [0] * lanes)

    def together(self, elements: Sequence[Val]) -> Val:
        """The vector of these."""
        kind = elements[0].ir.type
        vector: ir.Value = ir.Constant(ir.VectorType(kind, len(elements)), ir.Undefined)
        for lane, x in enumerate(elements):
            vector = self.builder.insert_element(vector, x.ir, ir.Constant(I32, lane))
        return Val(self, vector)

    def shuffle(self, a: Val, b: Val, lanes: Sequence[int]) -> Val:
        """The lanes of ``a`` and ``b``, numbered through, in this order."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
        return Val(self, self.builder.shuffle_vector(a.ir, b.ir, mask))

    # conversions
    def to_ptr(self, x: Number) -> Val:
        return Val(self, self.builder.inttoptr(self.value(x).ir, PTR))

    def to_int(self, x: Val) -> Val:
        return Val(self, self.builder.ptrtoint(x.ir, I64))

    def widen(self, x: Val) -> Val:
        """Signed int64 of a narrower integer."""
        return Val(self, self.builder.sext(x.ir, I64)) if x.ir.type is not I64 else x

    def narrow(self, x: Val, kind: ir.Type) -> Val:
        return Val(self, self.builder.trunc(x.ir, kind)) if x.ir.type is not kind else x

    def as_float(self, bits: Val, kind: ir.Type) -> Val:
        """The float64 whose bits an int64 holds, rounded to ``kind``."""
        x = self.builder.bitcast(bits.ir, F64)
        return Val(self, x if kind is F64 else self.builder.fptrunc(x, kind))

    def real(self, x: Val) -> Val:
        """float64 of a signed integer."""
        return Val(self, self.builder.sitofp(x.ir, F64))

    def extend(self, x: Val) -> Val:
        """float64 of a float32."""
        return Val(self, self.builder.fpext(x.ir, F64)) if x.ir.type is F32 else x

    def round(self, x: Val, kind: ir.Type) -> Val:
        """float64, or float32 of a float64."""
        return Val(self, self.builder.fptrunc(x.ir, kind)) if kind is F32 else x

    def select(self, cond: Val, a: Number, b: Number, kind: ir.Type = I64) -> Val:
        return Val(self, self.builder.select(cond.ir, self.value(a, kind).ir, self.value(b, kind).ir))

    def least(self, a: Val, b: Number) -> Val:
        return self.select(a < b, a, b)

    # control
    @contextmanager
    def range(self, lo: Number, hi: Number, step: Number = 1) -> Iterator[Val]:
        """``for i in range(lo, hi, step)``; ``step`` positive."""
        b, last = self.builder, self.value(hi)
        counter = self.var(lo)
        head, body, after = (b.append_basic_block(n) for n in ("loop", "body", "after"))
        b.branch(head)
        b.position_at_end(head)
        i = counter.get()
        b.cbranch((i < last).ir, body, after)
        b.position_at_end(body)
        yield i
        if not b.block.is_terminated:
            counter.set(i + step)
            b.branch(head)
        b.position_at_end(after)

    @contextmanager
    def loop(self) -> Iterator[Loop]:
        """An endless loop, left with ``loop.leave_if(cond)``."""
        b = self.builder
        body, after = b.append_basic_block("forever"), b.append_basic_block("after")
        b.branch(body)
        b.position_at_end(body)
        yield Loop(self, after)
        b.branch(body)
        b.position_at_end(after)

    @contextmanager
    def when(self, cond: Val) -> Iterator[None]:
        b = self.builder
        with b.if_then(cond.ir):
            yield

    @contextmanager
    def either(self, cond: Val) -> Iterator[tuple[Any, Any]]:
        """``with f.either(c) as (then, otherwise): with then: ...; with otherwise: ...``"""
        with self.builder.if_else(cond.ir) as branches:
            yield branches

    def call(self, target: Func | ir.Function, *args: Number) -> Val:
        fn = target.ir if isinstance(target, Func) else target
        kinds = list(fn.function_type.args) + [I64] * len(args)
        return Val(self, self.builder.call(fn, [self.value(a, k).ir for a, k in zip(args, kinds, strict=False)]))

    def call_address(self, address: Val, ret: ir.Type, *args: Val) -> Val:
        """Calls the C function that lies at ``address`` (int64)."""
        kind = ir.FunctionType(ret, [a.ir.type for a in args])
        fn = self.builder.inttoptr(address.ir, ir.PointerType(kind))
        return Val(self, self.builder.call(fn, [a.ir for a in args]))

    def ret(self, x: Number | None = None) -> None:
        if x is None:
            self.builder.ret_void()
        else:
            self.builder.ret(self.value(x, self.ir.function_type.return_type).ir)

    def finish(self) -> None:
        """Joins the block of stack slots to the code; called before the module's text is made."""
        if not self._entry.is_terminated:
            ir.IRBuilder(self._entry).branch(self.ir.blocks[1])


class Var:
    """A mutable variable."""

    __slots__ = ("f", "kind", "slot")

    def __init__(self, f: Func, slot: ir.Value, kind: ir.Type):
        self.f, self.slot, self.kind = f, slot, kind

    def get(self) -> Val:
        return Val(self.f, self.f.builder.load(self.slot, typ=self.kind))

    def set(self, x: Number) -> None:
        self.f.builder.store(self.f.value(x, self.kind).ir, self.slot)

    def add(self, x: Number) -> None:
        self.set(self.get() + x)


@dataclass(frozen=True)
class Loop:
    f: Func
    after: ir.Block

    def leave_if(self, cond: Val) -> None:
        b = self.f.builder
        onward = b.append_basic_block("onward")
        b.cbranch(cond.ir, self.after, onward)
        b.position_at_end(onward)


def step_function(m: Module, name: str) -> tuple[Func, Val, Val, Val, Val]:
    """A function with the signature of a plan's step: the builder, then bufs, args, lo, hi."""
    f = m.func(name, VOID, [PTR, PTR, I64, I64])
    return f, *f.params  # type: ignore[return-value]


def operand(f: Func, index: int) -> Val:
    """The address of operand ``index`` of a step: its pair (buffer, byte offset) in args."""
    bufs, args = f.params[:2]
    return f.at(f.load(PTR, bufs, f.load(I64, args, 2 * index)), f.load(I64, args, 2 * index + 1))


def memcpy(m: Module) -> ir.Function:
    """C's own function that copies bytes: target, source, how many."""
    return m.extern("memcpy", PTR, [PTR, PTR, I64])


class Module:
    """Native functions that are compiled together; made by :func:`load`, or by hand and then :meth:`compile`."""

    def __init__(self, name: str):
        self.ir = ir.Module(name)
        self._funcs: list[Func] = []
        self._engine: Any = None
        self._addresses: dict[str, int] = {}
        self.is_x86 = machine_code.host()[0].startswith(("x86_64", "i686"))

    def func(self, name: str, ret: ir.Type, params: Sequence[ir.Type]) -> Func:
        f = Func(self.ir, name, ret, params)
        self._funcs.append(f)
        return f

    def extern(self, name: str, ret: ir.Type, params: Sequence[ir.Type], variadic: bool = False) -> ir.Function:
        """A C function of the process, found by name when the module is linked."""
        known = self.ir.globals.get(name)
        return known or ir.Function(self.ir, ir.FunctionType(ret, params, variadic), name)

    def text(self) -> str:
        for f in self._funcs:
            f.finish()
        return str(self.ir)

    def compile(self) -> Module:
        self._engine = machine_code.link(machine_code.object_code(self.text()))
        return self

    def address(self, name: str) -> int:
        """Where a function lies. Known ones take no lock of LLVM's, which another thread may have held at a fork."""
        if name not in self._addresses:
            with objects.compiling(), machine_code.LOCK:
                self._addresses[name] = int(self._engine.get_function_address(name))
        return self._addresses[name]


@dataclass(frozen=True)
class Source:
    """A module that ``emit(module, *options)`` writes.

    ``as_written``: LLVM tidies the code, but widens and unrolls no loops.
    """

    name: str
    emit: Callable[..., None]
    options: tuple[Any, ...] = ()
    as_written: bool = False

    def key(self) -> str:
        """A hash of options, toolchain, and the text of the source files that shape code: of ``emit``, this one, and those with tables."""
        here = Path(__file__).parent
        files = __file__, self.emit.__code__.co_filename, *(here / f"{n}.py" for n in ("machine_code", "native", "threads", "pool", "fpregister", "vectors"))
        sources = [_digest(f) for f in files]
        facts = self.name, self.emit.__name__, self.options, self.as_written, sources, sys.version_info, llvmlite.__version__, *machine_code.host()
        return objects.DIGEST(repr(facts).encode()).hexdigest()

    def load(self) -> Module:
        """The module, from disk if it was compiled before. Another thread that is at it is waited for."""
        key, module = self.key(), Module(self.name)
        with objects.compiling(), _turns.setdefault(key, threading.RLock()):
            code = objects.load(key)
            if code is None:
                self.emit(module, *self.options)
                code = machine_code.object_code(module.text(), self.as_written)
                objects.store(key, code)
            module._engine = machine_code.link(code)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(module._engine))  # never freed: helper threads sleep in its code to the end
        return module


def load(name: str, emit: Callable[..., None], *options: Any, as_written: bool = False) -> Module:
    """The module that ``emit(module, *options)`` writes; see :class:`Source`."""
    return Source(name, emit, options, as_written).load()


@functools.cache
def _digest(file: str | Path) -> str:
    return objects.DIGEST(Path(file).read_bytes()).hexdigest()


_turns: dict[str, Any] = {}  # key of a module -> lock of those who load it
