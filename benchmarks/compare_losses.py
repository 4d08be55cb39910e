"""The ten workloads over 20 steps: hybridnn eager, hybridnn traced, and PyTorch from the same parameters on the same data.

usage: PEERS_PYTHON=/path/to/python python benchmarks/compare_losses.py [workload ...]

Prints, in float64 and float32, the loss (for the two chains: the mean of the result) at the first and the last step, and the largest
differences to eager, as a share of the largest loss; the exit status is 1 where one exceeds its tolerance. In float32 some of these
trainings multiply rounding errors by ten at every step, so the strict comparison is the one in float64. Without PEERS_PYTHON only
eager and traced are compared.

Made equal where the defaults differ: the eps of normalisations (1e-5), that of Adam (Chainer adds it before the correction of the
second moment, PyTorch behind it: it is negligible here), and PyTorch's second bias of an LSTM cell, which stays zero.
"""

import inspect
import os
import sys

import numpy as np
from common import names_from, reseed
from exchange import ask
from ours import builders

import hybridnn as hnn

STEPS = 20
TOLERANCE = {"float64": 1e-8, "float32": 5e-3}
NORMALIZATION_EPS, ADAM_EPS = 1e-5, 1e-30
WORDS = ("W", "gamma", "b", "beta")              # PyTorch's order: weight, bias
BLOCK = ("norm1", "norm2", "qkv", "out", "up", "down")


def numbers(call):
    """One number per step."""
    return np.array([np.mean(getattr(y, "array", y), dtype="float64") for y in (call() for _ in range(STEPS))])


def ours(name, dtype, trace):
    """(numbers, initial parameters by path) of a workload."""
    reseed(dtype=dtype)
    initial = {}

    def keep(step):
        """Between the builder and ``trace``: the step's own variables hold the model and the optimizer."""
        held = inspect.getclosurevars(step).nonlocals
        if "model" in held:
            equalize(held["model"], held["optimizer"])
            initial.update({path: p.array.copy() for path, p in named_params(held["model"])})
        return trace(step)
    with hnn.using_config("dtype", np.dtype(dtype)):
        return numbers(builders(keep)[name]()), initial


def named_params(model):
    """(path, parameter); a ``Sequential``'s layers are numbered in the order of their calls, not as Chainer numbers them."""
    if not isinstance(model, hnn.Sequential):
        return list(model.namedparams())
    links = [layer for layer in model if isinstance(layer, hnn.Link)]
    return [(f"/{k}{path}", p) for k, link in enumerate(links) for path, p in link.namedparams()]


def equalize(model, optimizer):
    for link in model.links():
        if hasattr(link, "eps"):
            link.eps = NORMALIZATION_EPS
    if hasattr(optimizer, "eps"):
        optimizer.eps = ADAM_EPS


def in_torchs_order(name, held):
    """The parameters as ``module.parameters()`` lists them."""
    if name == "lstm":
        return [held["/embed/W"], *cell(held), held["/out/W"], held["/out/b"]]
    layers = BLOCK if name == "block" else sorted({path.split("/")[1] for path in held}, key=int)
    return [held[f"/{layer}/{word}"] for layer in layers for word in WORDS if f"/{layer}/{word}" in held]


def cell(held):
    """hybridnn's rows are a, i, f, o of each unit in turn; PyTorch's i, f, a, o, each for all units; it has a second bias."""
    w, u, b = (np.concatenate([held[f"/cell/{path}"][k::4] for k in (1, 2, 0, 3)]) for path in ("upward/W", "lateral/W", "upward/b"))
    return w, u, b, np.zeros_like(b)


def difference(a, b):
    return float(np.max(np.abs(a - b)) / np.max(np.abs(b)))


def compare(names, dtype, python):
    """Print a table; gives the number of workloads that are off."""
    eager = {name: ours(name, dtype, lambda f: f) for name in names}
    with hnn.using_config("trace_compile", "sync"):
        found = {"traced": {name: ours(name, dtype, hnn.trace)[0] for name in names}}
    if python:
        held = {f"{n}|{i}": p for n in names for i, p in enumerate(in_torchs_order(n, eager[n][1]))}
        asked = {"names": np.array(names), "steps": np.array(STEPS), "dtype": np.array(dtype), "eps": np.array(ADAM_EPS)}
        found["torch"] = ask(python, "torch_losses.py", held | asked)
    print(f"{dtype:12}{'first':>14}{'last':>14}" + "".join(f"{rival:>10}" for rival in found))
    return sum([print_row(name, eager[name][0], found, TOLERANCE[dtype]) for name in names])


def print_row(name, values, found, tolerance):
    off = {rival: difference(rows[name], values) for rival, rows in found.items()}
    over = [rival for rival, d in off.items() if not d <= tolerance]
    print(f"{name:12}{values[0]:14.8f}{values[-1]:14.8f}" + "".join(f"{d:10.1e}" for d in off.values()), *over)
    return bool(over)


def main():
    names, python = names_from(sys.argv[1:]), os.environ.get("PEERS_PYTHON")
    return sum([compare(names, dtype, python) for dtype in TOLERANCE]) > 0


if __name__ == "__main__":
    sys.exit(main())
