"""A small transformer that reads Python's manual letter by letter: causal attention, layer normalisation, learned positions."""
import sys

import numpy as np
from char_rnn import read, unigram_perplexity
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L


class Transformer(hnn.Chain):
    def __init__(self, characters, window, units, heads, layers):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(characters, units)
            self.place = L.EmbedID(window, units)
            self.layers = L.TransformerEncoderLayer(units, heads, dropout=0.0, norm_first=True).repeat(layers)
            self.norm = L.LayerNormalization(units)
            self.out = L.Linear(units, characters)
        self.places = np.arange(window, dtype="i")

    def forward(self, x):
        """Scores (n, window, characters) of the character behind each place of ``x`` (n, window)."""
        h = self.embed(x) + self.place(self.places)
        for layer in self.layers:
            h = layer(h, causal=True)
        return self.out(self.norm(h), n_batch_axes=2)

    def loss(self, x, t):
        y = self(x)
        return F.softmax_cross_entropy(F.reshape(y, (-1, y.shape[-1])), t.reshape(-1))


def windows(codes, starts, size):
    """Pairs (n, size) of texts that begin at ``starts``, and the same one character on."""
    both = np.stack([codes[i:i + size + 1] for i in starts])
    return np.ascontiguousarray(both[:, :-1]), np.ascontiguousarray(both[:, 1:])


def train(args, trace):
    codes, alphabet = read(args.size)
    cut = len(codes) * 9 // 10
    net = Transformer(len(alphabet), args.window, args.units, args.heads, args.layers)
    optimizer = hnn.optimizers.Adam(0.003).setup(net)
    optimizer.add_hook(hnn.optimizer_hooks.GradientClipping(1.0))

    @trace
    def step(x, t):
        loss = net.loss(x, t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("transformer", args.steps) as run:
        for _ in range(args.steps):
            run(step, *windows(codes[:cut], np.random.randint(0, cut - args.window - 1, args.batch), args.window))
    x, t = windows(codes[cut:], range(0, len(codes) - cut - args.window - 1, args.window), args.window)
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        return Result(float(np.exp(float(net.loss(x, t)))), run, step)


def main(argv=None):
    args = options(__doc__, steps=300, batch=16, window=32, units=64, heads=4, layers=2, size=250_000).parse_args(argv)
    codes, alphabet = read(args.size)
    cut = len(codes) * 9 // 10
    results = compare(train, args)
    unigrams = "character frequencies", unigram_perplexity(codes[:cut], codes[cut:], len(alphabet))
    return conclude("perplexity on unseen text", unigrams, results, lambda ours, theirs: ours < theirs * 0.6, "{:.2f}")


if __name__ == "__main__":
    sys.exit(main())
