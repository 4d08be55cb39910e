"""``demo``: a small network learns to tell two spirals apart, eagerly and traced. It needs nothing but the library."""
from time import perf_counter

import numpy as np

import hybridnn as hnn
from hybridnn import functions as F
from hybridnn import links as L

__all__ = ["demo"]

_STEPS, _FIRST = 500, 20


def _spirals(n=200):
    """Points (2 n, 2) on two spirals that wind around each other, and which one each is on."""
    rng = np.random.default_rng(0)
    angle = np.sqrt(rng.uniform(0, 1, n)) * 3 * np.pi
    arm = np.stack([angle * np.cos(angle), angle * np.sin(angle)], axis=1) / 9 + rng.normal(0, 0.02, (n, 2))
    return np.concatenate([arm, -arm]).astype("f"), np.repeat([0, 1], n).astype("i")


def demo():
    """Train and print how the runs compare; exit code 1 if they do not agree."""
    x, t = _spirals()
    print(f"two spirals, {len(x)} points, {_STEPS} steps of Adam")
    runs = {name: _train(x, t, decorate) for name, decorate in (("eager", lambda f: f), ("traced", hnn.trace))}
    for name, (losses, accuracy, seconds, _) in runs.items():
        print(f"{name:7} loss {losses[0]:.3f} -> {losses[-1]:.3f}, accuracy {accuracy:.1%}, median step {1e3 * np.median(seconds):.2f} ms, "
              f"first {_FIRST} steps {sum(seconds[:_FIRST]):.2f} s, others {sum(seconds[_FIRST:]):.2f} s")
    print("(the first traced steps record and compile; kernels are kept on disk for the next time)")
    first = np.array([losses[:_FIRST] for losses, *_ in runs.values()])
    difference = float(np.max(np.abs(first[0] - first[1]) / first[0]))
    print(f"losses of the first {_FIRST} steps differ by {difference:.1e} (relative)\n")
    report = hnn.profile(runs["traced"][3], x, t)
    print(report)
    return 0 if difference < 1e-4 and report.agrees else 1


def _train(x, t, decorate):
    np.random.seed(0)
    net = hnn.Sequential(L.Linear(2, 64), F.tanh, L.Linear(64, 64), F.tanh, L.Linear(64, 2))
    optimizer = hnn.optimizers.Adam(0.005).setup(net)

    @decorate
    def step(x, t):
        loss = F.softmax_cross_entropy(net(x), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    losses, seconds = [], []
    for _ in range(_STEPS):
        start = perf_counter()
        losses.append(float(step(x, t)))
        seconds.append(perf_counter() - start)
    return losses, float(F.accuracy(net(x), t)), seconds, step
