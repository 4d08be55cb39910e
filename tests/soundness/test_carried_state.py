"""Tuples and lists of arrays that a function keeps from one call to the next: hidden states, moments of an optimizer by hand, what belongs together."""
from collections import deque, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
from carrying import carrying
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)
Pair = namedtuple("Pair", "h c")


def pair(k=0):
    return arr(1, 3, seed=k), arr(1, 3, seed=k + 1) + 2


def by_attribute(box, x):
    h, c = box.state
    h, c = np.float32(0.5) * h + x, c * np.float32(0.5) + x ** 2
    box.state = h, c
    return (h / c).sum()


def by_key(box, x):
    h, c = box.table["state"]
    box.table["state"] = (np.tanh(h + x), c)
    return h


def by_default(box, x):
    h, c = box.table.setdefault("more", (np.zeros((1, 3), "f"), np.ones((1, 3), "f")))
    box.table["more"] = h + c, c * x
    return box.table.get("state")[0]


def in_a_list(box, x):
    for k, (h, c) in enumerate(box.rows):
        box.rows[k] = (h + x, c)
        x = x + h
    return x


def named(box, x):
    h = box.named.h + x
    box.named = box.named._replace(h=h)
    return box.named.c


def nested(box, x):
    (h, c), n = box.nested
    box.nested = (c, h + x), n + 1
    return h * n


def looked_at(box, x):
    if box.state is None or len(box.state) != 2 or not isinstance(box.state, tuple):
        return x
    box.state = (box.state[1], box.state[-2] + x)
    return box.state[0]


def swapped(box, x):
    box.state, box.other = box.other, box.state
    return box.state[0] + x, box.state


def kept(box, x):
    box.history.append(box.state)
    box.state = (box.state[0] + x, box.state[1])
    return box.state, box.history[-1]


def read_again(box, x):
    before = box.state
    box.state = (before[0] * 2, before[1])
    box.state = (box.state[0] + x, before[0])
    return before, box.state


def in_place(box, x):
    h, c = box.state
    h += x
    c *= np.float32(0.5)
    box.state = c, h
    return h.sum()


def counting(box, x):
    t, m = box.counted
    t += 1
    box.counted = t, 0.9 * m + t
    return x * (m / (1 - 0.9 ** t))


BODIES = [by_attribute, by_key, by_default, in_a_list, named, nested, looked_at, swapped, kept, read_again, in_place, counting]


@pytest.mark.parametrize("body", BODIES)
def test_arrays(mode, body):
    def make(wrap):
        box, W, f, put = carrying(wrap, body, state=pair(), other=pair(4), table={"state": pair(1)}, rows=[pair(2), pair(3)], named=Pair(*pair(5)),
                                  nested=(pair(6), 0), history=[], counted=(0, 0.0))
        both = arr(1, 3)
        return [box, W], [
            lambda: f(arr(1, 3)), lambda: put(state=(both, both)), lambda: put(state=pair(), nested=(pair(), 1.5), counted=(3, 1)),
            lambda: put(state=(arr(3), arr(3))), lambda: put(state=(arr(1, 3, dtype="float64"), arr(1, 3))), lambda: put(state=list(pair())),
            lambda: put(state=(W.array, pair()[0])), lambda: put(state=(pair()[0][::-1], pair()[0])), lambda: put(state=(*pair(), 1)),
            lambda: put(state=pair(), other=box.state), lambda: put(state=box.other), lambda: put(named=Pair(1.0, 2.0)), lambda: put(state=None)]
    world = check(make, mode)
    skipped(world, mode, 5 if body in (in_place, kept) else 10)


def carried(net, box, x):
    c, h = net.cell(*box.state, x)
    box.state = c, h
    return F.sum(h)


def cut(net, box, x):
    c, h = net.cell(*box.state, x)
    loss = F.sum(h)
    net.cleargrads()
    loss.backward()
    c.unchain_backward()
    h.unchain_backward()
    box.state = c, h
    return loss


def detached(net, box, x):
    c, h = net.cell(*box.state, x)
    box.state = hnn.Variable(c.array), hnn.Variable(h.array)
    loss = F.sum(h)
    net.cleargrads()
    loss.backward()
    return loss.array


def grown(net, box, x):
    """Whose graph goes on through earlier calls."""
    box.state = net.cell(*box.state, x)
    return F.sum(box.state[1])


@pytest.mark.parametrize("body", [carried, cut, detached, grown])
def test_variables(mode, body):
    def make(wrap):
        net = hnn.Chain(cell=L.StatelessLSTM(3, 3))
        box = SimpleNamespace(state=(var(2, 3), var(2, 3, seed=1)))
        for p in net.params():
            p.array[...] = arr(*p.shape) * 0.3

        @wrap
        def f(x):
            return body(net, box, x)

        def put(*state):
            box.state = state
            return f(arr(2, 3))

        def without():
            with hnn.no_backprop_mode():
                return f(arr(2, 3))

        def later():
            y = f(arr(2, 3))
            if isinstance(y, hnn.Variable) and y.creator is not None:
                net.cleargrads()
                y.backward()
            return y
        v = var(2, 3)
        return [net, box], [lambda: f(arr(2, 3)), lambda: put(v, v), without, lambda: put(var(2, 3), None), later, lambda: put(var(2, 3), var(2, 3, seed=1))]
    world = check(make, mode, tolerance=10.0)
    if body in (cut, detached):
        skipped(world, mode, 5)


def over_all(rows, x):
    for k, h in enumerate(rows):
        rows[k] = h * np.float32(0.5) + x


def by_number(rows, x):
    for k in range(len(rows)):
        rows[k] = rows[k] * np.float32(0.5) + x


def side_by_side(rows, x):
    for k, (h, y) in enumerate(zip(rows, [x, x * 2], strict=True)):
        rows[k] = np.maximum(h, y)
    if rows:
        rows[0] = rows[0] - rows[1]


def all_at_once(rows, x):
    rows[0], rows[-1] = rows[-1], np.float32(0.5) * sum(rows) + x


def again_and_again(rows, x):
    for _ in range(2):
        for k, h in enumerate(rows):
            rows[k] = h * np.float32(0.5) + x
        rows[0] = sum(rows) / np.float32(len(rows) + 1)


@pytest.mark.parametrize("body", [over_all, by_number, side_by_side, all_at_once, again_and_again])
def test_lists_of_arrays_that_are_replaced(mode, body):
    def make(wrap):
        rows = [arr(3), arr(3, seed=1)]

        @wrap
        def f(x):
            body(rows, x)
            return F.sum(F.exp(x)), rows[0].sum()

        def put(*given):
            rows[:] = given
            return f(arr(3))
        a = arr(3, seed=2)
        return rows, [lambda: f(arr(3)), lambda: put(a, a), lambda: put(arr(3), 0.5), lambda: put(arr(3), arr(1, 3)), lambda: put(arr(3), a, a), lambda: put(),
                      lambda: put(arr(3), arr(3, dtype="float64")), lambda: put(arr(3), arr(3))]
    world = check(make, mode)
    skipped(world, mode, 5)


def over_and_over(box, x):
    for k in range(4):
        box.state = F.tanh(box.state * x) if k else x
        box.table["last"] = k
        box.rows[0] = box.state
    return box.state


def reset_first(box, x):
    box.state = None
    for k in range(3):
        box.state = x if box.state is None else box.state * x
        box.log.append(box.state if k == 1 else k)
    box.state, last = None, box.state
    return last


def new_names(box, x):
    """Members of a dict stay in the order in which they came first."""
    for k in range(2):
        box.table["a"] = x * k
        box.table["b"] = k
        box.late = k
    box.table["a"] = x + 1
    return list(box.table)


def between(box, x):
    box.state = x
    box.array += 1
    box.state = x * 2
    box.array[...] = box.array * np.float32(0.5)
    box.state = box.array
    return box.state * x


@pytest.mark.parametrize("body", [over_and_over, reset_first, new_names, between])
@pytest.mark.parametrize("trained", [False, True])
def test_places_that_are_assigned_again_and_again(mode, body, trained):
    """Of the values that a call assigns in one place, the last is there when it ends."""
    def make(wrap):
        net = L.Linear(3, 3)
        opt = hnn.optimizers.SGD(0.1).setup(net)
        box = SimpleNamespace(state=None, table={}, rows=[None], log=[], array=arr(2, 3))

        @wrap
        def f(x):
            h = net(x)
            found = body(box, h)
            if trained:
                net.cleargrads()
                F.sum(h ** 2).backward()
                opt.update()
            return found

        def cleared():
            box.table.clear()
            box.log.clear()
            return f(arr(2, 3))
        return [net, box], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), cleared]
    world = check(make, mode)
    if body in (over_and_over, reset_first):
        skipped(world, mode)


def stacked(kept, x):
    kept.append(x * 2)
    return np.stack(kept).mean(0)


def gone_through(kept, x):
    total = x
    for a in reversed(kept):
        total = total + a * np.float32(0.5)
    kept.append(total)
    return total


def first_and_last(kept, x):
    if not kept or len(kept) < 2:
        kept.append(x)
    kept.append(kept[-1] * np.float32(0.5) + kept[0])
    return kept[0] - kept[-2]


def taken_out(kept, x):
    kept.append(x)
    oldest = kept.popleft() if kept.maxlen is None else kept[0]
    return np.concatenate(list(kept), axis=1)[:, -3:] + oldest


def zipped(kept, x):
    y = x
    if kept:
        for k, (a, b) in enumerate(zip(kept, list(kept)[1:])):
            y = y + (a - b) * np.float32(k)
    kept.append(y)
    return y


def put_at_once(kept, x):
    kept.extend([x, x * 2])
    x += 1
    return sum(kept)


@pytest.mark.parametrize("body", [stacked, gone_through, first_and_last, taken_out, zipped, put_at_once])
@pytest.mark.parametrize("most", [3, None])
def test_arrays_in_a_deque(mode, body, most):
    def make(wrap):
        net, kept = L.Linear(3, 3), deque([arr(2, 3), arr(2, 3, seed=5)], most)
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x):
            loss = F.sum(net(body(kept, x)) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def step(x):
            while most is None and len(kept) > 3:
                kept.popleft()
            return f(x)

        def cleared():
            kept.clear()
            return step(arr(2, 3))

        def twice():
            x = arr(2, 3)
            kept.append(x)
            return step(x), step(x)

        def other(thing):
            kept.append(thing)
            return step(arr(2, 3))
        return [net, kept], [lambda: step(arr(2, 3)), cleared, twice, lambda: other(arr(2, 3)[::-1]), lambda: other(0.5), lambda: step(arr(2, 3, seed=2))]
    world = check(make, mode)
    if most is not None and body is not put_at_once:
        skipped(world, mode)


@pytest.mark.parametrize("make_box", [list, deque])
def test_the_truth_of_what_grows(mode, make_box):
    def make(wrap):
        net, log = L.Linear(3, 2), make_box()

        @wrap
        def f(x):
            y = F.sum(net(x))
            better = not log or float(y.array) > log[-1]
            if log:
                y = y * 2
            log.append(float(y.array))
            return y, better

        def cleared():
            log.clear()
            return f(arr(2, 3))
        return [net, log], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), cleared]
    skipped(check(make, mode), mode)
