"""Sequences of different lengths: an ``NStepLSTM`` reads lines of Python's manual and tells code from prose.

A batch is a list of arrays, one per line. Batches are put together once and visited in random order: a traced step then meets the
same shapes again and again.
"""
import sys
from pydoc_data.topics import topics

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

LONGEST = 20


class Classifier(hnn.Chain):
    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(128, units)
            self.lstm = L.NStepLSTM(1, units, units, 0.0)
            self.out = L.Linear(units, 2)

    def forward(self, xs):
        ends = np.cumsum([len(x) for x in xs])[:-1]
        embedded = F.split_axis(self.embed(F.concat(xs, axis=0)), ends, axis=0)
        h, _, _ = self.lstm(None, None, list(embedded))
        return self.out(h[-1])


def lines():
    """Pairs (letters as numbers, whether it is code): the manual indents code by three blanks."""
    found = {}
    for line in "\n".join(topics.values()).splitlines():
        text = line.strip()[:LONGEST]
        if len(text) >= 4 and text.isascii() and (line[0].isalpha() or line.startswith("   ")):
            found[text] = line.startswith("   ")
    return [(np.array([ord(c) for c in text], "i"), code) for text, code in found.items()]


def batches(args):
    """Lists of (xs, ts), as many code as prose lines in all."""
    everything, rng = lines(), np.random.RandomState(args.seed)
    kinds = [[pair for pair in everything if pair[1] == kind] for kind in (False, True)]
    n = args.batches * args.batch // 2
    chosen = [kind[i] for kind in kinds for i in rng.permutation(len(kind))[:n]]
    chosen = [chosen[i] for i in rng.permutation(len(chosen))]
    groups = [chosen[i:i + args.batch] for i in range(0, len(chosen), args.batch)]
    return [([x for x, _ in g], np.array([code for _, code in g], "i")) for g in groups]


def train(args, trace):
    *data, (xs_test, ts_test), (xs_more, ts_more) = batches(args)
    net = Classifier(args.units)
    optimizer = hnn.optimizers.Adam(0.01).setup(net)

    @trace
    def step(xs, t):
        loss = F.softmax_cross_entropy(net(xs), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("NStepLSTM", args.epochs * len(data)) as run:
        for _ in range(args.epochs):
            for i in np.random.permutation(len(data)):
                run(step, *data[i])
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        accuracy = float(F.accuracy(net(xs_test + xs_more), np.concatenate([ts_test, ts_more])))
    return Result(accuracy, run, step)


def main(argv=None):
    args = options(__doc__, epochs=25, batches=10, batch=64, units=32).parse_args(argv)
    *_, (_, t), (_, more) = batches(args)
    share = float(np.mean(np.concatenate([t, more])))
    results = compare(train, args)
    return conclude("accuracy on unseen lines", ("the commoner kind", max(share, 1 - share)), results,
                    lambda ours, theirs: ours > theirs + 0.1, "{:.2%}")


if __name__ == "__main__":
    sys.exit(main())
