"""A network that solves a differential equation (Raissi et al. 2019): its own derivatives stand in the loss.

The equation is u_t = a u_xx for 0 < x < 1, u = 0 at both ends, u = sin(pi x) at t = 0; its solution is exp(-a pi^2 t) sin(pi x).
``hnn.grad(..., enable_double_backprop=True)`` gives u_t, u_x and u_xx as Variables, through which the loss is differentiated.
"""
import sys

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

A = 0.3


class Solution(hnn.Chain):
    """u(x, t) = sin(pi x) + t x (1 - x) net(x, t), which is right at t = 0 and at both ends whatever the net says."""

    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2, self.l3 = L.Linear(2, units), L.Linear(units, units), L.Linear(units, 1)

    def forward(self, x, t):
        h = F.tanh(self.l2(F.tanh(self.l1(F.concat([x, t], axis=1)))))
        return F.sin(np.pi * x) + t * x * (1 - x) * self.l3(h)


def residual(u_of, x, t):
    """Mean of (u_t - a u_xx)^2 at the points (x, t), each (n, 1)."""
    u = u_of(x, t)
    u_x, u_t = hnn.grad([F.sum(u)], [x, t], enable_double_backprop=True)
    u_xx, = hnn.grad([F.sum(u_x)], [x], enable_double_backprop=True)
    return F.mean((u_t - A * u_xx) ** 2)


def points(n):
    return [hnn.Variable(np.random.uniform(0, 1, (n, 1)).astype("f")) for _ in "xt"]


def error(u_of):
    """Relative error of a solution on a grid."""
    x, t = [g.reshape(-1, 1).astype("f") for g in np.meshgrid(np.linspace(0, 1, 41), np.linspace(0, 1, 41))]
    exact = np.exp(-A * np.pi ** 2 * t) * np.sin(np.pi * x)
    return float(np.linalg.norm(u_of(x, t) - exact) / np.linalg.norm(exact))


def train(args, trace):
    net = Solution(args.units)
    optimizer = hnn.optimizers.Adam(0.005).setup(net)

    @trace
    def step(x, t):
        loss = residual(net, x, t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("PINN", args.steps) as run:
        for i in range(args.steps):
            optimizer.alpha = 0.005 * (1 - i / args.steps)
            run(step, *points(args.batch))
    return Result(error(lambda x, t: net(x, t).array), run, step)


def main(argv=None):
    args = options(__doc__, steps=1000, batch=128, units=32).parse_args(argv)
    still = "nothing happens: u = sin(pi x)", error(lambda x, t: np.sin(np.pi * x))
    results = compare(train, args)
    return conclude("relative error", still, results, lambda ours, theirs: ours < theirs / 10, "{:.4f}")


if __name__ == "__main__":
    sys.exit(main())
