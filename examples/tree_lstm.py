"""Recursion over real trees: a Tree-LSTM (Tai et al. 2015) reads syntax trees of the standard library and tells the module.

Every tree has a shape of its own, so every example is another network. Only the cell that joins two subtrees is traced: it is one
small graph however the trees look, and gradients flow through it from outside.
"""
import ast
import importlib.util
import sys

import numpy as np
from helper import Result, compare, conclude, options, training

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

MODULES = "argparse", "_pydecimal", "typing", "tarfile"


class TreeReader(hnn.Chain):
    def __init__(self, labels, units, trace):
        super().__init__()
        self.nothing = np.zeros((1, units), "f")
        with self.init_scope():
            self.embed = L.EmbedID(labels, units)
            self.cell = L.NaryTreeLSTM(units, units, 2)
            self.out = L.Linear(units, len(MODULES))
        self.join = trace(self.join)

    def join(self, label, left_c, left_h, right_c, right_h):
        return self.cell(left_c, right_c, left_h, right_h, self.embed(label))

    def read(self, tree):
        """(c, h) of a tree (label, left, right), each side a tree or None."""
        if tree is None:
            return self.nothing, self.nothing
        label, left, right = tree
        return self.join(label, *self.read(left), *self.read(right))

    def forward(self, trees):
        return self.out(F.concat([self.read(tree)[1] for tree in trees], axis=0))


def binary(nodes, number):
    """Siblings as one binary tree: left is the first child of the first node, right are its siblings."""
    if not nodes:
        return None
    first, *others = nodes
    label = number.setdefault(type(first).__name__, len(number))
    return np.array([label], "i"), binary(list(ast.iter_child_nodes(first)), number), binary(others, number)


def statements(module):
    """Small statements of a module's source."""
    with open(importlib.util.find_spec(module).origin, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    found = {ast.dump(node): node for node in ast.walk(tree) if isinstance(node, ast.stmt)}
    return [node for node in found.values() if 12 <= sum(1 for _ in ast.walk(node)) <= 30]


def load(args):
    """Training and test lists of (tree, module number), shuffled, and the number of labels."""
    number, examples, rng = {}, [], np.random.RandomState(args.seed)
    for t, module in enumerate(MODULES):
        nodes = statements(module)
        chosen = [nodes[i] for i in rng.permutation(len(nodes))[:args.trees]]
        examples += [(binary([node], number), t) for node in chosen]
    examples = [examples[i] for i in rng.permutation(len(examples))]
    cut = len(examples) * 3 // 4
    return examples[:cut], examples[cut:], len(number)


def train(args, trace):
    seen, unseen, labels = load(args)
    net = TreeReader(labels, args.units, trace)
    optimizer = hnn.optimizers.Adam(0.02).setup(net)

    def step(examples):
        trees, ts = zip(*examples)
        loss = F.softmax_cross_entropy(net(trees), np.array(ts, "i"))
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    with training("Tree-LSTM", args.steps) as run:
        for _ in range(args.steps):
            run(step, [seen[i] for i in np.random.choice(len(seen), args.batch, replace=False)])
    trees, ts = zip(*unseen)
    with hnn.using_config("train", False), hnn.no_backprop_mode():
        accuracy = float(F.accuracy(net(trees), np.array(ts, "i")))
    return Result(accuracy, run, net.join)


def main(argv=None):
    args = options(__doc__, steps=70, batch=12, trees=200, units=32).parse_args(argv)
    _, unseen, _ = load(args)
    common = np.bincount([t for _, t in unseen]).max() / len(unseen)
    results = compare(train, args)
    baseline = "the commonest module", common
    return conclude("accuracy on unseen trees", baseline, results, lambda ours, theirs: ours > theirs + 0.1, "{:.2%}")


if __name__ == "__main__":
    sys.exit(main())
