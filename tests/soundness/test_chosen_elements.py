"""Elements of Variables at places that NumPy's ints tell: labels and actions, which are others on every call, on one path."""
import copy

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def given(y, t):
    return y[0, t]


def negative(y, t):
    return F.log_softmax(y)[-1, -t]


def over_labels(y, t):
    return sum(y[k, label] for k, label in enumerate([t, t - t, t]))


def of_vector(y, t):
    return y[1][t] + F.get_item(y[0], t)


def drawn(y, t):
    return y[np.int64(1), np.random.randint(4, dtype=np.int64)]


def largest(y, t):
    return y[0, y.array[0].argmax()] - y[t % 2, F.argmax(y, axis=1).array[1]]


def unsigned(y, t):
    return y[np.uint8(2), t.astype(np.int32)]


def whole_row(y, t):
    return F.sum(y[t % 3])


def by_list(y, t):
    return F.sum(F.exp(y)[[t % 3, 0]] * y[[int(t) % 2, -1]])


def by_range(y, t):
    return F.sum(y[range(3), np.array([t, 0, t])]) + F.sum(y[range(1, 3)])


def of_a_copy(y, t):
    z, w = copy.deepcopy(y.array), copy.copy(y.array)
    z[0, t] = 5
    return F.sum((y - z) ** 2 * w)


def with_itself(y, t):
    z = y[0, t]
    return F.sum(F.where(z.array > 0, z * y[0, t], z)) + z.array


@pytest.mark.parametrize("body", [given, negative, over_labels, of_vector, drawn, largest, unsigned, whole_row, by_list, by_range, of_a_copy, with_itself])
def test_labels_and_actions(mode, body):
    def make(wrap):
        net = L.Linear(3, 4)
        net.W.array[...], net.b.array[...] = arr(4, 3), 0
        optimizer = hnn.optimizers.Adam().setup(net)
        labels = [0, 1, 2, 3, 1, 0, 2]

        @wrap
        def step(x, t):
            loss = body(net(x), t)
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss

        def turn(k=0):
            labels.append(labels.pop(0))
            return step(arr(3, 3, seed=k), np.int64(labels[0]))

        def wrong(t):
            try:
                return step(arr(3, 3), t)
            except IndexError as error:
                return str(error).split("\n")[0]
        return [net], [turn, lambda: turn(1), lambda: wrong(np.int64(4)), lambda: wrong(np.int64(-9)), lambda: step(arr(3, 3), np.int32(1))]
    skipped(check(make, mode, tolerance=10.0), mode, 0 if body is whole_row else 10)


def test_one_path_for_all_labels(mode):
    traced = hnn.trace(lambda x, ts: F.sum(F.stack([F.tanh(x)[0, t] for t in ts])), mode=mode)
    with hnn.using_config("trace_compile", "sync"):
        for k in range(40):
            traced(arr(2, 5), np.random.default_rng(k).integers(0, 5, 4))
    assert (traced.stats.recordings, traced.stats.paths) == (1, 1)


def test_gradients_of_gradients(mode):
    def make(wrap):
        @wrap
        def f(x, t):
            x = hnn.Variable(x)
            g, = hnn.grad([F.exp(x)[1, t] ** 2], [x], enable_double_backprop=True)
            x.cleargrad()
            F.sum(g * g * x).backward()
            return g, x.grad
        return [], [lambda: f(arr(2, 3), np.int64(1)), lambda: f(arr(2, 3), np.int64(2))]
    check(make, mode, tolerance=10.0)


def test_the_array_is_not_a_view(mode):
    """NumPy gives a scalar: what is written into the element does not change the whole, in either world."""
    def make(wrap):
        x = hnn.Variable(arr(2, 3).copy())
        f = wrap(lambda t: x[0, t])

        def call(t):
            y = f(t)
            y.array[...] = 7
            return y
        return [x], [lambda: call(np.int64(1)), lambda: call(np.int64(2))]
    check(make, mode)


@pytest.mark.parametrize("use", [
    "y * t.item()", "F.select_item(y, t[None])", "y * t.astype('f')", "y[:, :2] * t.clip(0, 1)", "F.embed_id(t.reshape(1), y)", "y + t.dtype.itemsize + t.ndim",
    "F.select_item(y, np.expand_dims(t, 0)) * t.max()", "y * t.transpose()", "y * t.T * t[()]",
])
def test_methods_of_numbers(mode, use):
    def make(wrap):
        f = wrap(eval(f"lambda y, t: {use}", {"F": F, "np": np}))
        return [], [lambda: f(hnn.Variable(arr(1, 3)), np.int64(0)), lambda: f(hnn.Variable(arr(1, 3)), np.int64(1)),
                    lambda: f(hnn.Variable(arr(1, 3)), np.int32(0)), lambda: f(hnn.Variable(arr(1, 3)), np.asarray(1))]
    skipped(check(make, mode), mode)


def test_each_action_has_one_plan(mode):
    """Another int than that of the plan which is asked first does not refute the others."""
    net = L.Linear(3, 4)
    net.W.array[...] = arr(4, 3)

    @hnn.trace(mode=mode)
    def act(x):
        p = F.softmax(net(x))
        a = int(np.random.choice(4, p=p.array[0].astype("d") * 0 + 0.25))
        return a, F.log(p[0, a])
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(120):
            act(arr(1, 3))
    assert act.stats.paths == 4
    if mode == "auto":
        assert len(act._memory.plans) == 4 and act.stats.python_skipped > 100


def test_layers_by_numbers_of_numpy(mode):
    def make(wrap):
        heads = hnn.ChainList(*[L.Linear(3, 2, initialW=arr(2, 3, seed=k)) for k in range(3)])
        f = wrap(lambda x, tasks: heads[tasks[0]](x))
        return [heads], [lambda: f(arr(2, 3), np.array([1, 0])), lambda: f(arr(2, 3), np.array([0, 0])), lambda: f(arr(2, 3), np.array([-1, 0]))]
    skipped(check(make, mode), mode)
