"""What a small operation costs in eager execution, with the graph kept: forward, and forward with backward.

Medians, on one thread. PEERS_PYTHON names an environment with PyTorch.

usage: [PEERS_PYTHON=/path/to/python] python benchmarks/eager_overhead.py
"""

import os

THREADS = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
os.environ.update(THREADS)      # read when the libraries load, so before the imports below

import subprocess  # noqa: E402
import sys  # noqa: E402

import numpy as np  # noqa: E402
from common import interleaved  # noqa: E402

GOALS = {"x + x, forward": 1.5, "x + x, forward and backward": 6.0, "sum(linear(x)), forward and backward": 20.0}


def with_backward(forward, leaves, clear):
    def both():
        forward().backward()
        clear(leaves)
    return both


def clear(leaves):
    for leaf in leaves:
        leaf.grad = None


def calls(x, add, linear_sum, leaves):
    """The same four calls, whatever the framework."""
    return {
        "x + x, forward": add,
        "x + x, forward and backward": with_backward(add, [x], clear),
        "sum(linear(x)), forward": linear_sum,
        "sum(linear(x)), forward and backward": with_backward(linear_sum, leaves, clear),
    }


def hybridnn_calls():
    import hybridnn as hnn
    import hybridnn.functions as F
    x = hnn.Variable(np.ones((), "f"))
    h, w, b = (hnn.Variable(np.ones(shape, "f")) for shape in ((8, 16), (4, 16), (4,)))
    return calls(x, lambda: x + x, lambda: F.sum(F.linear(h, w, b)), [h, w, b])


def torch_calls():
    import torch
    torch.set_num_threads(1)
    x = torch.ones((), requires_grad=True)
    h, w, b = (torch.ones(shape, requires_grad=True) for shape in ((8, 16), (4, 16), (4,)))
    return calls(x, lambda: x + x, lambda: torch.nn.functional.linear(h, w, b).sum(), [h, w, b])


def torch_times(python: str) -> dict[str, float]:
    """Measured by this script in the other environment."""
    out = subprocess.run([python, __file__, "--torch"], capture_output=True, text=True, check=True).stdout
    return {name: float(us) for name, us in (line.rsplit(" ", 1) for line in out.splitlines())}


def show(ours: dict[str, float], theirs: dict[str, float]):
    print(f"{'us per call, one thread, median':40}{'hybridnn':>10}{'goal':>8}{'torch':>8}{'ratio':>8}")
    for name, us in ours.items():
        goal, torch = (f"{table[name]:.1f}" if name in table else "-" for table in (GOALS, theirs))
        ratio = f"{us / theirs[name]:.2f}" if name in theirs else "-"
        print(f"{name:40}{us:10.2f}{goal:>8}{torch:>8}{ratio:>8}")


def main():
    if sys.argv[1:] == ["--torch"]:
        for name, us in interleaved(torch_calls()).items():
            print(name, f"{us:.3f}")
        return
    peers = os.environ.get("PEERS_PYTHON")
    show(interleaved(hybridnn_calls()), torch_times(peers) if peers else {})


if __name__ == "__main__":
    main()
