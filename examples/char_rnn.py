"""A character model of Python's own manual: an LSTM that keeps its state from call to call, with truncated backpropagation.

The text is ``pydoc_data.topics`` from the standard library. A training step reads the next characters of several streams, and
``unchain_backward`` cuts the graph behind it, so that gradients flow through one step's characters while the state flows on.
"""
import sys
from itertools import pairwise
from pydoc_data.topics import topics

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L


class CharRNN(hnn.Chain):
    def __init__(self, characters, units):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(characters, units)
            self.lstm = L.LSTM(units, units)
            self.out = L.Linear(units, characters)

    def forward(self, x):
        return self.out(self.lstm(self.embed(x)))


def read(size):
    """The text as numbers, and its alphabet."""
    text = "\n".join(topics[name] for name in sorted(topics))[:size]
    alphabet = sorted(set(text))
    number = {c: i for i, c in enumerate(alphabet)}
    return np.array([number[c] for c in text], "i"), alphabet


def streams(codes, batch):
    """(time, batch): the text cut into ``batch`` pieces that are read side by side."""
    length = len(codes) // batch
    return np.ascontiguousarray(codes[:length * batch].reshape(batch, length).T)


def sequence_loss(net, xs):
    """Mean cross entropy of each character in ``xs`` (time + 1, batch) after those before it."""
    loss = 0
    for now, following in pairwise(xs):
        loss += F.softmax_cross_entropy(net(now), following)
    return loss / (len(xs) - 1)


def perplexity(net, codes, args):
    """exp of the mean cross entropy on a text that training has not seen."""
    xs, losses = streams(codes, args.batch), []
    net.lstm.reset_state()
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        for i in range(0, len(xs) - args.window, args.window):
            losses.append(float(sequence_loss(net, xs[i:i + args.window + 1])))
    return float(np.exp(np.mean(losses)))


def unigram_perplexity(train, test, n):
    """What knowing only how frequent each character is would give."""
    p = np.bincount(train, minlength=n) + 1.0
    return float(np.exp(-np.mean(np.log(p / p.sum())[test])))


def train(args, trace):
    codes, alphabet = read(args.size)
    cut = len(codes) * 9 // 10
    xs = streams(codes[:cut], args.batch)
    net = CharRNN(len(alphabet), args.units)
    optimizer = hnn.optimizers.Adam(0.005).setup(net)
    optimizer.add_hook(hnn.optimizer_hooks.GradientClipping(5.0))

    @trace
    def step(window):
        loss = sequence_loss(net, window)
        net.cleargrads()
        loss.backward()
        loss.unchain_backward()     # the state stays, what led to it is forgotten
        optimizer.update()
        return loss

    with training("char RNN", args.steps) as run:
        for i in range(args.steps):
            start = i * args.window % (len(xs) - args.window - 1)
            if start < args.window:
                net.lstm.reset_state()
            run(step, xs[start:start + args.window + 1])
    return Result(perplexity(net, codes[cut:], args), run, step)


def main(argv=None):
    args = options(__doc__, steps=250, units=96, batch=32, window=16, size=250_000).parse_args(argv)
    results = compare(train, args)
    codes, alphabet = read(args.size)
    cut = len(codes) * 9 // 10
    unigrams = "character frequencies", unigram_perplexity(codes[:cut], codes[cut:], len(alphabet))
    return conclude("perplexity on unseen text", unigrams, results, lambda ours, theirs: ours < theirs / 2, "{:.2f}")


if __name__ == "__main__":
    sys.exit(main())
