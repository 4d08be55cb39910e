"""What masks choose has another number of elements on every call: NumPy computes with it all the same, as long as nobody asks how many there are."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def reduced(net, x, table):
    some = x[x > 0]
    return some.sum(), (some * 2).max(), np.unique(x[:, 0].round())[0], some.argsort()[-2:].sum()


def means(net, x, table):
    """NumPy warns where there are none."""
    return x[x > 1].mean(), np.median(x[x < 0.5])


def masked_words(net, x, table):
    masked, words = np.random.rand(*x.shape) < 0.5, np.random.randn(*x.shape).astype("f")
    y = x.copy()
    y[masked] = words[masked]
    y[~masked] *= 2
    return F.sum(net(y) ** 2)


def by_places(net, x, table):
    y, rows, (i, j) = x.copy(), np.where(x[:, 0] > 0), np.nonzero(x > 0.5)
    y[rows] = 7
    y[i, j] += x[i, j]
    np.add.at(y, (i, j), 1)
    y[np.flatnonzero(x[:, 1] > 0), 0] -= 1
    return y


def rows_of_a_table(net, x, table):
    rows = np.unique((x[:, 0] * 2).astype(int))
    table[rows] = x[:, 1].sum()
    table[rows] -= 0.1 * table[rows]
    np.add.at(table, rows, 1)
    return table.sum()


def sampled(net, x, table):
    """As many as are needed of those that fit."""
    i, j = np.random.randint(0, 5, 40), np.random.randint(0, 3, 40)
    fits = x[i, j] < 1
    return net(x[np.stack([i[fits][:4], j[fits][:4]])[0]])


def in_containers(net, x, table):
    parts = {"few": x[x > 1], "many": x[x > -1]}
    rows = [v * 2 for v in (x[0][x[0] < 5], x[1][x[1] < 1])]
    return {k: float(v.sum()) for k, v in parts.items()}, sum(r.sum() for r in rows)


def statistics(values, scale=2):
    return (values * scale).sum(), np.max(values)


def handed_on(net, x, table):
    """Functions of the program's own take them, and arrays that change in place behind it."""
    zeros = np.zeros((3, 3))
    found = statistics(x[x > 0]), statistics(zeros)
    zeros[0] = 5
    return found, statistics(zeros, scale=3)


FREE = [reduced, masked_words, by_places, rows_of_a_table, sampled, in_containers, handed_on]


def asked(net, x, table):
    some = x[x > 0]
    return len(some), some.shape, some.size, some.sum()


def gone_through(net, x, table):
    return [float(v) for v in x[x > 0]], max(x[x > 0]), x[x > 0].tolist()


def given(net, x, table):
    return x[x > 0], {"places": np.nonzero(x > 0)}


def taken_by_an_operation(net, x, table):
    return net(x[x[:, 0] > 0])


def changed_in_place(net, x, table):
    some = x[x > 0]
    some *= 2
    some.sort()
    return some, x[x > 0][0]


def put_where_it_fits_by_chance(net, x, table):
    table[:2] = x[:, 0][x[:, 0] > 0]
    return table.sum()


def put_in_places_of_another_mask(net, x, table):
    table[:5][x[:, 0] > 0] = x[:, 1][x[:, 1] > 0]
    return table.sum()


def drawn_from(net, x, table):
    some = x[x > 0]
    return np.random.choice(some, 2), np.random.rand(*some.shape).sum(), some.sum()


def decided(net, x, table):
    some = x[x > 0]
    return some.sum() if some.any() and len(some) > 7 else some[0] if 0.5 in some or some.sum() > 3 else 0.0


ASKED = [means, asked, gone_through, given, taken_by_an_operation, changed_in_place, put_where_it_fits_by_chance, put_in_places_of_another_mask, drawn_from,
         decided]


@pytest.mark.parametrize("body", [*FREE, *ASKED])
def test_what_masks_choose(mode, body):
    def make(wrap):
        net, table, n = L.Linear(3, 2), np.ones(9, "f"), [0]
        f = wrap(lambda x: body(net, x, table))

        def call(rows=5):
            n[0] += 1
            return f(arr(rows, 3, seed=n[0]))
        return [net, table, n], [call, lambda: f(np.zeros((5, 3), "f")), lambda: f(np.full((5, 3), -2, "f")), lambda: call(rows=6)]
    world = check(make, mode)
    if body in FREE:
        skipped(world, mode)


def test_what_masks_choose_behind_an_update(mode):
    def make(wrap):
        net, n = L.Linear(3, 2), [0]
        opt = hnn.optimizers.SGD(0.01).setup(net)

        @wrap
        def f(x, t):
            y = net(x)
            loss = F.softmax_cross_entropy(y, t)
            net.cleargrads()
            loss.backward()
            opt.update()
            right = (y.array.argmax(1) == t)[t > 0]
            return loss, float(right.mean()), right.sum(), np.abs(net.W.array)[np.abs(net.W.array) > 0.5].sum()

        def call(few=False):
            n[0] += 1
            return f(arr(5, 3, seed=n[0]), (arr(5, seed=n[0]) > (9 if few else 0)).astype("i"))
        return [net, n], [call, lambda: call(few=True), call]
    skipped(check(make, mode), mode)
