"""``PrintHook``: what goes into each operation."""
import sys

import numpy as np

from hybridnn.backend import get_array_module
from hybridnn.function_hook import FunctionHook

__all__ = ["PrintHook"]


class PrintHook(FunctionHook):
    """Prints name and inputs of every operation inside its ``with`` block (backward: output gradients too), for looking for
    NaNs and the like.

    Args:
        sep: accepted for Chainer's signature, not used.
        end: end of each line.
        file: where to; None: standard output.
        flush: whether to flush after each operation.
    """
    name = "PrintHook"

    def __init__(self, sep=None, end="\n", file=None, flush=True):
        self.sep, self.end, self.file, self.flush = sep, end, file, flush

    def forward_preprocess(self, function, in_data):
        self._print(function, {"input data": in_data})

    def backward_preprocess(self, function, in_data, out_grad):
        self._print(function, {"input data": in_data, "output gradient": out_grad})

    def _print(self, function, parts):
        file = sys.stdout if self.file is None else self.file
        lines = [f"function\t{function.label}"]
        for title, arrays in parts.items():
            lines += [title, *map(_describe, arrays)]
        file.write("".join(line + self.end for line in lines))
        if self.flush and hasattr(file, "flush"):
            file.flush()


def _describe(x):
    """An operand in one line: shape, dtype, mean, deviation, how many NaNs and infinities."""
    if x is None:
        return "(removed)"
    if not hasattr(x, "dtype"):
        return repr(x)
    text = f"{type(x).__name__} shape={x.shape} dtype={x.dtype}"
    if x.size == 0 or x.dtype.kind not in "biuf":
        return text
    wide = x.astype(np.float64)
    broken = int((~get_array_module(x).isfinite(wide)).sum())
    if broken:
        return f"{text} not finite: {broken} of {x.size}"
    return f"{text} mean={float(wide.mean()):.6g} std={float(wide.std()):.6g}"
