"""Rows and slices of arrays whose numbers change from call to call: batches of a data set, caches that are filled from the front, rings."""
from enum import Enum

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def batch(data, net, k):
    return F.sum(net(data[k * 3:(k + 1) * 3])), data[k * 3:k * 3 + 3]


def row(data, net, k):
    return net(data[k:k + 1]) + float(data[-k, 1]), data[k].sum()


def columns(data, net, k):
    return F.sum(F.exp(data[:, k % 2:k % 2 + 2])), data[..., k % 3].copy()


def listed(data, net, k):
    return F.sum(net(data[[k, 0, -1]])), data[[k]]


def element(data, net, k):
    return net(data[:2]) * data[k, 0]


def strided(data, net, k):
    return F.sum(net(data[k::4])), data[::2][k]


def until(data, net, k):
    return F.sum(net(data[:k + 1]))


def cached(data, net, k):
    y = net(data[:2])
    data[k, :2] = y.array[0]
    data[k + 5:k + 7] += y.array[:, :1]
    return F.sum(F.exp(data) * (np.arange(len(data))[:, None] <= k)), data.copy()


def last(data, net, k):
    y = net(data[:2])
    data[-k - 1] *= 0.5
    return y


def masked(data, net, k):
    return F.sum(F.where(np.arange(6)[:, None] + k < 2 * k, F.exp(data[:6]), data[:6])), np.arange(3) * k


def of_variables(data, net, k):
    return net(data)[k:k + 2]


def beyond(data, net, k):
    return F.sum(net(data[k * 2:k * 2 + 2])) * data[k * 3].sum()


@pytest.mark.parametrize("body", [batch, row, columns, listed, element, strided, until, cached, last, masked, of_variables, beyond])
@pytest.mark.parametrize("kind", [int, np.int64])
def test_places_that_change(mode, body, kind):
    def make(wrap):
        net, data = L.Linear(3, 2), arr(12, 3).copy()
        net.W.array[...], net.b.array[...] = arr(2, 3), 0
        numbers = [0, 1, 2, 3, 1, 0, 2]

        @wrap
        def f(k):
            return body(data, net, k)

        def turn():
            numbers.append(numbers.pop(0))
            return f(kind(numbers[0]))

        def wrong(k):
            try:
                return f(kind(k))
            except (IndexError, ValueError) as error:
                return type(error), str(error)
        return [net], [turn, lambda: wrong(4), lambda: wrong(-1), lambda: wrong(12), lambda: wrong(100)]
    w = check(make, mode, tolerance=10.0)
    if kind is int and body in (batch, row, columns, listed, element, cached, last, masked):
        skipped(w, mode)


def test_a_ring(mode):
    def make(wrap):
        net, ring, state = L.Linear(3, 3), arr(8, 3).copy(), {"at": 0, "full": False}
        net.W.array[...], net.b.array[...] = arr(3, 3), 0

        @wrap
        def f(x):
            y, at = net(x), state["at"]
            loss = F.sum(F.tanh(F.matmul(y, ring, transb=True)))
            ring[at:at + len(x)] = y.array
            state["at"] = (at + len(x)) % len(ring)
            return loss, ring.copy()
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * 2), lambda: f(arr(3, 3)), lambda: f(arr(1, 3))]
    skipped(check(make, mode, tolerance=10.0), mode)


class Task(Enum):
    SUM = "s"
    MEAN = "m"


class Named(Enum):
    SUM = "s"
    MEAN = "m"

    def __hash__(self):
        hashed.append(self.name)
        return len(hashed) * 0 + 3


hashed = []


def stored(x, t, of):
    y = of["heads"][t](x)
    of["seen"][t] = y.item()
    return y


def counted(x, t, of):
    of["counts"][t] += 1
    return x * of["counts"][t]


def logged(x, t, of):
    of["logs"][t].append(F.sum(x).item())
    return x * len(of["logs"])


@pytest.mark.parametrize("body, follows", [
    (lambda x, t, of: of["heads"][t](x), True),
    (lambda x, t, of: of["heads"].get(t, F.exp)(x), True),
    (lambda x, t, of: x * 2 if t in of["heads"] else x, True),
    (stored, True), (counted, True), (logged, True),
    (lambda x, t, of: {t: x, of["other"]: x * 2}[t] + {k: v(x) for k, v in of["heads"].items()}[of["other"]], True),
    (lambda x, t, of: x * 2 if t in of["active"] else x, True),
    (lambda x, t, of: x * 2 if t in (of["other"], None) else x, True),
    (lambda x, t, of: x * 2 if t in {of["other"]} else x, False),
    (lambda x, t, of: x * (hash(t) == hash(of["other"])) + x * (t.__hash__() == 5), False),
    (lambda x, t, of: (of["active"].add(t), x * len(of["active"]))[1], False),
    (lambda x, t, of: of["heads"][t, 1](x) if (t, 1) in of["heads"] else of["heads"][t](x), False),
])
@pytest.mark.parametrize("kind", [Task, Named])
def test_members_of_enumerations_as_keys(mode, body, follows, kind):
    """One network with a head for each task; which one it is comes with the call."""
    hashed.clear()

    def make(wrap):
        heads = {kind.SUM: F.sum, kind.MEAN: F.average}
        of = {"heads": heads, "seen": {}, "counts": dict.fromkeys(kind, 0), "other": kind.MEAN, "active": {kind.SUM}, "logs": {t: [] for t in kind}}

        @wrap
        def f(x, t):
            before = len(hashed)
            y = body(F.tanh(x), t, of)
            return y * 2, len(hashed) - before

        def replaced():
            heads[kind.SUM], heads[kind.MEAN] = heads[kind.MEAN], heads[kind.SUM]
            return f(arr(2, 3), kind.SUM)

        def gone():
            kept = heads.pop(kind.SUM)
            try:
                return f(arr(2, 3), kind.SUM)
            except KeyError as error:
                return str(error)
            finally:
                heads[kind.SUM] = kept

        def renamed():
            kind.SUM._name_ = "TOTAL"
            try:
                return f(arr(2, 3), kind.SUM)
            except KeyError as error:
                return type(error)
            finally:
                kind.SUM._name_ = "SUM"

        def hashed_otherwise():
            kind.__hash__, own = lambda self: 3, kind.__hash__
            try:
                return f(arr(2, 3), kind.SUM)
            except KeyError as error:
                return type(error)
            finally:
                if kind is Named:
                    kind.__hash__ = own
                else:
                    del kind.__hash__
        calls = [lambda: f(arr(2, 3), kind.SUM), lambda: f(arr(2, 3, seed=1), kind.MEAN), replaced, gone, renamed, hashed_otherwise]
        return [of["seen"], of["counts"], of["active"], of["logs"]], calls
    world = check(make, mode, steps=[0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 2, 0, 1, 3, 0, 1, 2, 4, 0, 1, 0, 1, 5, 0, 1, 0])
    if follows and kind is Task:
        skipped(world, mode, least=5)
