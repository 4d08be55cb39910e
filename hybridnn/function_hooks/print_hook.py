"""``PrintHook``: what goes into each operation."""
import sys

from hybridnn.backend import get_array_module
from hybridnn.core.variable import Variable
from hybridnn.function_hook import FunctionHook

__all__ = ["PrintHook"]


class PrintHook(FunctionHook):
    """Prints name and inputs of every operation inside its ``with`` block (backward: output gradients too) as ``Variable.debug_print`` shows them, for
    looking for NaNs and the like: a line counts the values that are not finite.

    Args:
        sep: accepted for Chainer's signature, not used.
        end: end of each operand, title and name.
        file: where to; None: standard output.
        flush: whether to flush after each operation.
    """
    name = "PrintHook"

    def __init__(self, sep=None, end="\n", file=None, flush=True):
        self.sep, self.end, self.file, self.flush = sep, end, file, flush

    def forward_preprocess(self, function, in_data):
        self._print(function, {"input data": map(_describe, in_data)})

    def backward_preprocess(self, function, in_data, out_grad):
        self._print(function, {"input data": map(_describe, in_data), "output gradient": map(_describe_gradient, out_grad)})

    def _print(self, function, parts):
        file = sys.stdout if self.file is None else self.file
        lines = [f"function\t{function.label}"]
        for title, texts in parts.items():
            lines += [title, *texts]
        file.write("".join([line + self.end for line in lines]))
        if self.flush and hasattr(file, "flush"):
            file.flush()


def _describe(x):
    """An operand as a Variable's text; "(removed)" where the operation did not keep it."""
    if x is None:
        return "(removed)"
    return "\n".join([Variable(x).debug_print(), *_not_finite(x)])


def _describe_gradient(g):
    """The gradient of an output, as that of a Variable of zeros."""
    if g is None:
        return Variable().debug_print()
    y = Variable(get_array_module(g).zeros_like(g))
    y.grad = g
    return "\n".join([y.debug_print(), *_not_finite(g)])


def _not_finite(x):
    """A line that counts NaNs and infinities, or none."""
    broken = int((~get_array_module(x).isfinite(x)).sum()) if x.dtype.kind in "fc" else 0
    return [f"- not finite: {broken} of {x.size}"] if broken else []
