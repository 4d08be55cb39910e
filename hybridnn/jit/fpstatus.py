"""Whether a plan's arithmetic overflowed, divided by zero or made NaN: what NumPy warns of after an operation.

Put :func:`clear_step` first and :func:`read_step` last in a plan; if bits that ``numpy.errstate`` watches are set, the caller
runs the operations one by one and gets the very warning. The flags belong to the thread; helpers of parallel steps hand theirs
over.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

from hybridnn.jit.native import Step, View

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Func, Module, Source, Val

# As in numpy.geterrcall's second argument.
DIVIDE, OVERFLOW, UNDERFLOW, INVALID = 1, 2, 4, 8
WATCHED = INVALID, DIVIDE, OVERFLOW  # NumPy ignores underflow unless told otherwise
NOTED = 8
# The same in the MXCSR register of x86.
MXCSR = {INVALID: 1, DIVIDE: 4, OVERFLOW: 8, UNDERFLOW: 16}


@functools.cache
def supported() -> bool:
    """Whether the flags can be read on this CPU (x86)."""
    from hybridnn.jit import lowlevel as low

    return low.Module("probe").is_x86


def clear_step() -> Step | None:
    """A step that clears the flags; None where they cannot be read."""
    if not supported():
        return None
    return Step(_code().address("fp_clear"), np.zeros(0, np.int64), name="clear flags", keep=_code())


def read_step(out: View) -> Step | None:
    """A step that stores the flags since the last clearing, as in NumPy's error callbacks, in one int64 at ``out``."""
    if not supported():
        return None
    return Step(_code().address("fp_read"), np.array([out.buf, out.offset], np.int64), name="read flags", keep=_code())


def check_step(code: int, noted: bool = False) -> Step | None:
    """A step that ends the walk with ``code`` and the flags if one of ``WATCHED`` is set since the last clearing; with those that were ``noted``."""
    if not supported():
        return None
    return Step(_code().address("fp_check_noted" if noted else "fp_check"), np.array([code], np.int64), name="check flags", keep=_code())


def note_step() -> Step | None:
    """A step that keeps the flags since the last clearing for a ``check_step(code, noted=True)``, which puts them ``NOTED`` bits above its own."""
    if not supported():
        return None
    return Step(_code().address("fp_note"), np.zeros(0, np.int64), name="note flags", keep=_code())


@functools.cache
def _code() -> Module:
    return source().load()


def source() -> Source:
    """What is compiled."""
    from hybridnn.jit import lowlevel as low

    return low.Source("fpstatus", _emit, as_written=True)


def _emit(m: Module) -> None:
    from hybridnn.jit import fpregister
    from hybridnn.jit import lowlevel as low

    f, *_ = low.step_function(m, "fp_clear")
    fpregister.clear(m, f)
    f.ret()
    f, *_ = low.step_function(m, "fp_read")
    raised, bits = fpregister.read(m, f), f.value(0)
    for ours, theirs in MXCSR.items():
        bits = bits | f.select((raised & theirs) != 0, ours, 0)
    f.store(bits, low.operand(f, 0))
    f.ret()
    f, bufs, *_ = low.step_function(m, "fp_note")
    f.store(_watched(m, f) << NOTED, f.load(low.PTR, bufs, -1), 1)
    f.ret()
    for name, noted in (("fp_check", False), ("fp_check_noted", True)):
        f, bufs, args, *_ = low.step_function(m, name)
        bits = _watched(m, f)
        with f.when(bits != 0):
            status = f.load(low.PTR, bufs, -1)
            f.store(f.load(low.I64, args, 0), status, 0)
            f.store(bits | f.load(low.I64, status, 1) if noted else bits, status, 1)
        f.ret()


def _watched(m: Module, f: Func) -> Val:
    """Those of ``WATCHED`` that are set."""
    from hybridnn.jit import fpregister

    raised, bits = fpregister.read(m, f), f.value(0)
    for ours in WATCHED:
        bits = bits | f.select((raised & MXCSR[ours]) != 0, ours, 0)
    return bits
