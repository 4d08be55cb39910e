"""NumPy in a traced function: arrays and numbers that it makes of arguments, of what is around the function, and of results."""
import math
import types
import warnings

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


NUMBERS = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "int64": np.int64, "int8": np.int8, "uint8": np.uint8}


@pytest.mark.parametrize("kind", NUMBERS)
def test_numbers_of_numpy_promote_as_arrays(mode, kind):
    def make(wrap):
        x = hnn.Variable(arr(3, 4))

        @wrap
        def f(x, n):
            y = F.relu(x) * n + n * x - x / NUMBERS[kind](2)
            F.sum(y).backward()
            return y, n
        return [x], [lambda: (x.cleargrad(), f(x, NUMBERS[kind](3)))[1], lambda: (x.cleargrad(), f(x, NUMBERS[kind](5)))[1],
                     lambda: (x.cleargrad(), f(x, np.float64(1.5)))[1], lambda: (x.cleargrad(), f(x, 1.5))[1], lambda: (x.cleargrad(), f(x, np.array(3.)))[1]]
    skipped(check(make, mode), mode)


def test_a_number_of_numpy_from_around(mode):
    def make(wrap):
        box = {"n": np.float64(2)}
        scale = np.float32(0.5)

        def rebind(n):
            nonlocal scale
            scale = n
            return f(arr(3))

        @wrap
        def f(x):
            return F.relu(x) * scale + box["n"]

        def put(n):
            box["n"] = n
            return f(arr(3))
        return [], [lambda: f(arr(3)), lambda: put(np.float64(3)), lambda: put(np.float32(3)), lambda: put(3.0), lambda: rebind(np.float32(0.25)),
                    lambda: rebind(np.float64(0.25))]
    skipped(check(make, mode), mode, 3)


def test_columns_of_an_argument(mode):
    def make(wrap):
        link = L.Linear(3, 2)
        data = arr(4, 6, 3)

        @wrap
        def f(x, k=2):
            h = 0
            for t in range(k):
                h = h + link(x[:, t]) + F.sum(x[:, t, :2])
            loss = F.sum(h * h)
            link.cleargrads()
            loss.backward()
            return loss, h

        def changed():
            data[:, 1] += 1
            return f(data)
        return [link, data], [lambda: f(data), changed, lambda: f(data[:2]), lambda: f(data[:, ::2]), lambda: f(np.asfortranarray(data)),
                              lambda: f(data[:, ::-1]),
                              lambda: f(data.astype("d")), lambda: f(data, 3)]
    skipped(check(make, mode), mode)


def test_arguments_with_gaps_between_their_rows(mode):
    def make(wrap):
        data, ids = arr(5, 4, 3), np.arange(20).reshape(5, 4) % 5
        table = L.EmbedID(5, 3)

        @wrap
        def f(x, t, i):
            y = F.sigmoid(x) * t + table(i)
            return y, F.sum(y), F.reshape(x, (-1,)), F.transpose(x), x
        return [data, table], [lambda: f(data[:, 0], data[:, 1], ids[:, 0]), lambda: f(data[:, 2], data[:, 3], ids[:, 3]),
                               lambda: f(data[:, 0].copy(), data[:, 1], ids[:, 0]), lambda: f(hnn.Variable(data[:, 0]), data[:, 1], ids[:, 0]),
                               lambda: f(data[:, :, 0].T[:3].T[:, :], arr(5, 3), ids[:, 1]), lambda: f(arr(5, 3), arr(5, 3), ids[:, 1].copy())]
    check(make, mode)


def test_a_view_with_gaps_is_written_by_the_caller(mode):
    def make(wrap):
        data = arr(4, 3, 2)
        f = wrap(lambda x: F.reshape(x, (4, 1, 2)))
        g = wrap(lambda x: (F.exp(x), x[:2]))

        def write():
            y, (z, w) = f(data[:, 0]), g(data[:, 1])
            y.array[0] += 1
            w.array[0] += 2
            return y, z, w, data
        return [data], [lambda: (f(data[:, 0]), g(data[:, 1])), write]
    check(make, mode)


def test_written_between_uses(mode):
    def make(wrap):
        data = arr(4, 3, 2)

        @wrap
        def f(x):
            a = F.exp(x[:, 0])
            column = x[:, 1]
            b = F.exp(column)
            data[0, 1] += 1
            return a + b + column
        return [data], [lambda: f(data)]
    check(make, mode)


def test_expressions_of_arguments(mode):
    def make(wrap):
        link = L.Linear(4, 3)
        opt = optimizers.Adam().setup(link)
        table = np.linspace(0.1, 1, 10).astype("f")

        @wrap
        def f(x, idx, r, done):
            scale = table[idx][:, None]
            mixed = np.sqrt(scale) * x + np.sqrt(1 - scale) * np.ones_like(x)
            target = np.concatenate([r, 1 - done])[:len(x), None] * 0.5
            both = np.stack([mixed, -mixed], axis=1)[:, 0]
            middle = x.mean()
            loss = F.mean((link(both) - target) ** 2) * (2 / math.sqrt(8)) / np.sqrt(2)
            link.cleargrads()
            loss.backward()
            opt.update()
            return loss, mixed, {"n": middle, "t": target.T}

        def given(seed, n=4, dtype="f", high=10):
            rng = np.random.RandomState(seed)
            return rng.rand(n, 4).astype(dtype), rng.randint(0, high, n), rng.rand(n).astype("f"), rng.randint(0, 2, n)

        def moved():
            table[3] = 0.7
            return f(*given(6))
        return [link, opt.t], [lambda: f(*given(1)), lambda: f(*given(2)), lambda: f(*given(3, 5)), lambda: f(*given(4, dtype="d")), moved,
                               lambda: f(*given(5, high=14)), lambda: f(given(6)[0].T, *given(6)[1:])]
    skipped(check(make, mode), mode)


def test_shapes_that_depend_on_values(mode):
    def make(wrap):
        x = arr(6, 2)

        @wrap
        def f(x, keep):
            part = x[keep]
            return F.sum(part * 2), part.shape, len(part)

        def of(*bits):
            return f(x, np.array(bits, bool))
        return [x], [lambda: of(1, 1, 0, 0, 1, 0), lambda: of(0, 1, 1, 0, 0, 1), lambda: of(1, 1, 1, 1, 1, 1), lambda: of(0, 0, 0, 0, 0, 0)]
    skipped(check(make, mode), mode)


def test_a_mask_selects_of_a_variable(mode):
    def make(wrap):
        link, x, mask = L.Linear(3, 2), arr(6, 3), np.array([1, 0, 1, 1, 0, 0], bool)
        f = wrap(lambda: link(x)[mask])

        def flip():
            mask[0] = not mask[0]
            mask[1] = not mask[1]
            return f()

        def more():
            mask[4] = not mask[4]
            return f()
        return [x], [f, flip, more]
    w = check(make, mode)
    assert w[0].stats.paths <= 3


def test_warnings_and_errors_of_numpy(mode):
    def make(wrap):
        @wrap
        def f(x, y):
            ratio = x / y
            logs = np.log(np.abs(x) + 1)
            return F.exp(F.sqrt(logs) - ratio * 0)

        def ask(x, y, **state):
            with np.errstate(**state), warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    found = f(np.array(x, "f"), np.array(y, "f"))
                except (FloatingPointError, ValueError) as error:
                    found = type(error).__name__, str(error)
            return found, [(c.category.__name__, str(c.message), c.filename.rsplit("/", 1)[-1]) for c in caught]
        return [], [lambda: ask([1, 2], [3, 4]), lambda: ask([1, 2], [0, 4]), lambda: ask([1, 2], [3, 0], divide="raise"),
                    lambda: ask([1, 2], [0, 4], divide="ignore"),
                    lambda: ask([1e-38, 2], [1e30, 4], under="raise"), lambda: ask([1e-38, 2], [1e30, 4])]
    check(make, mode)


def test_python_numbers_of_results(mode):
    def make(wrap):
        link = L.Linear(3, 1)
        opt = optimizers.SGD(0.1).setup(link)
        log = []

        @wrap
        def f(x):
            y = link(x)
            loss = F.mean(y * y)
            link.cleargrads()
            loss.backward()
            opt.update()
            return float(loss.array), loss.array.item(), {"first": y.array[0], "shape": y.array.reshape(-1).shape}

        def run(x):
            log.append(f(x)[0])
            return log[-1]
        return [link, log], [lambda: f(arr(4, 3)), lambda: run(arr(4, 3) * 2), lambda: run(arr(5, 3)), lambda: run(arr(4, 3).astype("d"))]
    skipped(check(make, mode), mode)


def test_targets_computed_from_results(mode):
    def make(wrap):
        q, target = L.Linear(3, 2), L.Linear(3, 2)
        opt = optimizers.Adam().setup(q)

        @wrap
        def f(s, a, r, s2, done):
            with hnn.no_backprop_mode():
                best = F.max(target(s2), axis=1)
            y = r + 0.9 * (1 - done) * best.array
            loss = F.mean((F.select_item(q(s), a) - y) ** 2)
            q.cleargrads()
            loss.backward()
            opt.update()
            return loss, y

        def given(seed, dtype="f"):
            rng = np.random.RandomState(seed)
            return rng.randn(4, 3).astype("f"), rng.randint(0, 2, 4), rng.rand(4).astype(dtype), rng.randn(4, 3).astype("f"), rng.randint(0, 2, 4).astype("f")

        def copied():
            target.copyparams(q)
            return f(*given(3))

        def huge():
            s, a, r, s2, done = given(5)
            return f(s, a, r * np.float32(3e38), s2 * np.float32(1e38), done)
        return [q, target], [lambda: f(*given(1)), lambda: f(*given(2)), copied, lambda: f(*given(4, "d"))]
    skipped(check(make, mode), mode)


def test_a_number_computed_from_an_array_meets_a_variable(mode):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) * float(x.mean()) + x.max().item())
        return [], [lambda: f(arr(3)), lambda: f(arr(3) + 1), lambda: f(arr(3) - 1)]
    check(make, mode)


def test_a_number_computed_from_an_array_decides(mode):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) if x.mean() > 0 else F.tanh(x))
        return [], [lambda: f(arr(3) * 0 + 1), lambda: f(arr(3) * 0 - 1)]
    check(make, mode)


def test_variables_of_arguments(mode):
    def make(wrap):
        link = L.Linear(2, 1)
        kept = []

        @wrap
        def f(x, t):
            x, t = hnn.Variable(x), hnn.Variable(t, requires_grad=False)
            y = link(F.concat([x, t], axis=1))
            g, = hnn.grad([F.sum(y * y)], [x], enable_double_backprop=True)
            link.cleargrads()
            F.sum(g * g).backward()
            return len(x), len(g), F.sum(y).array

        @wrap
        def g(x):
            v = hnn.Variable(x)
            kept.append(v)
            return v * 2, v

        def both(x):
            return f(x, x)

        def touch(x):
            y, v = g(x)
            v.array[0] += 1
            return y, v, x
        return [link], [lambda: f(arr(4, 1), arr(4, 1)), lambda: f(arr(4, 1) + 1, arr(4, 1) - 1), lambda: both(arr(4, 1)),
                        lambda: f(arr(4, 1).astype("d"), arr(4, 1)),
                        lambda: touch(arr(3, 1)), lambda: f(arr(5, 1), arr(5, 1))]
    skipped(check(make, mode), mode)


def test_changes_in_place_run(mode):
    def make(wrap):
        @wrap
        def f(x, y):
            z = x * 2
            z += y
            w = np.zeros(3, "f")
            w[1] = x[0]
            x -= 1
            return F.exp(z) + w + x
        return [], [lambda: f(arr(3), arr(3)), lambda: f(arr(3) + 1, arr(3))]
    check(make, mode)


def test_views_that_numpy_makes_of_arguments(mode):
    def make(wrap):
        data = arr(4, 3)

        @wrap
        def f(x):
            row, flat, same = x.T, x.reshape(-1), np.asarray(x)
            return F.sum(flat * 2) + F.sum(same), row, flat, same, same is x

        def write():
            found = f(data)
            found[1][0] += 1
            found[2][3] += 1
            return found
        return [data], [lambda: f(data), write, lambda: f(data.copy()), lambda: f(np.asfortranarray(data))]
    skipped(check(make, mode), mode)


def test_slices_of_layers(mode):
    def make(wrap):
        layers = hnn.ChainList(L.Linear(3, 3), L.Linear(3, 3), L.Linear(3, 2))

        @wrap
        def f(x):
            for layer in layers[:-1]:
                x = F.relu(layer(x))
            return layers[-1](x)

        def replace():
            layers[0] = L.Linear(3, 3)
            return f(arr(2, 3))

        def longer():
            layers.insert(1, L.Linear(3, 3)) if len(layers) == 3 else None
            return f(arr(2, 3))
        return [layers], [lambda: f(arr(2, 3)), replace, longer]
    skipped(check(make, mode), mode, 3)


def test_functions_replaced_in_numpy(mode, monkeypatch):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) + np.tanh(x))

        def other():
            with monkeypatch.context() as m:
                m.setattr(np, "tanh", np.sin)
                return f(arr(3))
        return [], [lambda: f(arr(3)), other]
    skipped(check(make, mode), mode, 3)


def test_masks_that_are_broadcast(mode):
    def make(wrap):
        link = L.Linear(4, 4)

        @wrap
        def f(x, heads=2):
            n = x.shape[0]
            mask = np.tril(np.ones((n, n), dtype=bool))
            scores = F.broadcast_to(F.matmul(link(x), x, transb=True), (heads, n, n)) / np.sqrt(n)
            scores = F.where(np.broadcast_to(mask, scores.shape), scores, np.full(scores.shape, -1e9, dtype=np.float32))
            link.cleargrads()
            F.sum(F.softmax(scores, axis=2)[:, :, 0]).backward()
            return scores

        def given(x):
            return g(np.broadcast_to(x, (3, 4)), np.broadcast_to(x[:, None], (4, 3)))
        g = wrap(lambda a, b: (F.exp(a) * 2, F.cast(a, "d"), F.reshape(a, (-1,)), F.sum(b, axis=0), F.exp(b)))
        return [link], [lambda: f(arr(3, 4)), lambda: f(arr(5, 4)), lambda: f(arr(3, 4), 3), lambda: given(arr(4)), lambda: given(arr(8)[::2])]
    skipped(check(make, mode), mode)


def test_masks_that_are_broadcast_along_inner_axes(mode):
    def make(wrap):
        link = L.Linear(4, 4)

        @wrap
        def f(x, lengths):
            b, n, _ = x.shape
            mask = (np.arange(n)[None] < lengths[:, None])[:, None, :, None]
            scores = F.reshape(link(x, n_batch_axes=2), (b, n, 1, 4)) + np.zeros((1, 1, n, 1), "f")
            scores = F.where(np.broadcast_to(mask, (b, n, n, 4)), scores, np.float32(-1e9))
            link.cleargrads()
            F.sum(F.softmax(scores, axis=2) * np.broadcast_to(x[:, :, None], (b, n, n, 4))).backward()
            return scores, F.exp(np.broadcast_to(x[:, :1], x.shape)), F.sum(np.broadcast_to(x[:, :, :1], x.shape), axis=1)
        return [link], [lambda: f(arr(2, 3, 4), np.array([1, 3])), lambda: f(arr(2, 3, 4), np.array([2, 2])), lambda: f(arr(3, 3, 4), np.array([1, 1, 3]))]
    skipped(check(make, mode), mode)


def test_losses_over_sequences(mode):
    """What they need to know of labels and lengths is computed by operations."""
    def make(wrap):
        link, cost = L.Linear(4, 5), hnn.Parameter(arr(5, 5))
        labels = lambda *shape: np.random.randint(1, 4, shape).astype("i")

        @wrap
        def ctc(x, t, inputs, lengths):
            loss = F.connectionist_temporal_classification(F.reshape(link(F.reshape(x, (-1, 4))), (6, 2, 5)), t, 0, inputs, lengths)
            loss += F.connectionist_temporal_classification(list(x), t, 0)
            link.cleargrads()
            loss.backward()
            return loss

        @wrap
        def crf(x, t):
            link.cleargrads()
            cost.cleargrad()
            loss = F.crf1d(cost, F.separate(F.reshape(link(F.reshape(x, (-1, 4))), (6, 2, 5)), axis=0), [t[k] for k in range(6)])
            loss.backward()
            return loss
        numbers = np.array([6, 5]), np.array([3, 0])
        return [link, cost], [lambda: ctc(arr(6, 2, 4), labels(2, 3), *numbers), lambda: crf(arr(6, 2, 4), labels(6, 2))]
    skipped(check(make, mode), mode)


def test_methods_of_results_by_keywords(mode):
    def make(wrap):
        link = L.Linear(3, 4)

        @wrap
        def f(x):
            with hnn.no_backprop_mode():
                y = F.dropout(link(x), 0.5)
            return y.array.std(axis=0, ddof=1), y.array.reshape(-1).astype("d"), y.array.max(axis=1, keepdims=True)
        return [link], [lambda: f(arr(4, 3)), lambda: f(arr(4, 3) * 2), lambda: np.random.rand(), lambda: f(arr(5, 3))]
    skipped(check(make, mode), mode, 8)


def test_attributes_that_may_be_there(mode):
    def make(wrap):
        link = L.Linear(3, 3)

        @wrap
        def f(x):
            return link(x) * 2 if hasattr(link, "scale") else link(x) + 1

        def set_scale():
            link.scale = 1
            return f(arr(2, 3)), f(arr(2, 3))

        def unset():
            if hasattr(link, "scale"):
                del link.scale
            return f(arr(2, 3))
        return [link], [set_scale, unset, lambda: f(arr(2, 3)), unset]
    check(make, mode)


@pytest.mark.parametrize("dtype", ["f", "d", "i", "b"])
def test_items_selected_by_row(mode, dtype):
    def make(wrap):
        x = arr(4, 3) * 9
        x[1] = -0.0
        x[2, 1] = np.inf
        x = x.astype(dtype) if dtype in "fd" else (arr(4, 3) * 9).astype(dtype)
        if dtype in "fd":
            x[3, 2] = np.nan

        @wrap
        def f(x, t):
            y = F.select_item(x, t)
            if dtype in "fd":
                x.cleargrad()
                F.sum(y * y).backward()
            return y, F.sum(x)

        def run(*t):
            v = hnn.Variable(x)
            y = f(v, np.array(t, "i"))
            return y, v.grad, np.signbit(y[0].array) if dtype in "fd" else None
        return [], [lambda: run(0, 1, 1, 0), lambda: run(2, 0, 2, 2), lambda: run(0, 1, 3, 0), lambda: run(0, -1, 1, 0)]
    skipped(check(make, mode), mode, 5)


def test_tables_that_functions_keep(mode):
    """Arrays that the library computes from sizes alone: another size, another dtype, and nobody writes into them."""
    def make(wrap):
        x, w = var(2, 6, 8, seed=1), var(8, seed=2)
        f = wrap(lambda x: F.sum(F.rotary_embedding(x * w) ** 2 * F.rotary_embedding(x)))
        g = wrap(lambda x: F.decov(x[0]) + F.hinge(x[:, 0], np.array([1, 3], "i")))
        other = var(2, 5, 8, seed=3)
        double = hnn.Variable(x.array.astype("d"))

        def call(fn, x):
            w.cleargrad()
            x.cleargrad()
            y = fn(x)
            y.backward()
            return y, x.grad, w.grad
        return [w], [lambda: call(f, x), lambda: call(g, x), lambda: call(f, other), lambda: call(g, double)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda x, y: y * 2 if float(x.sum()) > 0 else y,
    lambda x, y: y * int(x.argmax()),
    lambda x, y: sum([y] * int(abs(x[0, 0]) * 3 + 1)),
    lambda x, y: y * float(x.max()) if x.max() > 1 else y + 1,
    lambda x, y: F.reshape(F.concat([y[None]] * (int(x.argmin()) + 1), axis=0), (-1,)),
    lambda x, y: y * {0: 1.0, 1: 2.0}.get(int(x[0, 0] > 0), 3.0),
    lambda x, y: y if not float(np.sum(x)) else y * min(float(x.max()), 1.0),
    lambda x, y: [y, y * 2, y * 3][int(x.argmax()) % 3],
    lambda x, y: y * 2 if np.random.rand() < 0.5 else y,
    lambda x, y: y * 2 if float(np.random.rand(1)[0]) < 0.5 else y,
    lambda x, y: y ** int(np.random.rand(2)[0] * 3),
    lambda x, y: f"{float(x[0, 0]):.3f}" and y,
])
def test_numbers_of_arguments_that_decide(mode, body):
    def make(wrap):
        link = L.Linear(3, 2)
        f = wrap(lambda x: body(x, F.sum(link(x))))
        return [link], [lambda: f(arr(2, 3)), lambda: f(-arr(2, 3)), lambda: f(arr(2, 3, seed=5)), lambda: f(arr(2, 3) * 0), lambda: f(arr(2, 3, seed=3))]
    check(make, mode, steps=[0] * 10 + [1] * 6 + [0, 1, 2, 3, 4] * 6)


def test_arrays_made_for_keyword_arguments(mode):
    def make(wrap):
        net = hnn.Sequential(L.Linear(2, 4), F.tanh, L.Linear(4, 1))
        opt = hnn.optimizers.SGD(0.05).setup(net)

        def scaled(y, *, by, shift=None):
            return y * by if shift is None else y * by + shift

        @wrap
        def step(x):
            x = hnn.Variable(x)
            u = net(x)
            g, = hnn.grad([u], [x], grad_outputs=[np.full(u.shape, 0.5, "f")], enable_double_backprop=True)
            loss = F.mean(scaled(g, by=np.arange(1, 3, dtype="f"), shift=np.ones(2, "f")) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [net], [lambda: step(arr(3, 2)), lambda: step(arr(5, 2))]
    skipped(check(make, mode), mode)


def test_numbers_of_numpy_as_indices(mode):
    """They become arrays without axes, traced or not: the same copies, the same errors."""
    def make(wrap):
        w = hnn.Parameter(arr(6, 4))
        row, item = wrap(lambda i: F.embed_id(i, w)), wrap(lambda i: w[i])
        return w, [lambda: row(np.int64(3)), lambda: item(np.int64(3)), lambda: item(np.float32(0.5)), lambda: row(np.int64(9))]
    check(make, mode, held=True)


def test_axes_in_another_order(mode):
    """Arguments, constants and parameters whose axes lie in memory in another order; what is a view of them stays one."""
    def make(wrap):
        link, turn = L.Linear(4, 4), np.ascontiguousarray(arr(4, 4)).T
        other = hnn.Parameter(np.asfortranarray(arr(4, 3)))

        @wrap
        def f(x, images):
            y = F.tanh(link(x)) * x + F.matmul(x, turn)
            z = F.convolution_2d(images.transpose(0, 3, 1, 2) / np.float32(2), np.ones((2, 3, 2, 2), "f"))
            link.cleargrads()
            other.cleargrad()
            loss = F.sum(F.matmul(y, other) ** 2) + F.sum(z * z) + F.sum(x.T[1:] * F.exp(x.T[1:]))
            loss.backward()
            return loss, F.exp(x), x, F.sum(x, axis=0)

        @wrap
        def changes(x):
            y = F.exp(x)
            x *= 2
            return y, F.exp(x)

        @wrap
        def updates(x):
            loss = F.sum(F.matmul(x, other))
            other.cleargrad()
            loss.backward()
            other.array -= 0.1 * other.grad
            return loss
        images = lambda: np.ascontiguousarray(arr(2, 5, 5, 3))
        return [link, other], [lambda: f(arr(4, 6).T, images()), lambda: f(np.asfortranarray(arr(6, 4)), images()[:, ::-1]), lambda: f(arr(6, 4), images()),
                               lambda: f(hnn.Variable(arr(4, 6).T).array, images()), lambda: changes(arr(3, 4).T), lambda: updates(arr(4, 5).T)]
    skipped(check(make, mode), mode)


def test_views_of_arrays_with_axes_in_another_order(mode):
    def make(wrap):
        x, f = hnn.Variable(arr(3, 4, 5).transpose(2, 0, 1)), wrap(lambda x: (F.transpose(x, (1, 2, 0)), F.exp(x), F.reshape(x, (5, -1)), x + 0))

        def write():
            view, *_ = result = f(x)
            view.array[0] = 7
            return [y.array.copy() for y in result], x.array.copy()
        return [x], [lambda: f(x), write, write]
    check(make, mode)


def test_loops_over_the_elements_of_an_array(mode):
    """Returns of an episode, summed up from behind; what was looked at on the way keeps its value."""
    def make(wrap):
        link, optimizer = L.Linear(3, 2), optimizers.SGD(0.1)
        optimizer.setup(link)

        @wrap
        def f(states, actions, rewards):
            returns, total = np.zeros_like(rewards), 0.
            for i in reversed(range(len(rewards))):
                total = rewards[i] + .9 * total
                returns[i] = total
            returns = (returns - returns.mean()) / (returns.std() + 1e-6)
            loss = -F.sum(F.select_item(F.log_softmax(link(states)), actions) * returns)
            link.cleargrads()
            loss.backward()
            optimizer.update()
            return float(loss.array), returns

        @wrap
        def g(x):
            a = x * 2
            first = a.sum()
            a[0] = 7
            second = a.sum()
            a[1] += a[0]
            a *= 3
            third = a.copy()
            a[2] = -a[1]
            a -= 1
            return F.exp(hnn.Variable(x)) * first, second, third, a
        episode = lambda n: (arr(n, 3), np.random.randint(0, 2, n).astype("i"), arr(n))
        big = lambda: (*episode(6)[:2], np.array([1, 3e38, 3e38, 3e38, 1, 1], "f"))
        return [link], [lambda: f(*episode(6)), lambda: f(*episode(6)), lambda: f(*episode(4)), lambda: f(*big()), lambda: g(arr(4)), lambda: g(arr(4))]
    skipped(check(make, mode), mode)


def test_long_chains_of_numbers_are_proved_once_for_each_link(mode, monkeypatch):
    """Every number of a running sum is looked at a few times, however many there are."""
    from hybridnn.trace import computed
    seen, below = [], computed.below
    monkeypatch.setattr(computed, "below", lambda ref, *opened: (seen.append(1) or r for r in below(ref, *opened)))

    def visits(n):
        @hnn.trace(mode=mode)
        def f(x):
            total, kept = 0., []
            for i in range(n):
                total = x[i] + .5 * total
                kept.append(total)
            return F.sum(hnn.Variable(x) * np.array(kept))
        before = len(seen)
        for _ in range(6):
            f(arr(n))
        return len(seen) - before
    few, many = visits(20), visits(80)
    assert many <= 20 * max(few, 1)


def test_builtins_on_arrays_and_variables(mode):
    def make(wrap):
        @wrap
        def f(x, n):
            d = F.exp(x) - 1
            rest = abs(x - (d.array < 0)) + pow(abs(x), 2) + pow(2., x) + abs(x.mean()) + abs(np.float32(-2)) + pow(x.dtype.type(2), 3)
            return F.sum(abs(d) * rest), pow(d, 2), pow(x + 3, n), abs(-x), pow(2, n)
        return [], [lambda: f(arr(3, 4), 2), lambda: f(arr(3, 4), 3), lambda: f(arr(3, 4), .5), lambda: f(arr(4).astype("i"), 2)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda x: F.sum(F.exp(x)[np.tril_indices(4, -1)]), lambda x: sum([F.sum(F.exp(p) * k) for k, p in enumerate(np.split(x, 2))]),
    lambda x: F.sum(F.exp(np.einsum("ij,kj->ik", x, x))), lambda x: F.sum(F.exp(x) - np.quantile(x, 0.25, axis=1, keepdims=True)),
    lambda x: F.sum(F.exp(x)[np.nonzero(x > 0)]), lambda x: F.sum(F.exp(np.meshgrid(x[0], x[1])[1])), lambda x: np.split(F.exp(x).array, 2) + np.split(x, 2),
    lambda x: F.sum(F.exp(np.linalg.cholesky(x @ x.T + np.eye(4, dtype="f")))), lambda x: F.exp(np.linalg.solve(x[:, :4], x[:, 4:])),
    lambda x: F.exp(x) * 2 if np.allclose(x, x[0]) else F.tanh(x),
    lambda x: F.sum(F.exp(x)) * float(np.abs(np.linalg.eigvals(x[:, :4])).max()), lambda x: F.exp(np.abs(np.fft.rfft(x, axis=1)) ** 2 * 0.1),
    lambda x: F.exp(x) * np.fft.irfft(np.fft.rfft(x) * np.exp(1j * np.arange(x.shape[1] // 2 + 1)), x.shape[1]).astype("f"),
    lambda x: (F.exp(x), (np.fft.fft(x) * np.fft.fft(x).conj()).imag, x.real, (1j * x)[0].sum().real),
    lambda x: F.exp(x) * np.shape(x)[0] + np.ndim(x) * np.size(x) + x.nbytes / x.itemsize + np.shape(x[0, 0] * 2)[:1].count(3),
    lambda x: F.exp(x) / (np.amax(x, axis=1, keepdims=True) - np.amin(x) + np.finfo(x.dtype).eps + np.finfo("f").tiny.item()),
    lambda x: F.exp(x) * np.iinfo(np.int8).max + np.finfo(np.float64).max * 0 if np.issubdtype(x.dtype, np.floating) else x,
    lambda x: F.cast(F.exp(x), np.result_type(np.float32, np.float16)) * float(np.bool_(x[0, 0] > 0)) * np.isposinf(x).sum(),
    lambda x: F.exp(x)[np.ix_([0, 2], [1])] * np.polyval(np.polyfit(np.arange(5.0), np.arange(5.0), 1), 2.0) + np.nanmedian(x) + np.cumulative_sum(x[0])[-1],
    lambda x: F.exp(x) * np.choose([0, 1, 0, 1], x[:2, :4]).sum() + np.unwrap(x[0]).sum() + np.ravel_multi_index((1, 2), (3, 4))
    + np.linalg.outer(x[0], x[1])[0, 0],
    lambda x: (F.exp(x), np.fft.fftshift(np.angle(np.fft.fft2(x))), np.real(np.linalg.eig(x[:, :4]).eigenvalues), np.nan_to_num(np.log(np.abs(x) + 1)))])
def test_more_functions_of_numpy(mode, body):
    def make(wrap):
        f = wrap(body)
        return [], [lambda: f(arr(4, 5)), lambda: f(arr(4, 5) * 2 + 1), lambda: f(arr(4, 6)), lambda: f(arr(4, 5) * 0)]
    skipped(check(make, mode), mode)


def test_a_median_that_may_overwrite_its_operand(mode):
    def make(wrap):
        @wrap
        def f(x):
            m = np.median(x, overwrite_input=True)
            return F.sum(F.exp(x[0]) * m), x
        return [], [lambda: f(arr(5, 3)), lambda: f(arr(5, 3) * 2)]
    check(make, mode)


def test_ints_that_go_up_meet_arrays(mode):
    def make(wrap):
        net, box = L.Linear(3, 2), {"n": 1}
        net.W.array[...], net.b.array[...] = arr(2, 3), 0
        average, opt = net.W.array.copy(), hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, n, power):
            box["n"] += 1
            loss = F.sum(F.tanh(net(x / n) ** 2))
            net.cleargrads()
            loss.backward()
            opt.update()
            average[...] += (net.W.array - average) / box["n"] + x.mean() ** power
            return loss, average.copy()
        calls = iter(range(1, 1000))
        return [net], [lambda: f(arr(4, 3), next(calls), next(calls) % 4), lambda: f(arr(4, 3), -next(calls), 2), lambda: f(arr(4, 3), 1 << 70, 1)]
    skipped(check(make, mode), mode)


def test_lists_are_indices(mode):
    def make(wrap):
        outer, box, options = [0, 0, 2], ([0, 1], slice(1, 3)), {"slices": [0, 3]}

        @wrap
        def f(x):
            rows = [1]
            rows.append(3)
            y = x[[0, 2, 2]] * x[outer] + F.scatter_add(x, [i for i in range(3)], x[rows + [0]])[outer]
            return y, x[box], F.get_item(x, **options), x[[True, False, True, False]], x[outer, [2, 1, 0]]

        def put(where, k, value):
            where[k], old = value, where[k]
            y = f(var(4, 3))
            where[k] = old
            return y
        return [], [lambda: f(var(4, 3)), lambda: put(outer, 1, 3), lambda: put(box[0], 1, 2), lambda: put(options["slices"], 0, 1),
                    lambda: put(options, "slices", [2]), lambda: f(var(5, 3)), lambda: (outer.append(1), f(var(4, 3)), outer.pop())[1]]
    skipped(check(make, mode), mode)


def test_lists_of_numbers_from_arguments_are_indices(mode):
    def make(wrap):
        @wrap
        def f(x, i, rows, a):
            return x[[i, 1]], x[rows], x[a.tolist()], x[[int(x.array[0, 0] > 0)]]
        return [], [lambda i=i: f(arr(4, 3), i, [i, 2 - i], np.array([i, 3])) for i in (0, 2, 1, 0)]
    check(make, mode)


def test_attention_is_traced_without_python(mode):
    def make(wrap):
        block, mask = L.TransformerEncoderLayer(4, 2), np.array([[True, True, True], [True, True, False], [False, True, True]])
        memory = L.TransformerDecoderLayer(4, 2)

        @wrap
        def f(x, positions, bias):
            h = F.rotary_embedding(block(x, causal=True), positions)
            y = F.sum(block(x, mask=mask, causal=True) * memory(h, x, memory_mask=mask) + block(x, mask=bias, causal=True))
            block.cleargrads()
            y.backward()
            return y, h, F.scaled_dot_product_attention(x[:, -1:], x, x, causal=True)
        first = arr(2, 3, 4)
        return [block, memory], [lambda: f(first, np.arange(3), arr(3, 3)), lambda: f(first, np.array([1, 5, 2]), arr(3, 3)),
                                 lambda: f(arr(1, 3, 4), np.arange(3), arr(3, 3)), lambda: put(mask, f, first)]

    def put(mask, f, x):
        mask[0, 0] ^= True
        return f(x, np.arange(3), arr(3, 3))
    skipped(check(make, mode), mode)


def test_arrays_that_equal_a_list_of_indices_at_first(mode):
    def make(wrap):
        box = {"a": np.array([0, 1])}

        @wrap
        def f(x, a, pair, k):
            b = a + k
            return x[[0, 1], a], x[[0, 1], b], x[[0, 1], box["a"]], x[[0, 1], pair[0]], x[[0, 1], pair[1][1:]], x[([0, 1], a)], F.scatter_add(x, [0, 1], x[a])

        def put(a):
            box["a"] = a
            return f(arr(3, 3), np.array([1, 1]), (np.array([2, 1]), np.array([0, 2, 2])), 1)
        first = np.array([0, 1]), (np.array([0, 1]), np.array([2, 0, 1])), 0
        return [], [lambda: f(arr(3, 3), *first), lambda: f(arr(3, 3), *first), lambda: put(np.array([0, 1])), lambda: put(np.array([2, 0])),
                    lambda: f(arr(3, 3), np.array([2, 0]), (np.array([1, 1]), np.array([2, 2, 2])), 0)]
    check(make, mode)


def test_decorrelation_is_traced_without_python(mode):
    def make(wrap):
        net = hnn.Sequential(L.Linear(4, 4, nobias=True), L.DecorrelatedBatchNormalization(4, 2))
        optimizer = optimizers.SGD(.1).setup(net)

        @wrap
        def step(x):
            y = F.sum(net(x) ** 3)
            net.cleargrads()
            y.backward()
            optimizer.update()
            return y
        return [net], [lambda: step(arr(8, 4)), lambda: step(arr(6, 4))]
    skipped(check(make, mode, tolerance=100.0), mode)      # whitening magnifies rounding


@pytest.mark.parametrize("body", [
    lambda h, r: (h + h.array.mean()) * min(r, h.array.mean()),
    lambda h, r: (lambda g, m: h * g * min(g, m) * m)(h.array.mean(), h.array.max()),
    lambda h, r: (lambda g, m: h * g * max(g, m) * m)(h.array[0], h.array[1]),
    lambda h, r: (lambda g, m: (h * g, max(g, m), min(g, m)))(h.array[0], h.array[1]),
    lambda h, r: (lambda g, m: h * max(g, m, r) * g * r)(h.array[0], h.array[1]),
])
def test_one_of_several_numbers_that_are_used_otherwise_too(mode, body):
    """``min`` and ``max`` give one of their operands itself, and another one on another call."""
    def make(wrap):
        f = wrap(lambda x, r: body(F.tanh(x), r))
        return [], [lambda: f(arr(3), 0.5), lambda: f(-arr(3), 0.5), lambda: f(arr(3, seed=1), np.float32(0.1)), lambda: f(arr(3, seed=2), np.float32(-0.3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("noise", [False, True])
def test_sizes_that_values_decide(mode, noise):
    """Other sizes are other paths, which take turns."""
    def make(wrap):
        link = L.Linear(3, 3)
        link.W.array[...] = np.eye(3)

        @wrap
        def f(x):
            y = link(F.dropout(x, 0.5) if noise else x)
            rows = np.flatnonzero(x[:, 0] + 0 * y.array[:, 0] > 0)
            loss = F.sum(F.tanh(y[rows]) ** 2) if len(rows) else F.sum(y)
            link.cleargrads()
            loss.backward()
            return loss, rows, np.random.rand()

        def signs(*given):
            x = arr(4, 3)
            x[:, 0] = given
            return lambda: f(x)
        return [link], [signs(1, -1, 1, -1), signs(1, 1, 1, -1), signs(-1, 1, -1, 1), signs(-1, -1, -1, -1), signs(-1, 1, 1, 1)]
    skipped(check(make, mode), mode, 15)


def test_arrays_of_bools_among_the_arguments(mode):
    def make(wrap):
        @wrap
        def f(x, flags, flag):
            done = np.array(flags)
            return F.sum(x * (1 - done.astype("f"))), np.asarray(flags, "f"), np.array([flag, True]), done

        def run(*given):
            return lambda: f(arr(2), given, given[0])
        return [], [run(True, False), run(False, False), run(1, 0), run(True, np.True_), run(True, None), run(True, False, True), run(False, True)]
    skipped(check(make, mode), mode, 15)


def test_one_number_of_numpy_in_two_places(mode):
    """The path has one operand for both: it holds as long as they are one object."""
    def make(wrap):
        s = np.float32(0.5)
        f = wrap(lambda x, a, b: F.tanh(x) * a + b)
        g = wrap(lambda x, numbers: F.tanh(x) * numbers[0] + numbers[1])
        return [], [lambda: f(arr(3), s, s), lambda: f(arr(3), np.float32(1), np.float32(2)), lambda: f(arr(3), np.float32(3), s), lambda: g(arr(3), [s, s]),
                    lambda: g(arr(3), [np.float32(1), np.float32(2)])]
    skipped(check(make, mode), mode)


def test_defaults_that_are_arrays(mode):
    """They stay the same objects, until the function gets other defaults; what is in them may change."""
    def make(wrap):
        scale, other, ones = arr(3), arr(3, seed=1), np.ones(3, "f")

        def body(x, scale=scale, *, shift=ones):
            return F.sum(F.tanh(x * np.exp(scale)) * float(scale.max())) + np.sum(shift * 2)

        @wrap
        def f(x):
            return body(x), body(x, other)

        def written():
            scale[...] += 0.5
            return f(arr(2, 3))

        def reshaped():
            body.__defaults__ = (arr(2, 3),)
            try:
                return f(arr(2, 3))
            finally:
                body.__defaults__ = (scale,)

        def shifted():
            body.__kwdefaults__["shift"] = np.full(3, 7, "f")
            return f(arr(2, 3))
        return [scale, other, ones], [lambda: f(arr(2, 3)), written, reshaped, shifted, lambda: f(arr(4, 3))]
    skipped(check(make, mode), mode)


def test_an_array_from_outside_is_unpacked(mode):
    """As the state of a simulation."""
    def make(wrap):
        class Pole:
            state, fixed = np.array([0.1, 0.2, -0.1]), np.array([1.0, 2.0, 3.0])

            def step(self, force):
                x, v, angle = self.state
                a, b, c = self.fixed
                change = force * np.cos(angle) - v * a
                self.state = np.array([x + 0.1 * v, v + 0.1 * change, angle * b + c * 0.01 * x])
                return abs(self.state[0]) + self.state.sum()
        pole = Pole()

        @wrap
        def f(x, limits):
            y = F.tanh(x)
            low, high = limits
            return y * np.float32(pole.step(float(y.array[0]))), low * 2, high - low

        def shorter():
            pole.state = np.array([0.1, 0.2])
            try:
                return f(arr(2), np.array([1, 2]))
            except ValueError as error:
                return str(error)
            finally:
                pole.state = np.array([0.1, 0.2, -0.1])
        return [pole.__dict__], [lambda: f(arr(2), np.array([1, 2])), lambda: f(arr(2), np.array([1.0, 2.0])), shorter, lambda: f(arr(3), np.array([1, 2]))]
    skipped(check(make, mode), mode)


def best_of_all(y, k, table):
    return F.log(y[0, F.argmax(y, axis=1).array[0]])


def best_and_its_neighbours(y, k, table):
    i = int(np.argmax(y.array[0]))
    return y[0, i] + F.sum(y[:, i - 1]) * y[-1, np.int32(i)], i


def drawn_by_what_comes_out(y, k, table):
    p = np.exp(y.array[0].astype("d"))
    a = np.random.choice(4, p=p / p.sum())
    return y[0, a], a, y[None, 0, a, ...]


def by_an_element(y, k, table):
    return y[0, k[0]] * 2 + y[k[1]][k[0]]


def by_a_table(y, k, table):
    return y[..., table[1]], y[1:, int(table[0])]


@pytest.mark.parametrize("body", [best_of_all, best_and_its_neighbours, drawn_by_what_comes_out, by_an_element, by_a_table])
@pytest.mark.parametrize("updated", [False, True])
def test_ints_that_are_computed_select_of_a_variable(mode, body, updated):
    """Each is a path of its own; too large ones raise in the program."""
    def make(wrap):
        net, table = L.Linear(3, 4, initialW=arr(4, 3)), np.array([1, 2])
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x, k):
            y = net(x)
            if updated:
                net.cleargrads()
                F.sum(y).backward()
                opt.update()
            return body(y, k, table)

        def run(seed=0, k=(0, 1), where=2):
            def call():
                table[1] = where
                try:
                    return f(arr(3, 3, seed=seed), np.array(k))
                except (IndexError, ValueError) as error:
                    return str(error)
            return call
        return [net], [run(), run(1), run(2, where=3), run(k=(1, 0)), run(k=(7, 0), where=9), run(4), run(k=(-1, -2), where=-1)]
    w = check(make, mode, tolerance=100.0)
    if not updated or body is by_an_element:
        skipped(w, mode)


@pytest.mark.parametrize("use", [
    lambda y, s: y[np.array(s.ids)], lambda y, s: y * np.array(s.scales, "f"), lambda y, s: y[np.asarray(s.pairs)], lambda y, s: y + np.stack(s.arrays).sum(0),
    lambda y, s: y + np.array([*s.scales, 1.5, True][:3], "f") * float(np.mean(s.scales)), lambda y, s: y * np.float32(np.max([s.scales, s.more])),
    lambda y, s: [y[np.array(ids)] for ids in s.pairs],
    lambda y, s: (s.scales.append(float(y.array.sum())), s.scales.pop(0), y * np.float32(np.mean(s.scales)))[2],
    lambda y, s: (s.ids.__setitem__(0, (s.ids[0] + 1) % 4), y[np.array(s.ids)])[1],
    lambda y, s: (y[np.array(s.ids)], s.ids.__setitem__(0, (s.ids[0] + 1) % 4))[0]])
def test_lists_from_outside(mode, use):
    """Neighbours of a node, weights of losses: lists of the program's of which NumPy makes arrays."""
    def make(wrap):
        net = L.Linear(4, 3)
        s = types.SimpleNamespace(ids=[0, 2, 1], scales=[0.5, 0.25, 1.0], more=[1.0, 2.0, 0.1], pairs=[[0, 1], [2, 3]], arrays=[arr(3), arr(3, seed=1)])

        @wrap
        def f(x):
            return use(net(x), s)

        def other(name, k, value):
            def change():
                box = getattr(s, name)
                box[k], kept = value, box[k]
                try:
                    return f(arr(5, 4))
                finally:
                    box[k] = kept
            return change

        def longer():
            for box in (s.ids, s.scales, s.pairs[0]):
                box.append(box[0])
            try:
                return f(arr(5, 4))
            finally:
                for box in (s.ids, s.scales, s.pairs[0]):
                    box.pop()

        def a_tuple():
            s.ids, kept = (1, 0, 0), s.ids
            try:
                return f(arr(5, 4))
            finally:
                s.ids = kept
        changes = [("ids", 0, 3), ("ids", 1, True), ("scales", 0, 0.125), ("scales", 1, 2), ("pairs", 0, [1, 3]), ("pairs", 1, (0, 1)),
                   ("arrays", 0, arr(3, seed=7)), ("arrays", 1, arr(3).astype("d"))]
        return [s, net], [lambda: f(arr(5, 4)), *[other(*change) for change in changes], longer, a_tuple]
    world = check(make, mode)
    if "__setitem__" not in use.__code__.co_names:
        skipped(world, mode)


@pytest.mark.parametrize("call", ["np.nan_to_num(a, copy=False)", "np.nan_to_num(a, False, 2.0)", "np.nan_to_num(copy=False, x=a, posinf=box['a'].sum())",
                                  "np.nan_to_num(a, copy=True)", "np.nan_to_num(a[0], copy=False)", "np.nan_to_num(a.sum(), copy=False)",
                                  "np.nan_to_num([1.0, np.inf], copy=False)", "np.fft.fft(a, None, -1, None, c)",
                                  "np.fft.rfft2(a, None, (0, 1), None, c[:, :2])",
                                  "np.vecdot(a[:1], a[0], a[0, :1])"])
@pytest.mark.parametrize("place", ["box['a']", "W.array", "x", "x * 2", "(x * W).array"])
def test_functions_that_change_what_they_take(mode, place, call):
    def make(wrap):
        box, W = {"a": arr(2, 3)}, hnn.Parameter(arr(2, 3, seed=1))
        space = {"np": np, "F": F, "box": box, "W": W}
        exec(f"def f(x):\n    a, c = {place}, np.zeros((2, 3), 'D')\n    y, before = F.sum(x * W * a), a * 2\n    z = {call}\n"
             "    return y, F.sum(x * W * a), before, a + 1, c, z, z is a", space)
        f = wrap(space["f"])

        def holes(x):
            x[0, 0] = box["a"][0, 1] = W.array[1, 1] = np.nan
            box["a"][1, 1] = np.inf
            return f(x), x
        return [box, W], [lambda: f(arr(2, 3)), lambda: holes(arr(2, 3)), lambda: f(arr(2, 3, dtype="d")), lambda: holes(arr(2, 3))]
    check(make, mode)


def test_shapes_that_are_put_together(mode):
    def make(wrap):
        net = L.Linear(3, 2)

        @wrap
        def f(x):
            n, rows = len(x), x.reshape((-1, net.W.shape[1]))
            both = x.transpose((1, 0)).sum(axis=(0, n - n + 1))
            return net(rows), x.reshape((n, -1)).sum(), both, net(x).array.reshape([n, 2]), x.repeat(n, 0).mean(tuple(range(1)))
        return [net], [lambda: f(arr(4, 3)), lambda: f(arr(6, 3))]
    skipped(check(make, mode), mode)


def by_brackets(x, n):
    a, b = np.ogrid[0:2, 0:n]
    return np.c_[x, np.ones(len(x))], np.r_[x[0], 1.0, x[1]], np.mgrid[0:2, 0:n].sum(), (a + b).sum(), x[np.s_[1:, :2]].sum(), np.c_[x[:, 0], x[:, 1]]


def places_and_windows(x, n):
    y = x.copy()
    np.put(y, [0, n], 9.0)
    np.place(y, y < 0, [1.0, 2.0])
    row, column = np.unravel_index(x.argmax(), x.shape)
    return y, x[row, column], np.lib.stride_tricks.sliding_window_view(x[:, 0], 2).mean(axis=1)


@pytest.mark.parametrize("body", [by_brackets, places_and_windows])
def test_arrays_by_brackets_and_windows(mode, body):
    def make(wrap):
        net = L.Linear(3, 2)

        @wrap
        def f(x, n):
            return F.sum(net(x)), body(x, n)
        return [net], [lambda: f(arr(4, 3), 3), lambda: f(arr(6, 3), 3), lambda: f(arr(4, 3, seed=5), 2)]
    skipped(check(make, mode), mode)
