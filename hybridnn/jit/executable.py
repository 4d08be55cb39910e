"""``Executable``: what ``jit.compile`` returns. Native segments and Python steps over one arena, safe to call from several threads."""
from dataclasses import dataclass

import numpy as np

from hybridnn.graph import run

__all__ = ["Executable", "StepRecord"]


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step, as ``explain()`` shows it.

    Attributes:
        kind: "kernel", "gemm", "copy", "python", ...
        name: the kernel's or the operation's name.
        ops: names of the operations it does.
        lines: the users' lines they come from.
        bytes: memory read and written, at the least.
        reason: for a Python step, why it is one.
    """
    kind: str
    name: str
    ops: tuple = ()
    lines: tuple = ()
    bytes: int = 0
    reason: str = ""


class Executable:
    """A compiled graph. ``exe(arrays)`` returns fresh output arrays and performs ``graph.writes`` in the given arrays."""

    def __init__(self, graph):
        self.graph = graph
        self.steps = tuple([StepRecord("python", n.op.name, (n.op.name,), (n.line,), 0, "not compiled") for n in graph.nodes])
        self.arena_bytes = self.arena_lower_bound = self.kernels_compiled = 0
        self.compile_seconds = 0.0
        self.sources = ()
        self.output_specs = tuple([graph.specs[v] for v in graph.outputs])

    def __call__(self, arrays):
        """``arrays`` are aligned to ``graph.inputs``: C-contiguous aligned ndarrays, Python numbers where the spec is weak."""
        return run(self.graph, arrays)

    def run_into(self, arrays, outputs):
        """Like a call, but into ``outputs``: C-contiguous arrays of ``output_specs`` that share no memory with anything else."""
        for y, value in zip(outputs, run(self.graph, arrays), strict=True):
            np.copyto(y, value)
