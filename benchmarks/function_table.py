"""The table of all functions, ``docs/functions.md``, from what happens when each is called.

usage: python benchmarks/function_table.py [--check] [function ...]

With names, only those rows are printed. Each function's samples (function_samples.py) run in three precisions, with first and
second gradients against central differences, and traced against eager. ``--check`` writes nothing. The exit status is 1 where a
number disagrees.
"""

import argparse
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from function_samples import SAMPLES

import hybridnn as hnn
import hybridnn.functions as F

PAGE = Path(__file__).parent.parent / "docs" / "functions.md"
PRECISION = {"float64": 0.0, "float32": 1e-4, "float16": 4e-2}
STEP = 1e-5
WARM = 8               # calls after which a path is compiled

HEADER = """# Functions

All {count} public functions, made by `python benchmarks/function_table.py` from calls of each, not by hand.

* **operations**: what a call applies, as declared in `hybridnn/ops` and `hybridnn/functions`.
* **dtypes**: floating-point types in which the samples gave the values of float64 within the type's precision (16, 32, 64).
* **traced**: how a traced call runs once compiled, and the same with its gradient. *fused*: generated kernels only;
  *native*: also matrix products, convolutions or copies in the same native call; *step*: an operation that runs in Python
  between native calls, named in brackets; *no work*: nothing is computed; *eager*: the call is not recorded.
* **double backprop**: whether the second gradient exists and equals central differences in float64 (of the first gradient,
  which is checked as well). *linear*: the second gradient is zero everywhere; *by definition*: part of the function
  counts as constant in the gradient, as its paper says; *no gradient*: results are integers or steps.
* **shapes**: of the operands in the samples.

| function | operations | dtypes | traced | with gradient | double backprop | shapes |
|---|---|---|---|---|---|---|
"""


class OpNames(hnn.FunctionHook):
    """Collects the names of the operations that are applied."""
    name = "operations of a sample"

    def __init__(self):
        self.found = {}

    def forward_preprocess(self, function, in_data):
        self.found[function.op.name if hasattr(function, "op") else function._impl_name] = None


@dataclass(frozen=True)
class Row:
    """One line of the table; ``wrong`` lists what disagreed."""

    name: str
    ops: tuple
    dtypes: tuple
    forward: str
    gradient: str
    double: str
    shapes: tuple
    wrong: tuple

    def __str__(self):
        dtypes = " ".join(d.removeprefix("float") for d in self.dtypes)
        shapes = "; ".join(", ".join(map(shape_text, one)) for one in self.shapes)
        cells = [f"`{self.name}`", ", ".join(self.ops) or "none", dtypes, self.forward, self.gradient, self.double, shapes]
        return f"| {' | '.join(cells)} |"


def shape_text(shape):
    return "x".join(map(str, shape)) or "0-d"


def public_functions():
    """Names in ``hybridnn.functions`` that are functions, not classes."""
    return sorted(name for name in F.__all__ if not isinstance(getattr(F, name), type))


def leaves(y):
    """The Variables in what a function returned, whatever it returned them in."""
    if isinstance(y, (tuple, list)):
        return [leaf for part in y for leaf in leaves(part)]
    return [y] if isinstance(y, hnn.Variable) else []


def run(call, arrays):
    """Arrays of the results, from the same draws every time."""
    np.random.seed(0)
    return [y.array for y in leaves(call(*arrays))]


def variables(arrays):
    return [hnn.Variable(np.asarray(x)) if is_float(x) else x for x in arrays]


def is_float(x):
    return x.dtype.kind == "f"


# --------------------------------------------------------------------------------------------------------------- values, dtypes

def operations(name, sample):
    with OpNames() as hook:
        run(sample.call(name), variables(sample.arrays(name, "float32")))
    return tuple(hook.found)


def close(found, exact, tolerance):
    scale = 1 + np.abs(exact[np.isfinite(exact)]).max(initial=0)
    return found.shape == exact.shape and np.allclose(found, exact, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def agrees(name, sample, dtype):
    exact, found = (run(sample.call(name), sample.arrays(name, d)) for d in ("float64", dtype))
    return len(exact) == len(found) and all(close(f, e, PRECISION[dtype]) for f, e in zip(found, exact))


def dtypes(name):
    return tuple(d for d in PRECISION if all(agrees(name, s, d) for s in SAMPLES[name]))


# -------------------------------------------------------------------------------------------------------------------- gradients

def first_gradient(call, arrays, seeds):
    """(variables, gradients by operand, None where there is none), differentiable again."""
    np.random.seed(0)
    vs = variables(arrays)
    ys = [y for y in leaves(call(*vs)) if is_float(y) and y.requires_grad]
    wanted = [v for v in vs if isinstance(v, hnn.Variable)]
    if not ys or not wanted:
        return vs, [None] * len(vs)
    found = iter(hnn.grad(ys, wanted, [hnn.Variable(s) for s in seeds[:len(ys)]], enable_double_backprop=True))
    return vs, [next(found) if isinstance(v, hnn.Variable) else None for v in vs]


def weights_for(arrays, symmetric=False):
    """A random array for each; symmetric matrices where only those are allowed."""
    rng = np.random.default_rng(len(arrays))
    drawn = [np.asarray(rng.normal(size=x.shape)) for x in arrays]
    return [d + np.swapaxes(d, -1, -2) for d in drawn] if symmetric else drawn


def inner(us, ws):
    return sum(float(np.vdot(u, w)) for u, w in zip(us, ws))


def slope(function, arrays, along):
    """Central difference of a number along a direction."""
    ends = [function([x + sign * STEP * d if d is not None else x for x, d in zip(arrays, along)]) for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * STEP)


def near(a, b, tolerance=2e-5):
    return abs(a - b) <= tolerance * (1 + abs(a) + abs(b))


class Probe:
    """One sample in float64, its outputs' weights and directions for its operands."""

    def __init__(self, name, sample):
        self.call, self.arrays = sample.call(name), sample.arrays(name, "float64")
        self.seeds = weights_for(self._outputs(self.arrays))
        self.variables, self.gradients = first_gradient(self.call, self.arrays, self.seeds)
        self.at = [i for i, g in enumerate(self.gradients) if g is not None]
        drawn = weights_for(self.arrays, sample.symmetric)
        self.along = [d if i in self.at else None for i, d in enumerate(drawn)]
        self.rights = weights_for(self.arrays, sample.symmetric)

    def _outputs(self, arrays):
        """The outputs that have a gradient."""
        np.random.seed(0)
        return [y.array for y in leaves(self.call(*variables(arrays))) if is_float(y) and y.requires_grad]

    def first(self):
        """(analytic, numeric) slope of the weighted outputs along the directions."""
        analytic = inner([self.gradients[i].array for i in self.at], [self.along[i] for i in self.at])
        return analytic, slope(lambda moved: inner(self._outputs(moved), self.seeds), self.arrays, self.along)

    def second(self):
        """The same for the weighted gradients; and whether the second gradients are all zero."""
        gs, rights = [self.gradients[i] for i in self.at], [self.rights[i] for i in self.at]

        def weighted(moved):
            found = first_gradient(self.call, moved, self.seeds)[1]
            return inner([found[i].array for i in self.at], rights)
        numeric = slope(weighted, self.arrays, self.along)
        second = hnn.grad(gs, [self.variables[i] for i in self.at], [hnn.Variable(w) for w in rights])
        pairs = [(g.array, self.along[i]) for i, g in zip(self.at, second) if g is not None]
        return inner(*zip(*pairs)) if pairs else 0.0, numeric, not any(g.any() for g, _ in pairs)


def double_backprop(name, sample):
    """(what the table says, list of disagreements) for one sample."""
    probe = Probe(name, sample)
    if not probe.at:
        return "no gradient", []
    if sample.stops:
        return "by definition" if probe.second()[0] else "missing", []
    wrong = [] if near(*(ends := probe.first())) else [f"first gradient: {ends[0]}, numerically {ends[1]}"]
    analytic, numeric, zero = probe.second()
    if near(analytic, numeric, 2e-4):
        return "linear" if zero else "yes", wrong
    return "no", [*wrong, f"second gradient: {analytic}, numerically {numeric}"]


# ---------------------------------------------------------------------------------------------------------------------- traced

def kind_of(steps):
    """``fused``, ``native`` or ``step (ops)`` from the records of an executable's steps."""
    python = list(dict.fromkeys(op for s in steps if s.kind == "python" for op in s.ops or (s.name,)))
    if python:
        return f"step ({', '.join(python)})"
    return "no work" if not steps else "fused" if all(s.kind == "kernel" for s in steps) else "native"


def traced(function, arrays):
    """(kind, whether the traced call gives what the eager call gives)."""
    expected = run(function, variables(arrays))
    call = hnn.trace(function)
    for _ in range(WARM):
        found = run(call, variables(arrays))
    same = len(found) == len(expected) and all(f.dtype == e.dtype and close(f, e, 1e-5) for f, e in zip(found, expected))
    report = call.explain()
    if not report.paths:
        return "eager", same
    return kind_of([s for segment in report.paths[-1].segments for s in segment]), same


def with_gradient(call):
    """A function of the same operands: results and gradients of their sum."""
    def value_and_gradient(*operands):
        ys = leaves(call(*operands))
        wanted = [v for v in operands if isinstance(v, hnn.Variable)]
        total = sum(F.sum(y) for y in ys if is_float(y))
        return [*ys, *[g for g in hnn.grad([total], wanted) if g is not None]]
    return value_and_gradient


# ------------------------------------------------------------------------------------------------------------------------ page

def row(name):
    main = SAMPLES[name][0]
    seconds = [double_backprop(name, s) for s in SAMPLES[name]]
    double = next((kind for kind, _ in seconds if kind not in ("linear", "no gradient")), seconds[0][0])
    arrays = main.arrays(name, "float32")
    forward, same = traced(main.call(name), arrays)
    gradient, also = ("", True) if double == "no gradient" else traced(with_gradient(main.call(name)), arrays)
    wrong = [*[w for _, found in seconds for w in found], *([] if same and also else ["traced differs from eager"])]
    ops = tuple(dict.fromkeys(op for s in SAMPLES[name] for op in operations(name, s)))
    return Row(name, ops, dtypes(name), forward, gradient, double, tuple(s.shapes for s in SAMPLES[name]), tuple(wrong))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("functions", nargs="*")
    parser.add_argument("--check", action="store_true", help="write nothing")
    given = parser.parse_args()
    if unknown := sorted(set(given.functions) - set(public_functions())):
        parser.error(f"no function {', '.join(unknown)}")
    return given


def main():
    given = arguments()
    warnings.simplefilter("ignore", DeprecationWarning)      # functions that Chainer had deprecated are in the table, too
    rows = []
    with hnn.using_config("trace_compile", "sync"):
        for name in given.functions or public_functions():
            rows.append(row(name))
            print(rows[-1], *[f"WRONG: {w}" for w in rows[-1].wrong], flush=True)
    if not given.functions and not given.check:
        PAGE.write_text(HEADER.format(count=len(rows)) + "".join(f"{r}\n" for r in rows), encoding="utf-8")
    return any(r.wrong for r in rows)


if __name__ == "__main__":
    sys.exit(main())
