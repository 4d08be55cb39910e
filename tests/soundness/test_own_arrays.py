"""Arrays that the program makes and then changes, lists of numbers, arrays of Variables from outside: a plan makes them anew on every call."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)
T = np.array([0, 2, 1], np.int32)


def one_hot(x, t):
    m = np.zeros((len(t), 3), np.float32)
    m[np.arange(len(t)), t] = 1
    return m


def masked(x, t):
    m = np.ones_like(x)
    m[:, 1] = 0.5
    m *= 2
    m -= x
    m[m < 0] = 0
    m[0, 0] = x.sum()
    return m


def used_before(x, t):
    m = np.zeros(3, np.float32)
    before = m + 1
    total = m.sum()
    m[1] = 5
    return before * m + total


def counted(x, t):
    total = np.zeros(2, np.float32)
    for k, n in enumerate(t.tolist()):
        total[k % 2] += n
    return total.sum()


def nested(x, t):
    rows = (np.stack([t, t * 2])).tolist()
    return sum(a * b for a, b in rows[0:1] for a, b in [(rows[0][0], rows[1][2])]) if False else rows[0][1] * rows[1][2] + x[0, 0]


def drawn_and_changed(x, t):
    z = np.random.rand(3).astype("f")
    noise = np.random.randn(3, 3)
    noise[0] = 0
    noise *= 0.5
    z[t[0] % 3] = 7
    return z * noise.astype("f")


def viewed_before(x, t):
    m = x * 2
    row, rest, column = m[0], m[1:], m[:, 1]
    before = row * 2 + column.sum()
    m[0, 1] = 5
    after = row + rest.sum()
    m *= 3
    return before * after + row * column.max()


def seen_in_a_split(x, t):
    m = x * 2
    first, second, _ = np.split(m, 3)
    m[0] = 5
    return first + second


def row_by_row(x, t):
    m = np.zeros((2, 3), np.float32)
    m[0][t[0] % 3] = 1
    m[1][:2] = x[0, 0]
    m[1][2] += 4
    return m.sum(axis=0) * m[1]


def rows_kept(x, t):
    m = np.ones((2, 3), np.float32)
    row = m[0]
    row[1] = 3
    before = row * 2
    m[0][t[1] % 3] = 7
    return before + row * m[1]


@pytest.mark.parametrize("body", [
    one_hot, masked, row_by_row, rows_kept, used_before, counted, nested, drawn_and_changed, viewed_before,
    lambda x, t: (m := np.full((3, 3), 2.0, np.float32), m.__setitem__ if False else 0, m)[2],
    lambda x, t: [n * 2 for n in t.tolist()][1] * np.float32(1),
])
def test_own_arrays(mode, body):
    def make(wrap):
        f = wrap(lambda x, t: F.exp(x) * body(x, t))
        return [], [lambda: f(arr(3, 3), T), lambda: f(arr(3, 3, seed=4), T[::-1].copy()), lambda: f(arr(3, 3), T + 1), lambda: f(arr(2, 3), T[:2]),
                    lambda: f(arr(3, 3), np.array([0, 1, 2], np.int64)), lambda: f(arr(3, 3) * np.float32("nan"), T)]
    skipped(check(make, mode), mode)


def test_parts_that_change_with_the_whole(mode):
    def make(wrap):
        f = wrap(lambda x: F.exp(x) * seen_in_a_split(x, T))
        return [], [lambda: f(arr(3, 3)), lambda: f(arr(3, 3, seed=4))]
    check(make, mode)


def test_arrays_that_are_seen_elsewhere(mode):
    """Views, operands of operations, members of containers: what they show after the change is what NumPy shows."""
    def make(wrap):
        kept = []

        def view(x):
            m = np.zeros((2, 3), np.float32)
            row = m[0]
            m[0] = 2
            return F.exp(x) * row

        def operand(x):
            m = np.ones(3, np.float32)
            y = x * hnn.Variable(m)
            m[1] = 4
            return y, x * m

        def member(x):
            m = np.ones(3, np.float32)
            boxes = [m, m]
            kept.append(m)
            m += 1
            boxes[0][2] = 7
            return F.exp(x) * boxes[1], boxes

        def itself(x):
            m = np.arange(3, dtype=np.float32)
            m[1:] = m[:2] * 2
            n = m
            n *= 3
            return F.exp(x) * m

        def through(x):
            m = np.arange(3, dtype=np.float32)
            n = np.asarray(m)
            n[0] = 9
            return F.exp(x) * m

        def deciding(x):
            m = np.zeros(1, np.float32)
            if m[0] > 0:
                return x
            m[0] = 3
            return F.exp(x) * m if m[0] > 1 else x

        def read_only(x):
            m = np.broadcast_to(np.float32(1), (3,))
            m[0] = 2
            return F.exp(x) * m

        def narrow(x):
            m = np.zeros(3, np.int32)
            m += 1.5
            return F.exp(x) * m

        def drawn(x):
            m = np.random.rand(3).astype(np.float32)
            m[0] = 2
            n = np.random.rand(3)
            n *= 2
            return F.exp(x) * m, n
        calls = [wrap(lambda x, fn=fn: fn(x)) for fn in (view, operand, member, itself, through, deciding, read_only, narrow, drawn)]
        return kept, [lambda f=f: f(hnn.Variable(arr(3))) for f in calls]
    check(make, mode)


def test_arrays_written_at_the_end(mode):
    """What is computed before it is written somewhere stays what it was then."""
    def make(wrap):
        mean = np.zeros(3, np.float32)
        net = L.Linear(3, 3)

        @wrap
        def f(x):
            y = net(x)
            m = np.zeros(3, np.float32)
            m[0] = 1
            mean[...] = m
            m[1] = 2
            return y, m

        @wrap
        def g(x):
            y = F.sum(net(x))
            m = np.zeros(3, np.float32)
            m[1] = y.array
            return y, m
        return [mean, net], [lambda: f(arr(2, 3)), lambda: g(arr(2, 3)), lambda: g(arr(2, 3, seed=1))]
    check(make, mode)


def test_arrays_of_variables_from_outside(mode):
    def make(wrap):
        held = [hnn.Variable(arr(3, seed=5), requires_grad=False)]
        v = hnn.Variable(arr(3), requires_grad=False)

        @wrap
        def f(x):
            scale = x.array.max() + held[0].array[1]
            y = hnn.Variable(hnn.as_variable(x).array) * held[0].array * scale
            return y, x.array, F.exp(x)

        @wrap
        def g(x):
            x.array[0] = 3
            return F.exp(x)

        def replaced():
            held[0] = hnn.Variable(arr(3, seed=6), requires_grad=False)
            return f(v)

        def assigned():
            v.array = arr(3, seed=8)
            try:
                return f(v)
            finally:
                v.array = arr(3)
        return [held], [lambda: f(v), lambda: f(hnn.Variable(arr(3, seed=2), requires_grad=False)), replaced, assigned, lambda: f(hnn.Variable(arr(2, 3))),
                        lambda: f(held[0]), lambda: g(hnn.Variable(arr(3)))]
    skipped(check(make, mode), mode)


def test_properties_of_links(mode):
    """A property with a setter, and what it finds in other calls."""
    def make(wrap):
        class Scaled(hnn.Chain):
            def __init__(self):
                super().__init__()
                self._scale, self.log = 1.0, []
                with self.init_scope():
                    self.layer = L.Linear(3, 3)

            @property
            def scale(self):
                return self._scale

            @scale.setter
            def scale(self, value):
                self.log.append(value)
                self._scale = value
        net = Scaled()

        @wrap
        def f(x):
            net.scale = 2.0
            return net.layer(x) * net.scale

        def other():
            setter = Scaled.scale
            Scaled.scale = setter.setter(lambda self, value: setattr(self, "_scale", value * 2))
            try:
                return f(arr(2, 3))
            finally:
                Scaled.scale = setter
        return [net], [lambda: f(arr(2, 3)), other]
    skipped(check(make, mode), mode, 5)


def test_devices(mode):
    """Library helpers that look at arrays and the configuration."""
    def make(wrap):
        net = L.StatefulMGU(3, 2)

        @wrap
        def f(x):
            net.reset_state()
            x = net.device.send(x)
            xp = hnn.backend.get_array_module(x)
            y = net(x) + net(x)
            return y + xp.zeros(y.shape, y.dtype) + hnn.get_dtype(None).itemsize

        def doubled():
            with hnn.using_config("dtype", np.float64):
                return f(arr(2, 3))
        return [net], [lambda: f(arr(2, 3)), doubled, lambda: f(arr(3, 3))]
    skipped(check(make, mode), mode)


def filled(net, z):
    """One column after the other, as autoregressive models are sampled."""
    x = np.zeros_like(z)
    for k in range(3):
        x[:, k] = z[:, k] * net(x).array[:, k] + 0.5
    return x


def moved(net, z):
    x = np.random.randn(*z.shape).astype("f")
    for _ in range(3):
        x += 0.1 * net(x).array
    return x, net(x)


def recurrent(net, z):
    h, outs = np.zeros_like(z), []
    for _ in range(3):
        h[:] = F.tanh(net(h) + z).array
        outs.append(h.copy())
    return np.stack(outs)


def row_by_row(net, z):
    rows = np.zeros((4, *z.shape), "f")
    rows[0] = z
    for k in range(3):
        rows[k + 1] = rows[k] + net(rows[k]).array
    return rows


def copied_first(net, z):
    z = z.copy()
    before = F.sum(net(z))
    z *= 2
    return before, F.sum(net(z) * z), z


def masked_more(net, z):
    mask, ys = np.ones_like(z), []
    for k in range(3):
        ys.append(net(z * mask).array + net(mask).array)
        mask[:, k] = 0
    return ys, mask


def reshaped(net, z):
    """The operation gives a view."""
    x = z * 2
    y = F.reshape(x, (3, -1))
    x[0] = 7
    return y, F.exp(y)


def left(net, z):
    x = z * 2
    y = net(x)
    if F.sum(y).item() > 0:
        x[0] = 7
    x -= 1
    return net(x), x


OPERANDS = [filled, moved, recurrent, row_by_row, copied_first, masked_more, reshaped, left]


@pytest.mark.parametrize("body", OPERANDS)
def test_operands_that_change_in_place(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        net.b.array[:] = 0.25

        @wrap
        def f(z):
            with hnn.no_backprop_mode():
                return body(net, z)
        return [net], [lambda: f(arr(3, 3)), lambda: f(arr(3, 3, seed=4)), lambda: f(arr(6, 3)), lambda: f(arr(3, 3) * np.float32("nan"))]
    world = check(make, mode)
    if body is not reshaped:
        skipped(world, mode)


def world_of(wrap, body, trained, by_result=False):
    """A layer, and a function that hands it to ``body`` and then may train it, by what that gives first or by a loss of its own."""
    net = L.Linear(3, 3)
    net.b.array[:] = 0.25
    opt = hnn.optimizers.SGD(0.01).setup(net)

    @wrap
    def f(z):
        found = body(net, z)
        if trained:
            net.cleargrads()
            (found[0] if by_result else F.sum(net(z))).backward()
            opt.update()
        return found
    return net, f


@pytest.mark.parametrize("body", OPERANDS)
@pytest.mark.parametrize("trained", [False, True])
def test_operands_in_a_graph_that_change_in_place(mode, body, trained):
    """Gradients are those of what NumPy has made of them."""
    def make(wrap):
        net, f = world_of(wrap, body, trained)

        def call(z):
            found = f(z)
            last = next((v for v in (found if isinstance(found, tuple) else ()) if isinstance(v, hnn.Variable) and not trained), None)
            if last is not None:
                net.cleargrads()
                F.sum(last).backward()
            return found
        return [net], [lambda: call(arr(3, 3)), lambda: call(arr(3, 3, seed=4)), lambda: call(arr(6, 3))]
    world = check(make, mode)
    if body in (filled, recurrent, row_by_row, masked_more):       # nothing asks for the graph
        skipped(world, mode)


def test_a_graph_of_which_only_arrays_are_returned_is_not_kept(mode):
    net = hnn.Sequential(L.Linear(3, 4), F.tanh, L.Linear(4, 2))
    traced = hnn.trace(mode=mode)(lambda x: net(x).array)
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(8):
            traced(arr(5, 3))
    assert mode != "auto" or [len(s.outputs) for plan in traced._memory.plans for s in plan.segments] == [1]


@pytest.mark.parametrize("when", ["before", "behind"])
def test_an_operand_changes_before_backward_asks_for_it(mode, when):
    def make(wrap):
        net = L.Linear(3, 3)
        opt = hnn.optimizers.SGD(0.01).setup(net)

        @wrap
        def f(z):
            x = z * 2
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            if when == "before":
                x *= 0.5
            loss.backward()
            if when == "behind":
                x *= 0.5
            opt.update()
            return loss, F.sum(net(x)), x
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=4)), lambda: f(arr(4, 3))]
    check(make, mode)


def masked_policy(net, z):
    p = F.softmax(net(z)).array
    best = p.argmax(1)
    p[z > 1] = 0
    p /= p.sum(1, keepdims=True) + 1e-3
    return p, best


def first_row(net, z):
    row = F.softmax(net(z)).array[0]
    row[0] = 0
    row /= row.sum()
    return row


def target_by_hand(net, z):
    """As Q-learning is taught: the prediction, with other numbers for the actions that were taken."""
    with hnn.no_backprop_mode():
        t = net(z).array
    t[np.arange(len(z)), z.argmax(1)] = z.sum(1)
    return F.sum((net(z) - t) ** 2), t


def emptied(net, z):
    y = net(z)
    a = y.array
    a[a > 9] = 0
    return F.sum(net(a)), y.array


def its_variable(net, z):
    y = F.tanh(net(z))
    y.array[0] = 1
    return y, y * 2


def taken_before(net, z):
    y = F.tanh(net(z))
    total = F.sum(y * y)
    y.array[0] = 1
    return total, y.array


def held_twice(net, z):
    y = net(z)
    other = hnn.Variable(y.array)
    twice = other * 2
    y.array[:] = 1
    return twice, other


def parts(net, z):
    a, b = net(z).array, np.ones((2, 3, 3))
    a[1:] *= 2
    a[0] += z[0]
    b[0, 1:] *= 2
    b[..., 0] += b[..., 1]
    row = b[1]
    row -= 1
    np.exp(a[1], out=a[1])
    return a, b, row.sum()


def methods(net, z):
    a, b = net(z).array, np.empty((2, 3))
    b.fill(z[0, 0])
    a.sort()
    c = z.copy()
    c[1].fill(2)
    np.copyto(c[0], a[0])
    return a, b, c


@pytest.mark.parametrize("body", [masked_policy, first_row, target_by_hand, emptied, its_variable, taken_before, held_twice, parts, methods])
@pytest.mark.parametrize("trained", [False, True])
def test_results_that_change_in_place(mode, body, trained):
    def make(wrap):
        net, f = world_of(wrap, body, trained, by_result=body is target_by_hand)
        few = arr(3, 3) * np.float32(0.1)
        return [net], [lambda: f(arr(3, 3) * 2), lambda: f(few), lambda: f(arr(6, 3)), lambda: f(arr(3, 3) * np.float32("nan"))]
    world = check(make, mode)
    if body in (masked_policy, first_row, target_by_hand, parts, methods):
        skipped(world, mode)


def test_arrays_from_outside_that_methods_change(mode):
    def make(wrap):
        state = types.SimpleNamespace(trace=np.ones((2, 3), "f"), order=np.zeros(3, "f"))

        @wrap
        def f(x):
            state.order[:] = x[0]
            state.order.sort()
            total = state.trace.sum()
            state.trace.fill(x[0, 0])
            state.trace[0].fill(2)
            return total + state.order[0]
        return [state], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=4))]
    skipped(check(make, mode), mode)


def edited_targets(net, z, actions):
    with hnn.no_backprop_mode():
        t = net(z).array
    for k, a in enumerate(actions):
        t[k][a] = z[k].sum() + 0.9 * np.amax(t[k])
    return F.sum((net(z) - t) ** 2), t


def ones_here(net, z, actions):
    m = np.zeros(z.shape, "f")
    for k, a in enumerate(actions):
        m[k, a] = 1
        m[k][a] += 2
    m[actions[0]] -= 3
    return m


def by_numbers_of_numpy(net, z, actions):
    m, a = np.zeros(z.shape), np.array(actions)
    m[0][a[0]] = 2
    m[a[1], a[2]] = 3
    return m


@pytest.mark.parametrize("body", [edited_targets, ones_here, by_numbers_of_numpy])
def test_elements_of_own_arrays_at_places_that_change(mode, body):
    def make(wrap):
        net, n = L.Linear(3, 3), [0]
        f = wrap(lambda z, actions: body(net, z, actions))

        def call():
            n[0] += 1
            return f(arr(3, 3, seed=n[0]), tuple(int(k) for k in np.random.RandomState(n[0]).randint(0, 3, 3)))
        return [net], [call, lambda: f(arr(3, 3), (0, 5, 1)), lambda: f(arr(3, 3), (0, -1, True)), call]
    world = check(make, mode)
    skipped(world, mode)


def add_reversed(a):
    a += a[::-1]


def from_the_first_row(a):
    a -= a[0]


def held_view(a):
    b = a[::-1]
    a *= b
    b += 1


def told_where(a):
    np.maximum(a, a[0], out=a)


def twice_of_views(a):
    b, c = a[0], a[1]
    a += b
    a *= c


def partly(a):
    a[a[:, 0] > 0.1] += a[0]


@pytest.mark.parametrize("change", [add_reversed, from_the_first_row, held_view, told_where, twice_of_views, partly])
@pytest.mark.parametrize("made", [lambda z, y: z.copy(), lambda z, y: y.array, lambda z, y: np.random.rand(3, 3)], ids=["copied", "computed", "drawn"])
def test_an_array_changes_by_its_own_parts(mode, made, change):
    """What a view showed before the change goes into it: planning such a call took forever."""
    def make(wrap):
        @wrap
        def f(z):
            y = F.tanh(z)
            a = made(z, y)
            change(a)
            return a, F.exp(z)
        return [], [lambda: f(arr(3, 3)), lambda: f(arr(3, 3, seed=4)), lambda: f(arr(6, 3))]
    skipped(check(make, mode), mode)
