"""Elements and rows of Variables at places that ints tell: labels, actions and tokens, which are others on every call, on one path."""
import copy

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.trace.events import path_to, terminals

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
    return F.sum(y[t % 3] * y[-1 - t % 3])


def column(y, t):
    return F.sum(F.exp(y[:, t]) * y[1:, t][0]) + F.sum(F.get_item(y, (..., t)))


def beside_others(y, t):
    z = F.stack([y, y * y])
    return F.sum(z[t % 2, :, 1] * z[None, 1, ::2, t][0, 1]) + F.sum(z[:, -1, t][::-1] * z[t % 2, None, ..., 2][0, 0])


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


def labelled(wrap, body, optimizer, kind):
    """A layer, a step that trains it by what ``body`` makes of its result and a label, and calls of that with labels of a kind, which take turns."""
    net = L.Linear(3, 4)
    net.W.array[...], net.b.array[...] = arr(4, 3), 0
    optimizer.setup(net)
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
        return step(arr(3, 3, seed=k), kind(labels[0]))
    return net, step, turn


@pytest.mark.parametrize("body", [given, negative, over_labels, of_vector, drawn, largest, unsigned, whole_row, column, beside_others, by_list, by_range,
                                  of_a_copy, with_itself])
def test_labels_and_actions(mode, body):
    def make(wrap):
        net, step, turn = labelled(wrap, body, hnn.optimizers.Adam(), np.int64)

        def wrong(t):
            try:
                return step(arr(3, 3), t)
            except IndexError as error:
                return str(error).split("\n")[0]
        return [net], [turn, lambda: turn(1), lambda: wrong(np.int64(4)), lambda: wrong(np.int64(-9)), lambda: step(arr(3, 3), np.int32(1))]
    skipped(check(make, mode, tolerance=10.0), mode, 10)


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


@pytest.mark.parametrize("take", [lambda x, t: x[0, t], lambda x, t: x[t], lambda x, t: x[:, t], lambda x, t: x[0, int(t)]])
def test_the_array_is_not_a_view(mode, take):
    """What is written into the element, or into a row at a place which is data, does not change the whole, in either world."""
    def make(wrap):
        x = hnn.Variable(arr(2, 3).copy())
        f = wrap(lambda t: take(x, t))

        def call(t):
            y = f(t)
            y.array[...] = 7
            return y
        return [x], [lambda: call(np.int64(1)), lambda: call(np.int64(0))]
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


def test_all_actions_have_one_plan(mode):
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
    assert act.stats.paths == 2       # the first action's own, before another was met
    if mode == "auto":
        assert act.stats.python_skipped > 100


def test_layers_by_numbers_of_numpy(mode):
    def make(wrap):
        heads = hnn.ChainList(*[L.Linear(3, 2, initialW=arr(2, 3, seed=k)) for k in range(3)])
        f = wrap(lambda x, tasks: heads[tasks[0]](x))
        return [heads], [lambda: f(arr(2, 3), np.array([1, 0])), lambda: f(arr(2, 3), np.array([0, 0])), lambda: f(arr(2, 3), np.array([-1, 0]))]
    skipped(check(make, mode), mode)


def of_python(y, t):
    return y[0, t]


def computed(y, t):
    return y[-1, (t + 1) % 4] * 2 - y[int(F.argmax(y[0]).array), 1]


def twice_the_same(y, t):
    return y[t % 3, t] * y[t % 3, (2 * t) % 4] - F.sum(y)


def of_a_vector(y, t):
    return F.log_softmax(y)[1][t]


def at_two_lines(y, t):
    a = y[0, t]
    b = y[1, 3 - t]
    return a * b


def negated(y, t):
    return -y[0, -1 - t] * np.float32(0)       # the gradient is -0


def of_ints_drawn(y, t):
    return y[0, int(np.random.randint(4))] + y[int(np.random.choice(3)), t]


def in_a_loop(y, t):
    total = 0
    for k in range(3):
        total += F.exp(y)[k, (t + k) % 4] * y[k, 0]
    return total


def beside_constants(y, t):
    return y[1, t] * y[0, 2] - y[0, t] * y[2, 0]


PYTHON = [of_python, beside_constants, computed, twice_the_same, of_a_vector, at_two_lines, negated, of_ints_drawn, in_a_loop]


@pytest.mark.parametrize("body", PYTHON)
def test_ints_of_python(mode, body):
    def make(wrap):
        net, step, turn = labelled(wrap, body, hnn.optimizers.SGD(0.01), int)

        def wrong(t):
            try:
                return step(arr(3, 3), t)
            except (IndexError, TypeError) as error:
                return type(error), str(error).split("\n")[0]
        return [net], [turn, lambda: turn(1), turn, lambda: turn(2), lambda: wrong(8), lambda: wrong(-9), lambda: wrong(2 ** 70), lambda: wrong(True)]
    skipped(check(make, mode, tolerance=10.0), mode, 10)


def test_sequences_of_ints(mode):
    """A character model as it is written by hand: one path for all texts, once a second one has been met."""
    def make(wrap):
        cell = L.StatelessLSTM(5, 4, lateral_init=hnn.initializers.Constant(0.1))
        for k, p in enumerate(cell.params()):
            p.array[...] = arr(*p.shape, seed=k)
        optimizer = hnn.optimizers.Adam().setup(cell)

        @wrap
        def step(inputs, targets):
            c = h = None
            loss = 0
            for i, t in zip(inputs, targets, strict=True):
                x = np.zeros((1, 5), "f")
                x[0, i] = 1
                c, h = cell(c, h, x)
                loss -= F.log_softmax(h)[0, t]
            cell.cleargrads()
            loss.backward()
            optimizer.update()
            return loss

        def text(k):
            ids = np.random.default_rng(k).integers(0, 4, 6).tolist()
            return step(ids[:-1], ids[1:])
        return [cell], [lambda k=k: text(k) for k in range(5)]
    traced = check(make, mode, tolerance=10.0)
    assert traced.total("paths") <= 3       # of five texts, until labels have been told from the path
    skipped(traced, mode, 10)


def test_another_line_keeps_its_ints(mode):
    """Ints that are the same on every call stay part of the path."""
    @hnn.trace(mode=mode)
    def f(x, t):
        y = x[0, 1] + x[0, 2]
        return y * x[1, t]
    x = hnn.Variable(arr(2, 4))
    with hnn.using_config("trace_compile", "sync"):
        for k in range(40):
            f(x, k % 4)
    ends = [e for root in f._memory.roots.values() for e in terminals(root)]
    assert sorted([e.key[0].name for e in path_to(end) if e.kind == "op"] for end in ends) == [
        ["get_item", "get_item", "add", "get_item", "mul"], ["get_item", "get_item", "add", "take", "mul"]]
