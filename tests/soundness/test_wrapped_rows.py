"""Rows of arrays from outside, of which a Variable is made: by ``as_variable``, or inside of functions that take arrays and Variables."""
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_as_variable_of_rows(mode):
    def make(wrap):
        lin = L.Linear(3, 2)

        @wrap
        def step(xs, y):
            h = hnn.as_variable(xs[0])
            for k in range(1, len(xs)):
                h = h * 0.5 + hnn.as_variable(xs[k])
            loss = F.sum(lin(h) ** 2) + F.sum(hnn.as_variable(y) * xs[1])
            lin.cleargrads()
            loss.backward()
            return loss, hnn.as_variable(xs[1]), lin.W.grad

        shared = arr(4, 2, 3, seed=9)

        def call(seed=[0]):      # noqa: B006, counts calls
            seed[0] += 1
            return step(arr(4, 2, 3, seed=seed[0]), arr(2, 3, seed=seed[0] + 100))

        def a_row():
            return step(shared, shared[1])

        def another_row():
            return step(shared, shared[2])

        def changed():
            loss, row, _ = step(shared, arr(2, 3))
            row.array[...] = 2
            return loss, step(shared, arr(2, 3))
        return (lin, shared), [call, a_row, another_row, changed, call]
    skipped(check(make, mode), mode, 6)


def test_rows_that_are_returned(mode):
    def make(wrap):
        kept = []

        @wrap
        def step(xs, more):
            row = xs[1]
            kept[-3:] = [row, xs[1]]
            return row, [row, xs[2]], {"other": more[0][1]}, F.sum(hnn.Variable(row) * xs[0])

        xs, draws = arr(4, 2, 3), [0]

        def call():
            draws[0] += 1
            return step(arr(4, 2, 3, seed=draws[0]), (xs, 1.0))

        def same():
            row, (again, other), *_ = result = step(xs, (xs, 2.0))
            again[...] += 1
            return result, row is again, other.base is xs, xs

        def written():
            row, *_ = step(xs, [arr(2, 2, 3), 2.0])
            row[0] = 5
            return step(xs, (xs, 1.0))
        return (xs, kept), [call, same, written]
    check(make, mode)


class Holder:
    """Has an array that is replaced."""


def test_rows_of_an_array_that_is_replaced(mode):
    def make(wrap):
        holder, draws = Holder(), [0]
        holder.x = arr(3, 4)

        @wrap
        def step(x):
            row, wrapped = holder.x[1], hnn.as_variable(holder.x[2])
            holder.x = x
            return row, wrapped, holder.x[1], F.sum(wrapped * x[0])

        def call():
            draws[0] += 1
            return step(arr(3, 4, seed=draws[0]))

        def again():
            return step(holder.x)
        return holder, [call, again]
    check(make, mode)


def test_a_random_field_over_arrays(mode):
    def make(wrap):
        link, draws = L.CRF1d(3), [0]

        @wrap
        def step(xs, ts):
            loss = link([xs[k] for k in range(4)], [ts[k] for k in range(4)])
            link.cleargrads()
            loss.backward()
            return loss, link.cost.grad

        def call():
            draws[0] += 1
            return step(arr(4, 5, 3, seed=draws[0]), (arr(4, 5, seed=draws[0]) > 0).astype("i"))
        return link, [call]
    skipped(check(make, mode), mode, 6)
