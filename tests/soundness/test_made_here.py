"""What a traced function makes with NumPy and gives away: Variables of arrays, gradients of its own, arrays that NumPy changes in place."""
import functools
import operator
import types
import typing

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


def linear(*shape):
    net = L.Linear(*shape)
    net.W.array[...], net.b.array[...] = arr(*shape[::-1]) * 0.3, 0.1
    return net


# ------------------------------------------------------------------------------------------------------------------------- new Variables

def of_a_result(net, x):
    return hnn.Variable(-net(x).array)


def of_an_argument(net, x):
    return hnn.Variable(x), net(x)


def of_numpy(net, x):
    v = hnn.Variable(x * 2, requires_grad=False)
    return v, [v], v.array, net(x)


def met_twice(net, x):
    y = net(x)
    return {"a": hnn.Variable(y.array), "b": hnn.Variable(y.array), "y": y}


def computed_with(net, x):
    v = hnn.Variable(x * 2)
    return v, net(v)


def without_gradient(net, x):
    v = hnn.Variable(x * 2, requires_grad=False)
    return v, net(v)


def named(net, x):
    return hnn.Variable(net(x).array, name="y")


def changed_later(net, x):
    a = x * 2
    v = hnn.Variable(a)
    a += 1
    return v, net(x)


def descended(net, x):
    for _ in range(3):
        v = hnn.Variable(x)
        g, = hnn.grad([F.sum(F.tanh(net(v)))], [v])
        x = x - 0.1 * g.array
    return hnn.Variable(x)


@pytest.mark.parametrize("body", [of_a_result, of_an_argument, of_numpy, met_twice, computed_with, without_gradient, named, changed_later, descended])
def test_variables_are_returned(mode, body):
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x: body(net, x))
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), lambda: f(arr(4, 3))]
    w = check(make, mode, tolerance=10.0)
    if body not in (computed_with, named, changed_later):
        skipped(w, mode)


@pytest.mark.parametrize("trained", [False, True])
def test_a_state_is_kept_without_its_graph(mode, trained):
    def make(wrap):
        net, held = linear(3, 3), types.SimpleNamespace(h=hnn.Variable(np.zeros((2, 3), "f")))
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x):
            y = F.tanh(net(held.h) + x)
            held.h = hnn.Variable(y.array)
            loss = F.sum(y)
            if trained:
                net.cleargrads()
                loss.backward()
                opt.update()
            return loss

        def again():
            held.h = hnn.Variable(np.ones((2, 3), "f"))
            return f(arr(2, 3))
        return [net, held], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1)), again]
    skipped(check(make, mode, tolerance=10.0), mode)


# ------------------------------------------------------------------------------------------------------------------- gradients of its own

def from_grad(net, loss):
    for p, g in zip(net.params(), hnn.grad([loss], list(net.params()))):
        p.grad = g.array


def scaled(net, loss):
    for p, g in zip(net.params(), hnn.grad([loss], list(net.params()))):
        p.grad = g.array * 0.5


def cleared_before(net, loss):
    net.cleargrads()
    gradients = hnn.grad([loss], list(net.params()))
    for p, g in zip(net.params(), gradients):
        p.grad = g.array
    net.seen = gradients[0]


def of_numpy_only(net, loss):
    for p in net.params():
        p.grad = np.full(p.shape, 0.25, "f")


def one_for_two(net, loss):
    g, = hnn.grad([loss], [net.b])
    net.b.grad = g.array
    net.c.grad = g.array


def read_again(net, loss):
    from_grad(net, loss)
    net.norm = sum([float((p.grad ** 2).sum()) for p in net.params()])


def replaced(net, loss):
    net.cleargrads()
    loss.backward()
    net.W.grad = net.W.grad * 2
    net.b.grad = np.ones(3, "f")


@pytest.mark.parametrize("give", [from_grad, scaled, cleared_before, of_numpy_only, one_for_two, read_again, replaced])
@pytest.mark.parametrize("kind", ["SGD", "MomentumSGD", "Adam"])
def test_gradients_are_given(mode, give, kind):
    def make(wrap):
        net = linear(3, 3)
        with net.init_scope():
            net.c = hnn.Parameter(np.zeros(3, "f"))
        opt = getattr(optimizers, kind)().setup(net)

        @wrap
        def step(x):
            loss = F.sum(F.tanh(net(x) * net.c) ** 2)
            give(net, loss)
            opt.update()
            return loss

        def clipped():
            opt.add_hook(hnn.optimizer_hooks.GradientClipping(0.01))
            try:
                return step(arr(2, 3))
            finally:
                opt.remove_hook("GradientClipping")

        def scaled_before():
            net.cleargrads()
            F.sum(net(arr(2, 3))).backward(loss_scale=8.0)
            return step(arr(2, 3))

        def backward_after():
            step(arr(2, 3))
            F.sum(net(arr(2, 3))).backward()
        return [net, opt], [lambda: step(arr(2, 3)), lambda: step(arr(4, 3)), clipped, scaled_before, backward_after]
    w = check(make, mode, tolerance=100.0)
    if give is not one_for_two:
        skipped(w, mode)


# --------------------------------------------------------------------------------------------------------------------- NumPy's functions

def own_diagonal(x, net, box, i):
    s = x @ x.T
    np.fill_diagonal(s, -1e9)
    return F.softmax(s)


def own_elements(x, net, box, i):
    z = np.zeros((3, 3), "f")
    np.add.at(z, i, x)
    np.maximum.at(z, (i, i), 0.5)
    np.put_along_axis(z, z.argmax(1)[:, None], 9, 1)
    return net(z)


def outside_elements(x, net, box, i):
    np.add.at(box, i, x)
    np.fill_diagonal(box, 2)
    return net(x) + box[0]


def of_a_gradient(x, net, box, i):
    net.cleargrads()
    F.sum(F.exp(net(x))).backward()
    np.fill_diagonal(net.W.grad, 0)
    return net.W.grad


def decompositions(x, net, box, i):
    a = x.T @ x + np.eye(3, dtype="f")
    values, vectors = np.linalg.eigh(a)
    s = np.linalg.svd(a)
    return net(x) * np.linalg.slogdet(a).logabsdet * values[0], s.S, abs(vectors), np.linalg.qr(a)[1].shape


def reduced(x, net, box, i):
    return net(x) + np.add.reduce(x, 0), np.maximum.accumulate(x, axis=1), np.subtract.outer(x[0], x[1]), np.tensordot(x, x, 2)


def filled_later(x, net, box, i):
    z = np.empty_like(x)
    np.multiply(x, 2, out=z)
    w = np.empty((4, 3), "f")
    w[:2], w[2:] = x[:2], z[:2]
    return net(z), net(w)


def many_at_once(x, net, box, i):
    box[i], box[i, 0] = x, 1
    return net(box)


@pytest.mark.parametrize("body", [own_diagonal, own_elements, outside_elements, of_a_gradient, decompositions, reduced, filled_later, many_at_once])
def test_functions_of_numpy(mode, body):
    def make(wrap):
        net, box = linear(3, 3), arr(3, 3, seed=5).copy()
        f = wrap(lambda x, i: body(x, net, box, i))

        def wrong(*i):
            try:
                return f(arr(3, 3), np.array(i))
            except (IndexError, ValueError) as error:
                return type(error), str(error)
        right = [lambda: f(arr(3, 3), np.array([0, 2, 1])), lambda: f(arr(3, 3, seed=1), np.array([1, 1, 0]))]
        return [net, box], [*right, lambda: wrong(0, 5, 1), lambda: wrong(-1, -3, 0), lambda: wrong(0, 1)]
    skipped(check(make, mode, tolerance=10.0), mode)


def test_functions_made_of_python_are_followed_nowhere(mode):
    def make(wrap):
        met = []
        own = np.frompyfunc(lambda a, b: met.append(1) or a + b, 2, 1)
        f = wrap(lambda x: F.sum(hnn.as_variable(own.reduce(x.astype("O"), axis=0).astype("f"))))
        return [met], [lambda: f(arr(2, 3))]
    check(make, mode)


def one_hot(x, net, i):
    return net(x) * np.eye(3, dtype="f")[i]


def seen_as_well(x, net, i):
    e = np.eye(3, dtype="f")
    return net(x) * e[i], e, e[0], np.arange(6.0).reshape(2, 3)


def changed_as_well(x, net, i):
    e = np.ones((3, 3), "f")
    y = net(x) * e[i]
    e[i] = x
    z = np.zeros(3, "f")
    z[i[0]] += 1
    z[0] = 2
    return y + e[i] * z, z


@pytest.mark.parametrize("body", [one_hot, seen_as_well, changed_as_well])
def test_arrays_made_of_constants(mode, body):
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x, i: body(x, net, i))

        def changing():
            y = f(arr(3, 3), np.array([0, 2, 1]))
            if isinstance(y, tuple):
                y[1][...] = 7
            return y
        return [net], [lambda: f(arr(3, 3), np.array([0, 2, 1])), lambda: f(arr(3, 3), np.array([1, 1, 0])), changing]
    for held in (False, True):
        skipped(check(make, mode, held=held, tolerance=10.0), mode)


def test_floating_point_errors_where_numpy_computes(mode):
    """What NumPy computes under the user's own ``errstate`` warns, raises and stays silent as it does eagerly."""
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x, i: net(x) + np.log(x)[0] * np.exp(-x * 80)[0])

        def told(**states):
            with np.errstate(**states):
                try:
                    return f(abs(arr(3, 3)), 0), f(np.zeros((3, 3), "f"), 0)
                except FloatingPointError as error:
                    return str(error)
        states = [{}, {"under": "raise"}, {"under": "warn"}, {"all": "ignore"}, {"divide": "raise"}]
        return [net], [lambda: f(abs(arr(3, 3)), 0), *[lambda s=s: told(**s) for s in states]]
    check(make, mode, tolerance=10.0)


def table_of_pairs(net, x, n):
    best = {(-1, -1): 0.0, **{(i, -1): 9.0 for i in range(n)}, **{(-1, j): 9.0 for j in range(n)}}
    d = net(x)
    for i in range(n):
        for j in range(n):
            best[i, j] = d[i, j] + F.minimum(F.exp(d[j, i]), 0.5 + best[i - 1, j - 1] + best[(i, j - 1)]) if (i - 1, j) in best else d[0, 0]
    return best[n - 1, n - 1], (n, n) in best


def kept_table(net, x, n):
    y = net(x)
    return {(i, "a", None): y[i] for i in range(n)}, {(n, True): 1}


@pytest.mark.parametrize("body", [table_of_pairs, kept_table])
def test_dicts_with_tuples_for_keys(mode, body):
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x, n: body(net, x, n))
        return [net], [lambda: f(arr(3, 3), 3), lambda: f(arr(3, 3, seed=1), 3), lambda: f(arr(3, 3), 2)]
    skipped(check(make, mode, tolerance=10.0), mode)


def test_an_array_of_a_sum_behind_an_update(mode):
    def make(wrap):
        net = linear(3, 3)
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            net.cleargrads()
            total = 0.0
            for part in np.split(x, 2):
                loss = F.sum(net(part) ** 2)
                loss.backward()
                total += float(loss.array)
            opt.update()
            return hnn.Variable(np.array(total, "f")), np.asarray(total / 2)
        return [net, opt], [lambda: step(arr(4, 3)), lambda: step(arr(4, 3, seed=1)), lambda: step(arr(4, 3) * 1e25)]
    skipped(check(make, mode, tolerance=100.0), mode)


def into_rows(net, box, x, k):
    y = net(x)
    for row in box:
        row[k] = y.array[0, 0]
        row[-1, ..., None] = 2
    return F.sum(y * box[0])


def into_rows_of_rows(net, box, x, k):
    y, total = net(x), 0
    for first, *_, last in box:
        first[k:k + 1], last[...] = y.array[0, :1], 7
        total += F.sum(F.exp(first) * last)
    return total, first.copy()


def into_one_place(net, box, x, k):
    box[1][k] = net(x).array[0]
    box[0][-1][1] = 5
    seen = box[1]
    box[1][2][:] += 1
    return F.sum(F.matmul(seen, x)), box[0][k] * 2


def by_arrays(net, box, x, k):
    box[0][np.array([k, 0])] = net(x).array[0]
    box[1][:, [0, k]] = 3
    return box.copy()


@pytest.mark.parametrize("body", [into_rows, into_rows_of_rows, into_one_place, by_arrays])
@pytest.mark.parametrize("passed", [False, True])
def test_stores_into_rows(mode, body, passed):
    def make(wrap):
        net, box = linear(3, 3), arr(2, 3, 3, seed=5).copy()
        f = wrap((lambda box, x, k: body(net, box, x, k)) if passed else lambda x, k: body(net, box, x, k))

        def call(seed, k):
            x = arr(3, 3, seed=seed)
            try:
                return f(box, x, k) if passed else f(x, k)
            except IndexError as error:
                return str(error)
        return [net, box], [lambda: call(0, 0), lambda: call(1, 1), lambda: call(0, 2), lambda: call(0, 3), lambda: call(0, -1)]
    w = check(make, mode, tolerance=100.0)
    if body in (into_rows, into_rows_of_rows):
        skipped(w, mode)


class Carry(typing.NamedTuple):
    h: object
    n: int = 0


class Renamed(Carry):
    def _replace(self, **fields):
        return Carry(*super()._replace(**fields))


@pytest.mark.parametrize("kind", [Carry, Renamed])
def test_named_tuples_with_other_fields(mode, kind):
    def make(wrap):
        net = linear(3, 3)

        @wrap
        def f(x, wrong):
            carry = kind(x)
            for _ in range(2):
                carry = carry._replace(h=F.tanh(net(carry.h)), n=carry.n + 1)
            return carry, carry._replace(m=1) if wrong else carry._replace()

        def refused():
            try:
                return f(arr(2, 3), True)
            except (TypeError, ValueError) as error:
                return type(error), str(error)
        return [net], [lambda: f(arr(2, 3), False), lambda: f(arr(2, 3, seed=1), False), refused]
    w = check(make, mode, tolerance=10.0)
    if kind is Carry:
        skipped(w, mode)


def test_operators_by_name(mode):
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x, n: (operator.mul(net(x), 2.0), operator.matmul(x, net.W), operator.add(n, 1), operator.lt(n, 2), operator.concat([x], [n]),
                               functools.reduce(operator.mul, x.shape)))
        return [net], [lambda: f(arr(2, 3), 1), lambda: f(arr(2, 3, seed=1), 1), lambda: f(arr(4, 3), 1), lambda: f(arr(2, 3), 2), lambda: f(arr(2, 3), "a")]
    check(make, mode, tolerance=10.0)


def test_operators_by_name_run_no_python(mode):
    def make(wrap):
        net = linear(3, 3)
        f = wrap(lambda x: operator.sub(1.0, operator.truediv(net(x), operator.add(x, 1))))
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1))]
    skipped(check(make, mode, tolerance=10.0), mode)
