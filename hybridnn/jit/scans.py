"""Native steps that go along one axis: places of extremes, running sums and products, linear recurrences."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hybridnn.jit.native import Step, View, pairs

if TYPE_CHECKING:
    from hybridnn.jit.lowlevel import Module

__all__ = ["KINDS", "scan_step"]

KINDS = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64", np.dtype(np.int32): "i32", np.dtype(np.int64): "i64"}
OPERANDS = {"prod": 1, "argmax": 1, "argmin": 1, "cumsum": 1, "cumprod": 1, "linear_scan": 2}
PIECE_BYTES = 200_000  # that a thread reads at least


def scan_step(name: str, operands: list[View], out: View, dtype: Any, axis: int, reverse: bool = False) -> Step:
    """The operation ``name`` of ``OPERANDS`` along an axis; all C-contiguous, of a dtype in ``KINDS``, places int32."""
    shape, kind = operands[0].shape, KINDS[np.dtype(dtype)]
    outer, n, inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    module = _code(name, kind)
    nbytes = operands[0].size * np.dtype(dtype).itemsize
    grain = max(1, outer * inner * PIECE_BYTES // nbytes) if nbytes >= 2 * PIECE_BYTES else 0
    args = np.array([*pairs(*operands, out), n, inner, int(reverse)], np.int64)
    return Step(module.address(f"{name}_{kind}"), args, 0, outer * inner, grain, name, module)


@functools.cache
def _code(name: str, kind: str) -> Module:
    from hybridnn.jit import lowlevel, scan_code

    return lowlevel.load(f"{name}_{kind}", scan_code.emit, name, kind, OPERANDS[name], as_written=True)
