"""``heapq``, ``bisect.insort``, ``sorted`` and ``nlargest`` on what the call makes."""
import bisect
import heapq

import numpy as np
import pytest
from worlds import MODES, arr, check, check_errors, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def by_priority(x, net):
    heap, out = [(2, "c", x), (0, "a", x * 2), (1, "b", None)], []
    heapq.heapify(heap)
    heapq.heappush(heap, (0, "b", x * 3))
    while heap:
        p, name, value = heapq.heappop(heap)
        if p == 1:
            heapq.heappush(heap, (5, name, x))
        out.append((p, name, value))
    return out, heapq.heappushpop([1, 3], 0), heapq.heapreplace([1, 3, 2], 4), heapq.heappushpop([(1, x), (3, x)], (2, net(x)))


def inserted(x, net):
    places, named = [1, 3, 5], [(1, "a"), (3, "b")]
    bisect.insort(places, 4)
    bisect.insort_left(named, (3, "a"))
    bisect.insort_right(places, 3)
    return places, named


def by_value(x, net):
    """The order of what has been computed belongs to the path."""
    heap = [(v.item(), k) for k, v in enumerate((F.sum(net(x)), F.sum(x), F.max(x)))]
    heapq.heapify(heap)
    return heapq.heappop(heap), heap


def after_an_update(x, net, opt):
    y = net(x)
    net.cleargrads()
    F.sum(y * y).backward()
    opt.update()
    values = y.array[:, 0].tolist()
    heap = values[:]
    heapq.heapify(heap)
    return heapq.nlargest(2, values), sorted(values), heap[0]


@pytest.mark.parametrize("body", [
    by_priority, inserted, by_value,
    lambda x, net: (heapq.nlargest(2, [3, 1, 2]), heapq.nsmallest(1, ["b", "a"]), heapq.nlargest(5, [(1, "a"), (1, "b")]), heapq.nsmallest(0, [1])),
    lambda x, net: (heapq.nlargest(2, net(x).array[:, 0].tolist()), heapq.nsmallest(2, [F.sum(x).item(), 0.5])),
    lambda x, net: (sorted(net(x).array[:, 0].tolist()), sorted([F.sum(x).item(), 1.5, 0.5], reverse=True)),
    lambda x, net: sorted([(1, "b"), (1, "a"), (0, "z")]) + sorted([(1, 2.0), (1, 1.0)], reverse=True),
    lambda x, net: heapq.nlargest(2, [(F.sum(x).item(), "a"), (F.max(x).item(), "b"), (0.5, "c")]),
])
def test_orderings(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        f = wrap(lambda x: (body(x, net), F.sum(net(x))))
        return [net], [lambda k=k: f(arr(4, 3, seed=k)) for k in range(3)] + [lambda: f(arr(4, 3) * np.float32("nan"))]
    skipped(check(make, mode), mode)


def test_orderings_after_an_update(mode):
    def make(wrap):
        net = L.Linear(3, 3)
        opt = hnn.optimizers.SGD(0.1).setup(net)
        f = wrap(lambda x: after_an_update(x, net, opt))
        return [net], [lambda k=k: f(arr(2, 3, seed=k)) for k in range(3)] + [lambda: f(arr(2, 3) * np.float32("nan"))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda x: heapq.heappop([]), lambda x: heapq.heappush([1], "a"), lambda x: sorted([1, "a"]), lambda x: heapq.heapify([(1, x), (1, x)]),
    lambda x: heapq.nlargest("a", [1, 2]), lambda x: bisect.insort([x], 1), lambda x: sorted([(1, x), (1, x * 2)]),
])
def test_errors(mode, body):
    check_errors(body, mode, arr(2, 3))


def test_ties_of_equal_numbers(mode):
    """Numbers that are equal on one call and not on another take other paths."""
    def make(wrap):
        f = wrap(lambda x, y: (heapq.nsmallest(1, [(F.sum(x).item(), "b"), (F.sum(y).item(), "a")]), F.sum(x)))
        return [], [lambda: f(arr(3), arr(3)), lambda: f(arr(3), arr(3, seed=1)), lambda: f(arr(3, seed=1), arr(3))]
    skipped(check(make, mode), mode)
