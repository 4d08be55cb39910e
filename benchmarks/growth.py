"""How the cost of a training step grows with batch, width, depth and unrolled steps, eager and traced: ``docs/growth.md``.

usage: python benchmarks/growth.py [--quick] [--again] [--memory] [--plot-only] [sweep ...]

Time: median over rounds in which eager and traced take turns. Memory: what a step allocates at its peak beyond what it started with, parameters,
optimizer state and the gradients of the step before (tracemalloc); for traced, memory that it otherwise keeps from call to call is let go of
before, so that it counts. Every point is written to ``docs/growth.json`` at once; a run that was interrupted goes on there, and ``--again`` or other
conditions start anew. ``--memory`` measures the memory of the points that are there anew, which other programs on the machine do not disturb. Needs
matplotlib.
"""

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from common import median, seconds
from ours import training_step

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

DOCS = Path(__file__).parent.parent / "docs"
WARM = 8       # calls after which a path is hot
INPUTS, CLASSES = 64, 10


@dataclass(frozen=True)
class Sweep:
    """``values`` of one size; ``setting`` names the others."""

    what: str
    setting: str
    values: tuple
    quick: tuple


SWEEPS = {
    "batch": Sweep("batch size", "3 layers of 128 units", (1, 4, 16, 64, 256, 1024, 4096), (1, 16, 256)),
    "width": Sweep("units per layer", "3 layers, batch 32", (32, 64, 128, 256, 512, 1024, 2048, 4096), (32, 128, 512)),
    "depth": Sweep("layers", "128 units, batch 32", (1, 2, 4, 8, 16, 32, 64), (1, 8, 32)),
    "steps": Sweep("unrolled steps", "LSTM of 64 units, batch 16", (1, 3, 10, 30, 100, 300, 1000), (1, 10, 50)),
}


@dataclass(frozen=True)
class Point:
    """Microseconds and bytes of a step; ``first_s``: the traced calls until the path was hot; ``compiled``: kernels compiled."""

    eager_us: float
    traced_us: float
    eager_bytes: int
    traced_bytes: int
    first_s: float
    compiled: int


# ------------------------------------------------------------------------------------------------------------------ workloads

def perceptron(trace, batch=32, width=128, depth=3):
    """A training step of a multilayer perceptron; the traced function and a call of it."""
    rng = np.random.default_rng(0)
    np.random.seed(0)
    net = hnn.Sequential(*[layer for a, b in pairwise([INPUTS] + [width] * depth) for layer in (L.Linear(a, b), F.relu)],
                         L.Linear(width, CLASSES))
    x, t = rng.normal(size=(batch, INPUTS)).astype("f"), rng.integers(0, CLASSES, batch).astype("i")
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net(x), t), hnn.optimizers.SGD(1e-3), trace)
    return step, lambda: step(x, t)


class Unrolled(hnn.Chain):
    """An LSTM cell in a Python loop, and a layer at the end."""

    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.cell, self.out = L.StatelessLSTM(units, units), L.Linear(units, CLASSES)

    def forward(self, xs, t):
        c = h = None
        for x in xs:
            c, h = self.cell(c, h, x)
        return F.softmax_cross_entropy(self.out(h), t)


def recurrent(trace, steps=10, units=64, batch=16):
    rng = np.random.default_rng(0)
    np.random.seed(0)
    net = Unrolled(units)
    xs, t = rng.normal(size=(steps, batch, units)).astype("f"), rng.integers(0, CLASSES, batch).astype("i")
    step = training_step(net, net, hnn.optimizers.SGD(1e-3), trace)
    return step, lambda: step(xs, t)


def workload(sweep, value, trace):
    return recurrent(trace, steps=value) if sweep == "steps" else perceptron(trace, **{sweep: value})


# ---------------------------------------------------------------------------------------------------------------- measurements

def repetitions(call, at_least):
    """How many calls take ``at_least`` seconds, from the faster of two."""
    once = max(min(seconds(call, 1), seconds(call, 1)), 1e-7)
    return max(1, int(at_least / once))


def in_turn(calls, rounds, at_least):
    """Median microseconds of each call."""
    counts = [repetitions(call, at_least) for call in calls]
    times = [[seconds(call, n) / n for call, n in zip(calls, counts)] for _ in range(rounds)]
    return [median(column) * 1e6 for column in zip(*times)]


def peak_bytes(call, step):
    """The most that a call of a step holds beyond what was held before."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        for segment in step._memory.segments if hasattr(step, "_memory") else ():
            segment.executable.release()
        gc.collect()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def measure(sweep, value, quick):
    plain, eager = workload(sweep, value, lambda f: f)
    step, traced = workload(sweep, value, hnn.trace)
    start = time.perf_counter()
    seconds(traced, WARM)
    first, compiled = time.perf_counter() - start, step.stats.kernels
    eager()
    us = in_turn([eager, traced], *((5, 0.01) if quick else (15, 0.05)))
    return Point(*us, peak_bytes(eager, plain), peak_bytes(traced, step), first, compiled)


def measure_memory(path):
    """The memory of all points anew."""
    held = json.loads(path.read_text())
    for key, point in held["points"].items():
        sweep, value = key.split()
        plain, eager = workload(sweep, int(value), lambda f: f)
        step, traced = workload(sweep, int(value), hnn.trace)
        seconds(eager, 2)
        seconds(traced, WARM)
        point.update(eager_bytes=peak_bytes(eager, plain), traced_bytes=peak_bytes(traced, step))
        path.write_text(json.dumps(held, indent=1) + "\n")
        print(f"{key:12} eager {point['eager_bytes'] / 1e6:9.3f} MB, traced {point['traced_bytes'] / 1e6:9.3f} MB", flush=True)


def conditions(quick):
    """What a number depends on; numbers of other conditions are not mixed."""
    return {"python": platform.python_version(), "numpy": np.__version__, "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)),
            "rounds": 5 if quick else 15, "sizes": "few" if quick else "all"}


def cpu_name():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def load(path, wanted):
    """The points so far, if they were measured under the same conditions."""
    if not path.exists():
        return {}
    held = json.loads(path.read_text())
    return held["points"] if held["conditions"] == wanted else {}


def run(names, given, path):
    wanted = conditions(given.quick)
    points = {} if given.again else load(path, wanted)
    for name in names:
        for value in SWEEPS[name].quick if given.quick else SWEEPS[name].values:
            if f"{name} {value}" in points:
                continue
            point = points[f"{name} {value}"] = asdict(measure(name, value, given.quick))
            path.write_text(json.dumps({"conditions": wanted, "points": points}, indent=1) + "\n")
            print(f"{name:6}{value:6} eager {point['eager_us']:12.1f} us {point['eager_bytes'] / 1e6:9.2f} MB, traced "
                  f"{point['traced_us']:12.1f} us {point['traced_bytes'] / 1e6:9.2f} MB, first calls {point['first_s']:7.2f} s", flush=True)


# ------------------------------------------------------------------------------------------------------------------------ page

def column(points, name):
    """(value, Point) of a sweep, by value."""
    found = [(int(key.split()[1]), Point(**p)) for key, p in points.items() if key.split()[0] == name]
    return sorted(found, key=lambda pair: pair[0])


COLOURS = {"eager": "#b4541a", "traced": "#1f5fa8"}
MARKS = {"eager": "o", "traced": "s"}


def plot(points, path):
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    plt.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False,
                         "axes.spines.right": False, "axes.grid": True, "grid.color": "#e4e4e4", "axes.axisbelow": True})
    figure, axes = plt.subplots(2, len(SWEEPS), figsize=(13, 5.6), sharex="col", sharey="row", layout="constrained")
    for (name, sweep), (upper, lower) in zip(SWEEPS.items(), axes.T):
        draw(upper, column(points, name), "us", 1e-3)
        draw(lower, column(points, name), "bytes", 1e-6)
        upper.set_title(f"{sweep.what}\n{sweep.setting}", fontsize=9)
        lower.set_xlabel(sweep.what)
    axes[0, 0].set_ylabel("ms per training step")
    axes[1, 0].set_ylabel("peak MB per training step")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)


def draw(axis, rows, unit, scale):
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for kind, colour in COLOURS.items():
        axis.plot([v for v, _ in rows], [getattr(p, f"{kind}_{unit}") * scale for _, p in rows], color=colour, marker=MARKS[kind],
                  markersize=4, linewidth=1.5, label=kind)


PAGE = """# How cost grows

One training step (forward, backward, SGD update) in float32 against its size, eager and traced; both axes are logarithmic.

![Time and memory of a training step against batch size, width, depth and unrolled steps](growth.svg)

Measured with {conditions}. Time is the median over rounds in which eager and traced took turns; memory is the peak of what one step
allocates beyond what it started with: parameters and the gradients of the step before. Memory that the traced step otherwise keeps from call to call counts
in it. The cache of kernels was empty when the run began; sizes after the first
need few kernels or none of their own. Over 1000 steps the gradient of the first half vanishes: it becomes subnormal numbers, which CPUs
multiply a hundred times more slowly, eager and traced. The numbers are in [growth.json](growth.json); the page
and the plot come from `python benchmarks/growth.py{option}`{caution}.
"""

SECTION = """
## {what} ({setting})

| {what} | eager ms | traced ms | ratio | eager MB | traced MB | first traced calls s | kernels compiled |
|---|---|---|---|---|---|---|---|
{rows}
"""


def table_row(value, p):
    return (f"| {value} | {p.eager_us / 1e3:.3f} | {p.traced_us / 1e3:.3f} | {p.eager_us / p.traced_us:.2f} | {p.eager_bytes / 1e6:.3f} | "
            f"{p.traced_bytes / 1e6:.3f} | {p.first_s:.2f} | {p.compiled} |")


def page(held):
    facts = held["conditions"]
    text = f"Python {facts['python']}, NumPy {facts['numpy']}, {facts['cores']} cores of {facts['cpu']}, {facts['rounds']} rounds"
    quick = facts["sizes"] == "few"
    parts = [PAGE.format(conditions=text, option=" --quick" if quick else "",
                         caution=", a short run: read the shapes, not the digits" if quick else "")]
    for name, sweep in SWEEPS.items():
        rows = "\n".join(table_row(v, p) for v, p in column(held["points"], name))
        parts.append(SECTION.format(what=sweep.what, setting=sweep.setting, rows=rows))
    return "".join(parts)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweeps", nargs="*", metavar="sweep", help=f"of {', '.join(SWEEPS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="three sizes and five rounds each")
    parser.add_argument("--again", action="store_true", help="measure anew what was measured")
    parser.add_argument("--memory", action="store_true", help="measure only the memory anew")
    parser.add_argument("--plot-only", action="store_true", help="measure nothing, draw what the JSON file holds")
    parser.add_argument("--out", type=Path, default=DOCS, metavar="FOLDER", help="where growth.json, .svg and .md go (default: docs)")
    given = parser.parse_args()
    if unknown := sorted(set(given.sweeps) - set(SWEEPS)):
        parser.error(f"no sweep {', '.join(unknown)}")
    return given


def main():
    given = arguments()
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        sys.exit("benchmarks/growth.py draws with matplotlib: pip install -e '.[demo]'")
    path = given.out / "growth.json"
    if not given.plot_only:
        with hnn.using_config("trace_compile", "sync"), tempfile.TemporaryDirectory() as empty:
            os.environ["HYBRIDNN_CACHE"] = empty
            measure_memory(path) if given.memory else run(given.sweeps or list(SWEEPS), given, path)
    held = json.loads(path.read_text())
    plot(held["points"], given.out / "growth.svg")
    (given.out / "growth.md").write_text(page(held), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
