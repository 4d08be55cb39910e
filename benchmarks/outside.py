"""Backward outside of traced functions: the forward pass traced, the update traced too, or the whole step, each against eager, timed in turn in one process.

usage: python benchmarks/outside.py
"""
import copy
import sys

import numpy as np
from common import interleaved

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

WANTED = 1 / 1.05      # eager / traced, at the least


class MLP(hnn.Chain):
    def __init__(self, n, hidden, classes):
        super().__init__()
        with self.init_scope():
            self.first, self.second, self.last = L.Linear(n, hidden), L.Linear(hidden, hidden), L.Linear(hidden, classes)

    def forward(self, x):
        return self.last(F.relu(self.second(F.relu(self.first(x)))))


class ConvNet(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.conv1, self.bn1 = L.Convolution2D(3, 16, 3, pad=1), L.BatchNormalization(16)
            self.conv2, self.bn2, self.last = L.Convolution2D(16, 32, 3, pad=1), L.BatchNormalization(32), L.Linear(2048, 10)

    def forward(self, x):
        h = F.max_pooling_2d(F.relu(self.bn1(self.conv1(x))), 2)
        return self.last(F.max_pooling_2d(F.relu(self.bn2(self.conv2(h))), 2))


class Tree(hnn.Chain):
    """A Tree-LSTM over sixteen leaves, of which each cell is one call."""

    def __init__(self, n):
        super().__init__()
        with self.init_scope():
            self.gates = L.Linear(2 * n, 5 * n)

    def forward(self, c1, h1, c2, h2):
        return F.tree_lstm(c1, c2, self.gates(F.concat((h1, h2))))


def over_tree(cell, x):
    level = [(hnn.Variable(row[None]), hnn.Variable(row[None])) for row in x]
    while len(level) > 1:
        level = [cell(*left, *right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0][1]


def classify(forward, x, t):
    return F.softmax_cross_entropy(forward(x), t)


def regress(forward, x, t):
    return F.sum(over_tree(forward, x) ** 2)


def data(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("f")


def labels(n, classes):
    return np.random.default_rng(1).integers(0, classes, n).astype("i")


CASES = {"4-64-64-2, batch 1": (MLP(4, 64, 2), classify, data(1, 4), labels(1, 2)),
         "64-128-128-10, batch 32": (MLP(64, 128, 10), classify, data(32, 64), labels(32, 10)),
         "784-1000-1000-10, batch 100": (MLP(784, 1000, 10), classify, data(100, 784), labels(100, 10)),
         "two convolutions, batch 32": (ConvNet(), classify, data(32, 3, 32, 32), labels(32, 10)),
         "Tree-LSTM, 32 units": (Tree(32), regress, data(16, 32), None),
         "Tree-LSTM, 150 units": (Tree(150), regress, data(16, 150), None)}


def variants(net, loss_of, x, t):
    """name -> a training step with Adam of a model of its own, with more and more of it traced."""
    def step(forward_traced, update_traced, whole):
        own = copy.deepcopy(net)
        optimizer = hnn.optimizers.Adam().setup(own)
        forward = hnn.trace(own.forward) if forward_traced else own.forward
        update = hnn.trace(optimizer.update) if update_traced else optimizer.update

        def run(x, t):
            loss = loss_of(forward, x, t)
            own.cleargrads()
            loss.backward()
            update()
        traced = hnn.trace(run) if whole else run
        return lambda: traced(x, t)
    return {"eager": step(False, False, False), "forward": step(True, False, False), "and update": step(True, True, False),
            "whole step": step(False, False, True)}


def main():
    print(f"{'':30}{'eager us':>10}" + "".join(f"{name:>22}" for name in ("forward traced", "and update", "whole step")))
    least = float("inf")
    for name, case in CASES.items():
        us = interleaved(variants(*case), budget=4.0)
        ratios = {k: us["eager"] / v for k, v in us.items() if k != "eager"}
        least = min(least, *ratios.values())
        print(f"{name:30}{us['eager']:10.0f}" + "".join(f"{us[k]:14.0f} ({r:5.2f})" for k, r in ratios.items()))
    return least < WANTED


if __name__ == "__main__":
    sys.exit(main())
