"""A variational autoencoder of handwritten digits (Kingma and Welling 2014): a random draw in the middle of the network."""
import sys

import numpy as np
from helper import Result, compare, conclude, options, training
from train_digits import load

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L


class VAE(hnn.Chain):
    def __init__(self, hidden, latent):
        super().__init__()
        with self.init_scope():
            self.encode = L.Linear(64, hidden)
            self.mean, self.ln_var = L.Linear(hidden, latent), L.Linear(hidden, latent)
            self.decode = L.Linear(latent, hidden)
            self.pixels = L.Linear(hidden, 64)

    def forward(self, x):
        """Upper bound of -log p(x), per image: how badly it is drawn again, plus how far its code is from the prior."""
        h = F.tanh(self.encode(x))
        mean, ln_var = self.mean(h), self.ln_var(h)
        z = F.gaussian(mean, ln_var)
        logits = self.pixels(F.tanh(self.decode(z)))
        return (F.bernoulli_nll(x, logits) + F.gaussian_kl_divergence(mean, ln_var)) / len(x)


def pixel_frequencies(args):
    """-log p(x) per image if pixels were independent."""
    (x, _), (x_test, _) = load(args.seed)
    p = np.clip(x.mean(0), 1e-3, 1 - 1e-3)
    return float(-(x_test * np.log(p) + (1 - x_test) * np.log(1 - p)).sum(1).mean())


def train(args, trace):
    (x, _), (x_test, _) = load(args.seed)
    net = VAE(args.hidden, args.latent)
    optimizer = hnn.optimizers.Adam(0.003).setup(net)

    @trace
    def step(x):
        loss = net(x)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("VAE", args.steps) as run:
        for _ in range(args.steps):
            run(step, x[np.random.choice(len(x), args.batch, replace=False)])
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        return Result(float(np.mean([float(net(x_test)) for _ in range(10)])), run, step)


def main(argv=None):
    args = options(__doc__, steps=1500, batch=50, hidden=128, latent=8).parse_args(argv)
    results = compare(train, args)
    return conclude("-log p of unseen images (bound)", ("independent pixels", pixel_frequencies(args)), results,
                    lambda ours, theirs: ours < theirs - 1, "{:.2f}")


if __name__ == "__main__":
    sys.exit(main())
