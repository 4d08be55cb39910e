"""Arrays that are arguments, or members of some, and that the program writes into: caches of keys and values, buffers, sums over batches."""
import gc
import warnings
import weakref

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


def attention(wrap):
    """A step of attention over what a cache holds so far."""
    lin = L.Linear(3, 3)

    @wrap
    def step(keys, values, x, n):
        y = lin(x)
        keys[n], values[n] = y.array[0], y.array[0] * 2
        weights = F.softmax(F.matmul(y, keys, transb=True))
        return F.matmul(weights, values)
    return step


def test_a_cache_that_is_filled(mode):
    def make(wrap):
        step, keys, values, at = attention(wrap), np.zeros((40, 3), "f"), np.zeros((40, 3), "f"), [0]

        def call():
            at[0] += 1
            return step(keys, values, arr(1, 3, seed=at[0]), at[0] % 40)

        def outside():
            return step(keys, values, arr(1, 3), 40)

        def other():
            return step(arr(40, 3), values, arr(1, 3), 3)

        def twice():
            return step(keys, keys, arr(1, 3), 3)

        def part():
            return step(keys, values, keys[3:4], 3)
        return (keys, values), [call, outside, other, twice, part]
    skipped(check(make, mode), mode)


def test_arrays_that_share_memory(mode):
    """The call takes parts of what it writes, by another name, from some call on."""
    def make(wrap):
        a, x, lin = arr(4, 3), arr(2, 3), L.Linear(3, 3)
        holder = {"x": x}

        @wrap
        def step(a, x):
            a[1:3] = lin(holder["x"]).array
            a *= 0.5
            return F.sum(lin(x)) + F.sum(lin(a)), x

        def sharing():
            holder["x"] = a[2:4]
            try:
                return step(a, x)
            finally:
                holder["x"] = x
        return (a, x), [lambda: step(a, x), lambda: step(a, a[0:2]), sharing, lambda: step(a.copy(), x), lambda: step(a[:], x), lambda: step(a.T[:3].T, x)]
    skipped(check(make, mode), mode)


def test_the_array_of_a_parameter(mode):
    def make(wrap):
        model = hnn.Chain(a=L.Linear(3, 3), b=L.Linear(3, 3))

        @wrap
        def step(w, x):
            y = model.a(x)
            w += y.array
            return F.sum(model.b(F.tanh(model.a(x)))), w
        free = arr(3, 3)
        return model, [lambda: step(free, arr(3, 3)), lambda: step(model.a.W.array, arr(3, 3)), lambda: step(model.b.W.array, arr(3, 3)),
                       lambda: step(model.b.W.array[::-1], arr(3, 3))]
    skipped(check(make, mode), mode)


def test_what_an_array_is_may_change(mode):
    def make(wrap):
        a, b = arr(4, 3), arr(4, 3)
        a[0] = 1

        @wrap
        def step(a, x):
            a[0] = a[0] * 0.5 + x
            return F.sum(F.exp(a))

        def frozen():
            a.flags.writeable = False
            try:
                return step(a, 1.0)
            finally:
                a.flags.writeable = True

        def reshaped():
            a.shape = 3, 4
            try:
                return step(a, 1.0)
            finally:
                a.shape = 4, 3
        return (a, b), [lambda: step(a, 1.0), frozen, reshaped, lambda: step(b, 1.0), lambda: step(hnn.Variable(a), 1.0), lambda: step(a.astype("d"), 1.0)]
    skipped(check(make, mode), mode)


def test_members_of_arguments(mode):
    def make(wrap):
        lin, caches, named = L.Linear(3, 3), [np.zeros((5, 3), "f"), np.zeros((5, 3), "f")], {"sum": np.zeros(3, "f"), "count": np.zeros((), "i8")}

        @wrap
        def step(caches, x, totals=None):
            for cache in caches:
                x = lin(x)
                cache[2] = x.array[0]
            totals["sum"] += x.array[0]
            totals["count"] += 1
            return F.sum(x * caches[0])

        def swapped():
            caches.reverse()
            try:
                return step(caches, arr(1, 3), totals=named)
            finally:
                caches.reverse()
        return (caches, named), [lambda: step(caches, arr(1, 3), totals=named), swapped, lambda: step(caches[:1], arr(1, 3), totals=named),
                                 lambda: step(caches, arr(1, 3), totals={"count": named["count"], "sum": named["sum"]})]
    skipped(check(make, mode), mode)


def test_beside_an_update(mode):
    """Written before, between and behind an update; what decides afterwards cannot be taken back."""
    def make(wrap):
        model = L.Linear(3, 2)
        optimizer, losses = optimizers.Adam(0.01).setup(model), np.zeros(8, "f")

        @wrap
        def step(losses, x, n, limit):
            losses[n] = 0
            loss = F.mean(model(x) ** 2)
            model.cleargrads()
            loss.backward()
            losses[n - 1] = loss.array * 3
            if float(loss.array) > limit:
                losses[0] = 7
                return None
            optimizer.update()
            losses[n] = loss.array
            return losses.mean()
        return (model, losses), [lambda: step(losses, arr(4, 3), 3, 1e9), lambda: step(losses, arr(4, 3), 3, -1.0), lambda: step(losses, arr(4, 3), 9, 1e9)]
    skipped(check(make, mode), mode)


def test_gradients_that_rest_on_what_was_there(mode):
    """Backward after an array was written that an operation had taken."""
    def make(wrap):
        lin, a = L.Linear(3, 3), arr(2, 3)

        @wrap
        def late(a):
            loss = F.sum(lin(a) ** 2)
            a *= 0.5
            lin.cleargrads()
            loss.backward()
            return loss

        @wrap
        def early(a):
            a *= 0.9
            loss = F.sum(lin(a) ** 2)
            lin.cleargrads()
            loss.backward()
            return loss

        @wrap
        def left(a):
            a += 0.1
            return F.sum(lin(a) ** 2)

        def outside():
            loss = left(a)
            lin.cleargrads()
            loss.backward()
            return loss
        return (lin, a), [lambda: late(a), lambda: early(a), outside]
    check(make, mode)


def test_errors_take_nothing_with_them(mode):
    def make(wrap):
        lin, a = L.Linear(3, 3), np.zeros((4, 3), "f")

        @wrap
        def step(a, x, t):
            a[0] += x[0]
            y = F.softmax_cross_entropy(lin(x), t)
            a[1] = y.array
            return y
        good, bad = np.array([0, 2], "i"), np.array([0, 7], "i")
        return a, [lambda: step(a, arr(2, 3), good), lambda: step(a, arr(2, 3), bad), lambda: step(a, arr(2, 3), good[:1])]
    skipped(check(make, mode), mode)


LAYOUTS = {
    "columns": lambda: np.asfortranarray(arr(4, 3)), "a part": lambda: arr(5, 4)[1:, :3], "backwards": lambda: arr(4, 3)[::-1],
    "transposed": lambda: arr(3, 4).T, "repeated": lambda: np.lib.stride_tricks.as_strided(arr(3), (4, 3), (0, 4)),
    "double": lambda: arr(4, 3, dtype="float64"),
    "half": lambda: arr(4, 3).astype("e"), "big-endian": lambda: arr(4, 3).astype(">f4"), "a matrix": lambda: arr(4, 3).view(np.recarray),
    "of a buffer": lambda: np.frombuffer(bytearray(arr(4, 3).tobytes()), "f").reshape(4, 3),
    "no memory": lambda: np.frombuffer(arr(4, 3).tobytes(), "f").reshape(4, 3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arrays_of_all_kinds(layout, mode):
    def make(wrap):
        a, lin, numbers = LAYOUTS[layout](), L.Linear(3, 3), [np.zeros((), "f"), np.zeros((0, 3), "f")]

        @wrap
        def step(a, x, number, empty):
            before = F.sum(lin(np.array(a, "f")))
            a[1] = lin(x).array[0]
            a[:, 2] *= 0.5
            number += 1
            number[...] = number * 0.5
            empty[...] = 3
            return before, F.sum(lin(np.array(a, "f"))), F.sum(F.exp(a)), number + 0
        return (a, numbers), [lambda: step(a, arr(1, 3), *numbers), lambda: step(a, arr(1, 3), numbers[0].reshape(()), numbers[1])]
    check(make, mode)


def test_a_check_of_what_is_replayed(mode):
    def make(wrap):
        step, keys, values = attention(wrap), np.zeros((4, 3), "f"), np.zeros((4, 3), "f")
        return (keys, values), [lambda: step(keys, values, arr(1, 3), 2)]
    check(make, mode, check=1.0)


def test_plans_keep_no_arguments_alive(mode):
    lin = L.Linear(3, 3)

    @hnn.trace(mode=mode)
    def step(a, x):
        a[0] = lin(x).array[0]
        return F.sum(lin(a))
    gc.disable()
    try:
        with hnn.using_config("trace_compile", "sync"), warnings.catch_warnings():
            warnings.simplefilter("default")
            for _ in range(20):
                a = np.zeros((4, 3), "f")
                for k in range(100):
                    step(a, arr(1, 3, seed=k))
                gone = weakref.ref(a)
                del a
                assert gone() is None
    finally:
        gc.enable()
    assert mode != "auto" or step.stats.python_skipped > 1900      # those of the last array, too
