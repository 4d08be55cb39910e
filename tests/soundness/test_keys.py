"""Rows and slices of arrays whose numbers change from call to call: batches of a data set, caches that are filled from the front, rings."""
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
