"""Handwritten digits with a convolutional network and batch normalisation."""
import sys

import numpy as np
from helper import Result, compare, conclude, options, training
from train_digits import load

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L


class CNN(hnn.Chain):
    """Two blocks of convolution, batch normalisation, relu and pooling: 8 x 8 pixels become 2 x 2 places."""

    def __init__(self, channels):
        super().__init__()
        with self.init_scope():
            self.conv1 = L.Convolution2D(1, channels, 3, pad=1, nobias=True)
            self.norm1 = L.BatchNormalization(channels)
            self.conv2 = L.Convolution2D(channels, 2 * channels, 3, pad=1, nobias=True)
            self.norm2 = L.BatchNormalization(2 * channels)
            self.out = L.Linear(None, 10)

    def forward(self, x):
        h = F.max_pooling_2d(F.relu(self.norm1(self.conv1(x))), 2)
        h = F.max_pooling_2d(F.relu(self.norm2(self.conv2(h))), 2)
        return self.out(h)


def images(x):
    return x.reshape(-1, 1, 8, 8)


def train(args, trace):
    (x, t), (x_test, t_test) = load(args.seed)
    net = CNN(args.channels)
    optimizer = hnn.optimizers.MomentumSGD(0.05).setup(net)
    optimizer.add_hook(hnn.optimizer_hooks.WeightDecay(1e-4))

    @trace
    def step(x, t):
        loss = F.softmax_cross_entropy(net(x), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    starts = range(0, len(x) - args.batch + 1, args.batch)
    with training("CNN", args.epochs * len(starts)) as run:
        for _ in range(args.epochs):
            order = np.random.permutation(len(x))
            for i in starts:
                pick = order[i:i + args.batch]
                run(step, images(x[pick]), t[pick])
    with hnn.using_config("train", False), hnn.no_backprop_mode():      # running statistics, no graph
        return Result(float(F.accuracy(net(images(x_test)), t_test)), run, step)


def nearest_mean(args):
    """Test accuracy of choosing the digit whose mean image is nearest."""
    (x, t), (x_test, t_test) = load(args.seed)
    means = np.stack([x[t == k].mean(0) for k in range(10)])
    return float((((x_test[:, None] - means) ** 2).sum(2).argmin(1) == t_test).mean())


def main(argv=None):
    args = options(__doc__, epochs=4, batch=50, channels=16).parse_args(argv)
    results = compare(train, args)
    baseline = "nearest mean image", nearest_mean(args)
    return conclude("test accuracy", baseline, results, lambda ours, theirs: ours > theirs, "{:.2%}")


if __name__ == "__main__":
    sys.exit(main())
