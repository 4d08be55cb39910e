"""The floating-point flags of a thread, for native functions: the register MXCSR of x86; nothing on other CPUs."""

from __future__ import annotations

from hybridnn.jit.lowlevel import I32, PTR, VOID, Func, Module, Val

ALL = 0x3F


def _load_register(m: Module, f: Func, x: Val) -> None:
    slot = f.stack(8)
    f.store(f.narrow(x, I32), slot)
    f.call(m.extern("llvm.x86.sse.ldmxcsr", VOID, [PTR]), slot)


def _register(m: Module, f: Func) -> Val:
    slot = f.stack(8)
    f.call(m.extern("llvm.x86.sse.stmxcsr", VOID, [PTR]), slot)
    return f.widen(f.load(I32, slot))


def read(m: Module, f: Func) -> Val:
    """The flags of this thread as the register has them; 0 on other CPUs."""
    return _register(m, f) & ALL if m.is_x86 else f.value(0)


def clear(m: Module, f: Func) -> None:
    if m.is_x86:
        _load_register(m, f, _register(m, f) & ~ALL)


def join(m: Module, f: Func, flags: Val) -> None:
    """Sets flags that another thread raised; they are masked, so nothing traps."""
    if m.is_x86:
        _load_register(m, f, _register(m, f) | flags)
