"""Chainer 7.8.1 as an oracle: the same seeds, parameters and inputs give the same numbers.

usage: CHAINER_PYTHON=/path/to/python python benchmarks/compare_chainer.py [word ...]

Links and initializers (parameters drawn, outputs, gradients, the random stream afterwards), functions with gradients, and 20 steps
of training with each optimizer and each hook (losses, parameters, states); all but the links eagerly and traced. With words, only
the cases whose name holds one of them. Prints the largest relative error of each case; the exit status is 1 where one exceeds its
tolerance.
"""

import sys

import numpy as np
from chainer_cases import cases
from exchange import ask, python_of, relative_error

import hybridnn as hnn

TOLERANCE = {"link": 2e-5, "function": 2e-5, "optimizer": 1e-9, "hook": 1e-9}      # float32; trainings in float64



def errors(found, answer, name):
    """(relative error, what was compared), worst first; infinite for what only one side has."""
    theirs = {k.removeprefix(name + "|"): a for k, a in answer.items() if k.startswith(name + "|")}
    both = found.keys() | theirs.keys()
    return sorted(((relative_error(found[k], theirs[k]) if k in found and k in theirs else np.inf, k) for k in both), reverse=True)


def main():
    python, words = python_of("CHAINER_PYTHON", "Chainer"), sys.argv[1:]
    table = {n: c for n, c in cases(hnn).items() if not words or any(w in n for w in words)}
    answer = ask(python, "chainer_side.py", {"names": np.array(list(table))})
    failed = 0
    print(f"{'':50}{'compared':>9}{'eager':>10}{'traced':>10}")
    for name, case in table.items():
        rows = [errors(case(lambda f: f), answer, name)]
        if not name.startswith("link"):
            with hnn.using_config("trace_compile", "sync"):
                rows.append(errors(case(hnn.trace), answer, name))
        over = [row[0][1] for row in rows if not row[0][0] <= TOLERANCE[name.split()[0]]]
        failed += bool(over)
        print(f"{name:50}{len(rows[0]):9}" + "".join(f"{row[0][0]:10.1e}" for row in rows), *over, flush=True)
    print(f"{len(table)} cases, {failed} above their tolerance")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
