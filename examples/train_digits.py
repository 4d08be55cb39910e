"""Handwritten digits: a small network trained eagerly, then with the same step under ``@hnn.trace``, and what the trace did.

The data are the 1797 images of 8 x 8 pixels that scikit-learn ships (UCI, Alpaydin and Kaynak 1998).
"""
import argparse
import sys
from dataclasses import replace

import numpy as np
from helper import Result, difference, table, training, verdict
from sklearn.datasets import load_digits

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

WANTED = 0.95        # test accuracy
CLOSE = 1e-4         # relative difference of the losses over the first 100 steps


class MLP(hnn.Chain):
    def __init__(self, hidden):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(None, hidden)      # the number of inputs is known at the first call
            self.l2 = L.Linear(hidden, hidden)
            self.l3 = L.Linear(hidden, 10)

    def forward(self, x):
        return self.l3(F.relu(self.l2(F.relu(self.l1(x)))))


def load(seed):
    """Training and test parts of the data: images (n, 64) between 0 and 1, labels (n,)."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(seed).permutation(len(images))
    x, t = (images / 16).astype("f")[order], labels.astype("i")[order]
    return (x[:1400], t[:1400]), (x[1400:], t[1400:])


def train(name, data, args, trace):
    """Train for some epochs; ``trace`` is what the step is decorated with."""
    (x, t), (x_test, t_test) = data
    np.random.seed(args.seed)
    net = MLP(args.hidden)
    optimizer = hnn.optimizers.Adam().setup(net)

    @trace
    def step(x, t):
        loss = F.softmax_cross_entropy(net(x), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    starts = range(0, len(x) - args.batch + 1, args.batch)
    with training(name, args.epochs * len(starts)) as run:
        for _ in range(args.epochs):
            order = np.random.permutation(len(x))
            for i in starts:
                pick = order[i:i + args.batch]
                run(step, x[pick], t[pick])
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        accuracy = float(F.accuracy(net(x_test), t_test))
    return Result(accuracy, run, step)


def facts(stats, report):
    """What the trace did, as rows of a table; ``stats`` are from the training, ``report`` is the profile of one step."""
    row = report.traced
    operations = sum(span.track == "eager" and span.name != "call" for span in report.spans)
    return [("graphs cached", str(stats.paths)), ("operations in an eager step", str(operations)),
            ("native steps", f"{row.steps}, {row.kernels} of them fused kernels"), ("Python steps left", str(row.python_steps)),
            ("training steps that ran no Python", f"{stats.python_skipped} of {stats.calls}"),
            ("memory planned", f"{row.memory_planned / 1024:.1f} KiB (lower bound {row.memory_lower_bound / 1024:.1f} KiB)"),
            ("memory of an eager step", f"{report.eager.memory_peak / 1024:.1f} KiB at most")]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--html", help="also write the profile as a page")
    args = parser.parse_args(argv)

    data = load(args.seed)
    runs = {"eager": train("eager ", data, args, lambda f: f), "traced": train("traced", data, args, hnn.trace)}
    eager, traced = runs.values()
    rows = [(name, f"{r.score:.2%}", f"{r.milliseconds * 1e3:.0f} us", f"{sum(r.log.seconds):.2f} s") for name, r in runs.items()]
    table("training", ("", "test accuracy", "median step", "all steps"), *rows)
    steps = min(100, len(eager.log.losses))
    apart, speedup = difference(runs, steps), eager.milliseconds / traced.milliseconds
    print(f"speed-up {speedup:.2f}; losses of the first {steps} steps: relative difference {apart:.1e}\n")

    (x, t), _ = data
    stats = replace(traced.step.stats)
    report = hnn.profile(traced.step, x[:args.batch], t[:args.batch])
    print(report)
    table("why", ("what the trace did", "measured in this run"), *facts(stats, report))
    if args.html:
        report.save(args.html)
    return verdict({"test accuracy": min(eager.score, traced.score) >= WANTED, "losses agree": apart < CLOSE,
                    "traced is faster": speedup > 1, "results agree": report.agrees})


if __name__ == "__main__":
    sys.exit(main())
