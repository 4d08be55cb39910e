"""Computations that Chainer 7.8.1 and hybridnn both understand word for word. Imports NumPy only.

Links, initializers and their gradients are those of tests/link_cases.py; here are functions,
and trainings with every optimizer and
every hook. Each case is ``case(chainer or hybridnn, wrap)`` and returns a dict of arrays; ``wrap`` traces a training step.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parent.parent / "tests"))
import link_cases

STEPS = 20
OPTIMIZERS = {
    "SGD": {"lr": 0.1}, "MomentumSGD": {"lr": 0.1}, "CorrectedMomentumSGD": {"lr": 0.1}, "NesterovAG": {"lr": 0.1}, "Adam": {},
    "AdamW": {"weight_decay_rate": 0.1}, "AMSGrad": {}, "AdaBound": {}, "AMSBound": {}, "AdaDelta": {}, "AdaGrad": {"lr": 0.1},
    "RMSprop": {}, "RMSpropGraves": {}, "SMORMS3": {}, "MSVAG": {"lr": 0.1}}
HOOKS = {
    "WeightDecay": (0.01,), "Lasso": (0.01,), "GradientClipping": (0.1,), "GradientHardClipping": (-0.01, 0.01),
    "GradientNoise": (0.1,),
    "GradientLARS": ()}


def data():
    rng = np.random.RandomState(3)
    return rng.randn(STEPS, 8, 4), rng.randint(-1, 3, (STEPS, 8)).astype("i")


def training(framework, wrap, optimizer, hook=None):
    """Losses, parameters and states of 20 steps in float64 (MSVAG subtracts nearly equal numbers: float32 leaves four digits).

    No ``Sequential``: Chainer numbers its links in another order than that of the calls, once there are three.
    """
    F, L = framework.functions, framework.links
    np.random.seed(0)
    with framework.using_config("dtype", np.dtype("float64")):
        model = framework.ChainList(L.Linear(4, 6), L.BatchNormalization(6), L.Linear(6, 3))
    optimizer.setup(model)
    if hook is not None:
        optimizer.add_hook(hook)

    def step(x, t):
        loss = F.softmax_cross_entropy(model[2](model[1](F.tanh(model[0](x)))), t)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    step = wrap(step)
    found = {"losses": np.array([float(step(x, t).array) for x, t in zip(*data())])}
    found.update({path: p.array for path, p in model.namedparams()})
    found.update({f"{k} of {path}": np.asarray(s) for path, p in model.namedparams() for k,
    s in p.update_rule.state.items()})
    return found


def with_optimizer(name):
    return lambda framework, wrap: training(framework, wrap, getattr(framework.optimizers, name)(**OPTIMIZERS[name]))


def with_hook(name):
    return lambda framework, wrap: training(framework, wrap, framework.optimizers.MomentumSGD(0.1),
                                            getattr(framework.optimizer_hooks, name)(*HOOKS[name]))


def value_and_gradients(call, *shapes, **options):
    """A function's results and the gradients of their weighted sum of squares, from operands of these shapes."""
    def case(framework, wrap):
        rng = np.random.RandomState(1)
        xs = [framework.Variable(rng.randn(*s).astype(options.get("dtype", "f"))) for s in shapes]
        np.random.seed(2)
        ys = link_cases.leaves(wrap(lambda *xs: call(framework.functions, *xs))(*xs))
        total = sum(framework.functions.sum(y * y * (i + 1)) for i, y in enumerate(ys))
        total.backward()
        found = {f"y{i}": y.array for i, y in enumerate(ys)}
        found.update({f"gx{i}": x.grad for i, x in enumerate(xs) if x.grad is not None})
        found["next random number"] = np.asarray(np.random.random())
        return found
    return case


LABELS = np.array([1, -1, 2, 0, 1], "i")
WEIGHTS = np.array([0.5, 2, 1], "f")
FUNCTIONS = {
    "softmax_cross_entropy": value_and_gradients(lambda F, x: F.softmax_cross_entropy(x, LABELS), (5, 3)),
    "softmax_cross_entropy, not normalized": value_and_gradients(
        lambda F, x: F.softmax_cross_entropy(x, LABELS, normalize=False), (5, 3)),
    "softmax_cross_entropy, weights": value_and_gradients(
        lambda F, x: F.softmax_cross_entropy(x, LABELS, class_weight=WEIGHTS), (5, 3)),
    "softmax_cross_entropy, each": value_and_gradients(
        lambda F, x: F.softmax_cross_entropy(x, abs(LABELS), reduce="no", ignore_label=2, class_weight=WEIGHTS), (5, 3)),
    "sigmoid_cross_entropy": value_and_gradients(
        lambda F, x: F.sigmoid_cross_entropy(x, np.array([[1, 0], [-1, 1]], "i")), (2, 2)),
    "dropout": value_and_gradients(lambda F, x: F.dropout(x, 0.3), (4, 5)),
    "gaussian": value_and_gradients(lambda F, m, v: F.gaussian(m, v), (4, 5), (4, 5)),
    "zoneout": value_and_gradients(lambda F, h, x: F.zoneout(h, x, 0.3), (4, 5), (4, 5)),
    "rrelu": value_and_gradients(lambda F, x: F.rrelu(x), (4, 5)),
    "gumbel_softmax": value_and_gradients(lambda F, x: F.gumbel_softmax(x, 0.5), (4, 5)),
    "max_pooling_2d": value_and_gradients(lambda F, x: F.max_pooling_2d(x, 3, 2, 1), (2, 3, 6, 7)),
    "average_pooling_2d": value_and_gradients(lambda F, x: F.average_pooling_2d(x, 3, 2, 1), (2, 3, 6, 7)),
    "lstm": value_and_gradients(lambda F, c, x: F.lstm(c, x), (3, 4), (2, 16)),
    "local_response_normalization": value_and_gradients(lambda F, x: F.local_response_normalization(x), (2, 7, 3, 3)),
    "huber_loss": value_and_gradients(lambda F, x, t: F.huber_loss(x, t, 1.0), (3, 4), (3, 4)),
    "hinge": value_and_gradients(lambda F, x: F.hinge(x, np.array([0, 2, 1], "i"), "L2"), (3, 4)),
    "contrastive": value_and_gradients(lambda F, a, b: F.contrastive(a, b, np.array([1, 0, 1], "i"), 3), (3, 4), (3, 4)),
    "triplet": value_and_gradients(lambda F, a, b, c: F.triplet(a, b, c, 3), (3, 4), (3, 4), (3, 4)),
    "decov": value_and_gradients(lambda F, x: F.decov(x), (5, 3)),
    "spatial_pyramid_pooling_2d": value_and_gradients(lambda F, x: F.spatial_pyramid_pooling_2d(x, 2, "max"), (2, 3, 6, 7)),
    "resize_images": value_and_gradients(lambda F, x: F.resize_images(x, (5, 9)), (2, 3, 4, 4)),
    "shift": value_and_gradients(lambda F, x: F.shift(x), (2, 9, 5, 5)),
    "unpooling_2d": value_and_gradients(lambda F, x: F.unpooling_2d(x, 2, cover_all=False), (2, 3, 3, 3)),
    "crf1d": value_and_gradients(
        lambda F, c, x, y: F.crf1d(c, [x, y], [np.array([0, 2], "i"), np.array([1], "i")]), (3, 3), (2, 3), (1, 3)),
    "connectionist_temporal_classification": value_and_gradients(
        lambda F, *xs: F.connectionist_temporal_classification(xs, np.array([[1, 2], [2, 2]], "i"), 0), *[(2, 4)] * 5),
    "bilinear": value_and_gradients(lambda F, *xs: F.bilinear(*xs), (3, 2), (3, 4), (2, 4, 5), (2, 5), (4, 5), (5,)),
}


def link(name, framework):
    table = link_cases.cases(framework, framework.links, framework.initializers)
    return link_cases.run(table[name], framework.functions.sum)


def cases(framework):
    """Name: function of ``wrap``."""
    names = link_cases.cases(framework, framework.links, framework.initializers)
    found = {f"link {n}": lambda wrap, n=n: link(n, framework) for n in names}
    runs = {f"function {n}": case for n, case in FUNCTIONS.items()}
    runs |= {f"optimizer {n}": with_optimizer(n) for n in OPTIMIZERS} | {f"hook {n}": with_hook(n) for n in HOOKS}
    return found | {n: lambda wrap, case=case: case(framework, wrap) for n, case in runs.items()}
