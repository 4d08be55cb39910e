"""Ten workloads in hybridnn (eager, traced) and in what a user would pick instead, in turn, in one run.

usage: [PEERS_PYTHON=/path/to/python] python benchmarks/compare.py [--json FILE] [workload ...]

Each measurement is a process of its own. A row per workload: median microseconds per call of each framework, the goal for
traced, and the ratios eager / traced, goal / traced and best peer / traced (above 1: traced is faster); then the seconds that the
first traced calls took beyond the steady state, mostly compilation. The last line gives geometric means. PEERS_PYTHON names an
environment with PyTorch, JAX and optax; without it only hybridnn is measured.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from common import GOALS, WORKLOADS

HERE = Path(__file__).parent
PEERS = {"torch": "peers_torch.py", "torchc": "peers_torch.py", "jax": "peers_jax.py"}
OURS = {"eager": "ours.py", "trace": "ours.py"}
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


@dataclass(frozen=True)
class Measurement:
    us: float = math.nan
    warm_up_s: float = math.nan


def environment() -> dict[str, str]:
    """hybridnn from this checkout; no override of the BLAS kernels."""
    env = {name: value for name, value in os.environ.items() if name not in UNSET}
    return env | {"PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))}


def measure(python: str, script: str, framework: str, workload: str, timeout: float) -> Measurement:
    command = [python, str(HERE / script), framework, workload]
    try:
        run = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=timeout)
    except subprocess.TimeoutExpired:
        print(f"{framework} {workload}: no result within {timeout:.0f} s", file=sys.stderr)
        return Measurement()
    for line in run.stdout.splitlines():
        words = line.split()
        if words[:2] == [framework, workload] and words[2] != "FAILED":
            return Measurement(float(words[2]), float(words[3]))
    print(f"{framework} {workload}: {(run.stdout + run.stderr).strip()[-300:]}", file=sys.stderr)
    return Measurement()


def best_peer(row: dict[str, Measurement]) -> float:
    return min((row[f].us for f in PEERS if f in row and not math.isnan(row[f].us)), default=math.nan)


def ratios(workload: str, row: dict[str, Measurement]) -> dict[str, float]:
    rivals = {"eager/tr": row["eager"].us, "goal/tr": GOALS[workload], "peer/tr": best_peer(row)}
    return {name: us / row["trace"].us for name, us in rivals.items()}


def geometric_mean(values) -> tuple[float, int]:
    """Mean over the values that exist, and their number."""
    logs = [math.log(v) for v in values if not math.isnan(v)]
    return (math.exp(sum(logs) / len(logs)) if logs else math.nan), len(logs)


def cells(values, width: int, digits: int) -> str:
    return "".join(f"{'-':>{width}}" if math.isnan(v) else f"{v:{width}.{digits}f}" for v in values)


def header(frameworks) -> str:
    names = "".join(f"{name:>11}" for name in [*frameworks, "goal"])
    return f"{'workload':11}{names}{'eager/tr':>9}{'goal/tr':>9}{'peer/tr':>9}{'warm-up s':>11}"


def line(workload: str, row: dict[str, Measurement]) -> str:
    times = cells([m.us for m in row.values()] + [float(GOALS[workload])], 11, 1)
    return f"{workload:11}{times}{cells(ratios(workload, row).values(), 9, 3)}{cells([row['trace'].warm_up_s], 11, 2)}"


def summary(table: dict[str, dict[str, Measurement]]) -> str:
    rows = [ratios(workload, row) for workload, row in table.items()]
    means = {name: geometric_mean(row[name] for row in rows) for name in rows[0]}
    return "geometric means: " + ", ".join(f"{name} {mean:.2f} ({n} of {len(rows)})" for name, (mean, n) in means.items())


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="workload", help=f"of {', '.join(WORKLOADS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the measurements there")
    parser.add_argument("--timeout", type=float, default=600, metavar="S", help="seconds for one measurement (default 600)")
    given = parser.parse_args()
    if unknown := sorted(set(given.workloads) - set(WORKLOADS)):
        parser.error(f"no workload {', '.join(unknown)}")
    return given


def main():
    given = arguments()
    peers_python = os.environ.get("PEERS_PYTHON")
    scripts = {name: (peers_python, script) for name, script in PEERS.items() if peers_python}
    scripts |= {name: (sys.executable, script) for name, script in OURS.items()}
    print(header(scripts), flush=True)
    table = {}
    for workload in given.workloads or WORKLOADS:
        table[workload] = {name: measure(*scripts[name], name, workload, given.timeout) for name in scripts}
        print(line(workload, table[workload]), flush=True)
    print(summary(table))
    if given.json:
        given.json.write_text(json.dumps({w: {f: asdict(m) for f, m in row.items()} for w, row in table.items()}, indent=1))
    return any(math.isnan(m.us) for row in table.values() for m in row.values())


if __name__ == "__main__":
    sys.exit(main())
