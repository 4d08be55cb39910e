"""A branch on data: f(x, t) = 2x if t = 0, 3x otherwise (equation 5 of Tokui 2016), with a plain Python ``if``.

Each branch is recorded when it is first taken and replayed from then on. The graph holds the branch that was taken, nothing else.
"""
import sys

import numpy as np
from helper import options, table, verdict

import hybridnn as hnn
import hybridnn.functions as F


def f(x, t):
    return 2 * x if t == 0 else 3 * x


def right(function, x, t):
    """Whether value and gradient of ``function(x, t)`` are those of the branch that ``t`` asks for."""
    factor = 2 if int(t) == 0 else 3
    x = hnn.Variable(x)
    y = function(x, t)
    F.sum(y).backward()
    return (y.array == factor * x.array).all() and (x.grad == factor).all()


def main(argv=None):
    args = options(__doc__, n=1000).parse_args(argv)
    rng = np.random.default_rng(args.seed)
    xs = rng.standard_normal((args.n, 4)).astype("f")
    ts = [hnn.Variable(np.array(t)) for t in rng.integers(0, 2, args.n)]
    functions = {name: hnn.trace(f) if name == "traced" else f for name in args.runs}

    zeros = sum(int(t) == 0 for t in ts)
    counts = {name: sum(right(function, x, t) for x, t in zip(xs, ts)) for name, function in functions.items()}
    rows = [(name, str(zeros), str(args.n - zeros), str(count)) for name, count in counts.items()]
    table("calls", ("", "t = 0", "otherwise", "right value and gradient"), *rows)
    checks = {"values and gradients": all(count == args.n for count in counts.values())}
    if "traced" in functions:
        stats = functions["traced"].stats
        print(f"\n{functions['traced'].explain()}")
        checks["both paths are cached"] = stats.recordings == stats.paths == 2
        checks["no other path is looked for"] = stats.fallbacks <= 1       # calls as small as these may go on eagerly, where that is faster
    return verdict(checks)


if __name__ == "__main__":
    sys.exit(main())
