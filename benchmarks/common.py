"""Sizes, data and timing that all frameworks share. Imports NumPy only, so that it runs in every environment."""

import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np

# Goal for the traced call: microseconds on two idle cores of the machine that the design was measured on.
GOALS = {"chain": 240, "chain_grad": 510, "mlp_tiny": 6, "mlp_small": 35, "mlp_mnist": 2600, "lngelu": 3800,
         "lstm": 10000, "cnn": 8500, "block": 2200, "pinn": 120}
WORKLOADS = tuple(GOALS)

WARM_UP = 10      # calls after which every framework has compiled what it will

CHAIN = 1_000_000
MLPS = {"mlp_tiny": ((4, 64, 64, 2), 1), "mlp_small": ((64, 128, 128, 10), 32), "mlp_mnist": ((784, 1000, 1000, 10), 100)}
LNGELU = {"batch": 512, "width": 256}
LSTM = {"steps": 35, "batch": 20, "hidden": 200, "vocabulary": 1000}
CNN = {"batch": 32, "size": 32, "channels": (3, 32, 32, 64), "classes": 10}
BLOCK = {"batch": 8, "steps": 64, "width": 128, "heads": 4}
PINN = {"widths": (2, 20, 20, 20, 1), "batch": 256}

_rng, _dtype = np.random.default_rng(0), "float32"


def reseed(seed: int = 0, dtype: str = "float32") -> None:
    """Start the draws of data (of this dtype) and of initial parameters anew."""
    global _rng, _dtype
    _rng, _dtype = np.random.default_rng(seed), dtype
    np.random.seed(seed)


def normal(*shape: int) -> np.ndarray:
    return (_rng.standard_normal(shape) * 0.1).astype(_dtype)


def labels(high: int, *shape: int) -> np.ndarray:
    return _rng.integers(0, high, shape)


def pairs(widths: tuple[int, ...]):
    """(in, out) of each layer."""
    return list(pairwise(widths))


def seconds(call: Callable, n: int) -> float:
    start = time.perf_counter()
    for _ in range(n):
        call()
    return time.perf_counter() - start


def repetitions(call: Callable, at_least: float) -> int:
    """How many calls take ``at_least`` seconds; at most about 10000."""
    n = 1
    while seconds(call, n) < at_least and n < 8000:
        n *= 2
    return n


def median(values) -> float:
    return float(np.median(list(values)))


def microseconds(call: Callable, budget: float = 1.0, rounds: int = 7) -> float:
    """Median time of a call over some rounds that together take about ``budget`` seconds."""
    seconds(call, 3)
    n = repetitions(call, budget / rounds / 2)
    return median(seconds(call, n) / n for _ in range(rounds)) * 1e6


def interleaved(calls: dict[str, Callable], budget: float = 1.0, rounds: int = 15) -> dict[str, float]:
    """Median microseconds of each call, timed in turn, so that a noisy moment hits all of them."""
    for call in calls.values():
        seconds(call, 10)
    counts = {name: repetitions(call, budget / rounds) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, counts[name]) / counts[name])
    return {name: median(values) * 1e6 for name, values in times.items()}


def report(framework: str, builders: dict[str, Callable[[], Callable]], names: list[str]) -> int:
    """Build, call and time each workload; gives the number of failures.

    Prints a line each: framework, workload, median us per call, and the seconds that the first calls took beyond that.
    """
    failures = 0
    for name in names:
        try:
            call = builders[name]()
            start = seconds(call, WARM_UP)
            us = microseconds(call)
            print(f"{framework} {name} {us:.2f} {max(start - WARM_UP * us * 1e-6, 0):.3f}", flush=True)
        except Exception as error:
            failures += 1
            print(f"{framework} {name} FAILED {type(error).__name__}: {' '.join(str(error).split())[:150]}", flush=True)
    return failures


def names_from(arguments: list[str]) -> list[str]:
    """The workloads named on the command line, else all."""
    unknown = sorted(set(arguments) - set(WORKLOADS))
    if unknown:
        sys.exit(f"no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return arguments or list(WORKLOADS)
