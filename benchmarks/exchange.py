"""Arrays to and from another environment's Python, by files: how the oracles are asked. Imports NumPy only."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def python_of(variable, holds):
    """The interpreter that an environment variable names; ends the program with a hint where there is none."""
    python = os.environ.get(variable)
    if not python:
        sys.exit(f"set {variable} to the python of an environment with {holds} (benchmarks/README.md says how to make one)")
    return python


def ask(python, script, arrays, timeout=600):
    """Run ``script IN OUT`` there: it reads ``arrays`` from one npz file and writes its answer to the other."""
    with tempfile.TemporaryDirectory() as folder:
        question, answer = Path(folder, "in.npz"), Path(folder, "out.npz")
        np.savez(question, **arrays)
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        run = subprocess.run([python, str(HERE / script), str(question), str(answer)], env=env, timeout=timeout)
        if run.returncode:
            sys.exit(f"{script} failed in {python}")
        return read(answer)


def read(path):
    with np.load(path) as found:
        return dict(found)


def answer_with(function):
    """What the script on the other side does: ``function(arrays) -> arrays`` between the files on the command line."""
    np.savez(sys.argv[2], **function(read(sys.argv[1])))


def relative_error(a, b):
    """Largest difference over the largest absolute value of ``b`` (at least 1e-3); infinite where shapes or NaNs differ."""
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if a.shape != b.shape or (np.isnan(a) != np.isnan(b)).any():
        return np.inf
    if not b.size:
        return 0.0
    return float(np.nanmax(np.abs(a - b), initial=0) / max(np.nanmax(np.abs(b), initial=0), 1e-3))
