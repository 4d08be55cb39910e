"""A function of your own: its forward in plain NumPy, its gradient with Variables, without touching the library.

The function is a soft threshold, shrink(x) = sign(x) max(|x| - width, 0), which makes values exactly zero. A tiny sparse coder
learns with it: signals that are sums of a few directions, mixed by an unknown matrix, are taken apart again.
"""
import sys

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.gradient_check import check_backward


class Shrink(hnn.FunctionNode):
    """An instance is one application; ``width`` is a plain number and gets no gradient."""

    def __init__(self, width):
        self.width = width

    def forward(self, inputs):
        x, = inputs
        self.retain_inputs((0,))
        return np.sign(x) * np.maximum(np.abs(x) - x.dtype.type(self.width), 0),

    def backward(self, target_input_indexes, grad_outputs):
        x, = self.get_retained_inputs()
        g, = grad_outputs
        return g * (abs(x) > self.width),


def shrink(x, width):
    return Shrink(width).apply((x,))[0]


class SparseCoder(hnn.Chain):
    """The code of a signal is shrink(encode(x)); the signal is a linear mixture of its code."""

    def __init__(self, size, codes, width):
        super().__init__()
        self.width = width
        with self.init_scope():
            self.encode = L.Linear(size, codes)
            self.decode = L.Linear(codes, size, nobias=True)

    def code(self, x):
        return shrink(self.encode(x), self.width)

    def forward(self, x):
        return self.decode(self.code(x))


def signals(args):
    """(n, size) mixtures of two out of ``codes`` directions."""
    rng = np.random.default_rng(args.seed)
    directions = rng.standard_normal((args.codes, args.size)) / args.size ** 0.5
    weights = np.zeros((args.n, args.codes))
    for row in weights:
        row[rng.choice(args.codes, 2, replace=False)] = rng.uniform(1, 2, 2)
    return (weights @ directions).astype("f")


def train(args, trace):
    x = signals(args)
    net = SparseCoder(args.size, args.codes, args.width)
    optimizer = hnn.optimizers.Adam(0.01).setup(net)

    @trace
    def step(x):
        loss = F.mean_squared_error(net(x), x)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("sparse coder", args.steps) as run:
        for _ in range(args.steps):
            run(step, x)
    print(f"  {np.mean(net.code(x).array == 0):.0%} of the codes are zero")
    return Result(float(F.mean_squared_error(net(x), x)), run, step)


def main(argv=None):
    args = options(__doc__, steps=500, n=512, size=16, codes=24, width=0.5).parse_args(argv)
    check_backward(lambda x: shrink(x, 0.5), np.linspace(-1, 1, 8), np.ones(8), dtype="d")
    print("the gradient of Shrink agrees with numerical differentiation\n")
    results = compare(train, args)
    x = signals(args)
    mean = "the mean signal", float(np.mean((x - x.mean(0)) ** 2))
    code = conclude("squared error", mean, results, lambda error, of_mean: error < of_mean / 4, "{:.4f}")
    if "traced" in results:
        print(f"\n{results['traced'].step.explain()}")
    return code


if __name__ == "__main__":
    sys.exit(main())
