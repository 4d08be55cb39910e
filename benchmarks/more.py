"""Thirty-nine more workloads in hybridnn (eager, traced) and in JAX, in turn, in one run.

usage: [PEERS_PYTHON=/path/to/python] python benchmarks/more.py [workload ...]

Each measurement is a process of its own. A row per workload: median microseconds per call, and the ratios eager / traced and JAX / traced (above 1: traced
is faster). The last line gives geometric means. Without PEERS_PYTHON, an environment with JAX and optax, only hybridnn is measured.
"""

import math
import os
import sys

from compare import Measurement, cells, geometric_mean, measure
from more_ours import BUILDERS


def row(name: str, peers: str | None) -> dict[str, float]:
    eager, traced = (measure(sys.executable, "more_ours.py", mode, name, 300).us for mode in ("eager", "trace"))
    jax = (measure(peers, "more_jax.py", "jax", name, 300) if peers else Measurement()).us
    return {"jax": jax, "eager": eager, "trace": traced, "eager/tr": eager / traced, "jax/tr": jax / traced}


def line(name: str, figures: dict[str, float]) -> str:
    times, ratios = [figures[k] for k in ("jax", "eager", "trace")], [figures[k] for k in ("eager/tr", "jax/tr")]
    return f"{name:21}{cells(times, 11, 1)}{cells(ratios, 10, 2)}"


def main(names: list[str]) -> int:
    print(f"{'workload':21}{'jax':>11}{'eager':>11}{'trace':>11}{'eager/tr':>10}{'jax/tr':>10}")
    rows = {}
    for name in names or BUILDERS:
        rows[name] = row(name, os.environ.get("PEERS_PYTHON"))
        print(line(name, rows[name]), flush=True)
    means = [(ratio, *geometric_mean([r[ratio] for r in rows.values()])) for ratio in ("eager/tr", "jax/tr")]
    print("geometric means: " + ", ".join(f"{ratio} {mean:.2f} ({n} of {len(rows)})" for ratio, mean, n in means))
    return any(math.isnan(r["trace"]) for r in rows.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
