"""Parameters, states and statistics that are views: of one flat vector, of a file or a buffer, transposed. And arrays that share memory with them."""
import mmap

import numpy as np
import pytest
from worlds import MODES, Traces, arr, check, net, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


def own(model):
    """Every array has memory of its own."""


def flat(model):
    params = list(model.params())
    model.vector = np.concatenate([p.array.ravel() for p in params])
    place = 0
    for p in params:
        p.array = model.vector[place:place + p.size].reshape(p.shape)
        place += p.size


def transposed(model):
    for p in model.params():
        p.array = p.array.T.copy().T


def fortran(model):
    for p in model.params():
        p.array = np.asfortranarray(p.array)


def strided(model):
    for p in model.params():
        wide = np.zeros((*p.shape, 2), "f")
        wide[..., 1] = p.array
        p.array = wide[..., 1]


def backwards(model):
    for p in model.params():
        p.array = p.array[::-1].copy()[::-1]


def columns(model):
    wide = np.zeros((4, 9), "f")
    for k, p in enumerate(model.params()):
        part = wide[:p.shape[0], 3 * k:3 * k + p.size // p.shape[0]] if p.ndim > 1 else wide[:p.size, 8 - k]
        part[...] = p.array if p.ndim < 2 or p.shape[1] <= 3 else 0.1
        p.array = part if part.shape == p.shape else p.array


def buffers(model):
    for p in model.params():
        p.array = np.frombuffer(bytearray(p.array.tobytes()), "f").reshape(p.shape)


def mapped(model):
    memory = mmap.mmap(-1, 4096)
    place = 0
    for p in model.params():
        a = np.frombuffer(memory, "f", p.size, place).reshape(p.shape)
        a[...] = p.array
        p.array = a
        place += p.array.nbytes


WAYS = [own, flat, transposed, fortran, strided, backwards, columns, buffers, mapped]


def loss_of(model, x):
    return F.sum(F.tanh(model.b(F.relu(model.a(x)))) ** 2)


def step_of(model, opt):
    """A training step."""
    def step(x):
        loss = loss_of(model, x)
        model.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return step


@pytest.mark.parametrize("way", WAYS)
def test_updates(mode, way):
    def make(wrap):
        model = net()
        way(model)
        opt = optimizers.Adam().setup(model)
        f = wrap(step_of(model, opt))

        def written():
            model.a.W.array[0] *= 2
            return f(arr(2, 3))

        def replaced():
            model.a.W.array = model.a.W.array * 2
            return f(arr(2, 3))

        def frozen():
            model.b.W.array.flags.writeable = False
            try:
                return f(arr(2, 3))
            except ValueError as error:
                return str(error)
            finally:
                model.b.W.array.flags.writeable = True
        return [model], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), written, replaced, *([] if way is mapped else [frozen])]
    skipped(check(make, mode, tolerance=100.0), mode)


def ema(p, q):
    q.array += 0.125 * (p.array - q.array)


def copied(p, q):
    q.copydata(p)


def whole(p, q):
    q.array[...] = 0.5 * (p.array + q.array)


def row(p, q):
    q.array[0] += p.array[-1]


def by_hand(p, q):
    p.array -= 0.1 * p.grad


@pytest.mark.parametrize("way", [flat, transposed, strided, buffers])
@pytest.mark.parametrize("how", [ema, copied, whole, row, by_hand])
def test_numpy_writes(mode, way, how):
    def make(wrap):
        model, target = net(), net()
        way(model)
        way(target)
        opt = optimizers.Adam().setup(model)
        updates = how is not by_hand

        @wrap
        def f(x):
            loss = loss_of(model, x) + F.sum(target.a(x))
            model.cleargrads()
            loss.backward()
            if updates:
                opt.update()
            for p, q in zip(model.params(), target.params()):
                how(p, q)
            return loss

        def shared():
            target.b.b.array = model.b.b.array[:]
            return f(arr(2, 3))

        def apart():
            target.b.b.array = model.b.b.array.copy()
            return f(arr(2, 3))
        return [model, target], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), shared, apart]
    skipped(check(make, mode, tolerance=100.0), mode)


def overlap_inside(model):
    """Each parameter begins where the one before has not ended."""
    vector = arr(64, seed=5)
    for k, p in enumerate(model.params()):
        p.array = vector[2 * k:2 * k + p.size].reshape(p.shape)


def overlap_interleaved(model):
    vector = arr(64, seed=5)
    for k, p in enumerate(model.params()):
        p.array = vector[k % 2:][::2][:p.size].reshape(p.shape)


def overlap_with_itself(model):
    for p in model.params():
        p.array = np.lib.stride_tricks.as_strided(arr(32, seed=6), p.shape, [4] * p.ndim)


@pytest.mark.parametrize("way", [overlap_inside, overlap_interleaved, overlap_with_itself])
def test_parameters_share_memory(mode, way):
    """At first, later, and no more."""
    def make(wrap):
        model, other = net(), net()
        way(model)
        flat(other)
        tools = [(m, optimizers.SGD(0.1).setup(m)) for m in (model, other)]

        @wrap
        def f(m, opt, x):
            loss = loss_of(m, x)
            m.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def run(k):
            return lambda: f(*tools[k], arr(2, 3))

        def later():
            way(other)
            return run(1)()

        def no_more():
            flat(other)
            return run(1)()
        return [model, other], [run(1), run(0), later, no_more]
    check(make, mode, tolerance=10.0)


PARTS = {
    "slice": lambda a: a[:2],
    "reversed": lambda a: a[::-1],
    "strided": lambda a: np.lib.stride_tricks.as_strided(a, (2, 2), a.strides),
    "buffer": lambda a: np.frombuffer(memoryview(a.reshape(-1)), "f")[:6],
    "bytes": lambda a: np.frombuffer(memoryview(a.reshape(-1)).cast("B"), "f")[3:],
}


@pytest.mark.parametrize(["way", "part"], [(own, "slice"), (own, "strided"), (flat, "slice"), (flat, "buffer"), (buffers, "bytes"), (transposed, "reversed")])
@pytest.mark.parametrize("place", ["argument", "global", "attribute", "parameter", "gradient", "statistic"])
def test_another_array_shares_memory(mode, way, part, place):
    def make(wrap):
        model = net()
        way(model)
        opt = optimizers.SGD(0.1).setup(model)
        beside = arr(*PARTS[part](model.a.W.array).shape, seed=3)
        box = {"c": beside.copy()}
        model.c, model.v = beside.copy(), hnn.Variable(beside.copy())
        p = hnn.Parameter(beside.copy())

        @wrap
        def f(x, c):
            loss = loss_of(model, x)
            model.cleargrads()
            if place == "gradient":
                loss = loss + F.sum(p * 2)
            loss.backward()
            early = F.sum(F.tanh(model.v)) + F.sum(F.exp(c))
            opt.update()
            late = {"argument": c, "global": box["c"], "attribute": model.c, "parameter": p, "gradient": beside, "statistic": box["c"]}[place]
            if place == "statistic":
                late *= 0.5
            return loss, early, F.sum(F.tanh(late) * 2), np.sum(np.abs(late if isinstance(late, np.ndarray) else late.array))

        def apart():
            p.grad = None
            return f(arr(2, 3), beside)

        def shared():
            a = PARTS[part](model.a.W.array)
            if place == "argument":
                return f(arr(2, 3), a)
            if place == "gradient":
                p.grad = a
                try:
                    return f(arr(2, 3), beside), p.grad
                finally:
                    p.grad = None
            if place == "parameter":
                p.array = a
            box["c"] = model.c = a
            try:
                return f(arr(2, 3), beside)
            finally:
                box["c"], model.c, p.array = beside.copy(), beside.copy(), beside.copy()

        def owner():
            """What the parameters are parts of is an argument."""
            return f(arr(2, 3), getattr(model, "vector", beside))
        return [model, p, model.c, box], [apart, shared, owner, apart]
    check(make, mode, tolerance=100.0)


@pytest.mark.parametrize("way", [own, flat, transposed, buffers])
def test_the_vector_is_written_beside(mode, way):
    """Between calls, and in the function, before and after the update."""
    def make(wrap):
        model = net()
        way(model)
        opt = optimizers.SGD(0.1).setup(model)
        parts = [p.array[...] for p in model.params()]
        scale = [1.0]

        @wrap
        def f(x, when):
            early = F.sum(model.a.W * 2)
            if when == "first":
                parts[0][...] *= 0.5
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            if when == "before":
                parts[2][...] *= 0.5
            opt.update()
            late = F.sum(F.tanh(model.a.W))
            if when == "after":
                parts[0][...] = 0.25
            return early, loss, late, F.sum(model.a.W + 1)

        def between():
            for a in parts:
                a *= 0.9
            return f(arr(2, 3), "")
        calls = [lambda when=when: f(arr(2, 3), when) for when in ("", "first", "before", "after")]
        return [model, scale], [*calls, between]
    check(make, mode, tolerance=100.0)


def test_written_after_an_update(mode):
    """A parameter whose array somebody else has, too: what operations take after the update is what it was when they were applied."""
    def make(wrap):
        model = net()
        opt = optimizers.SGD(0.1).setup(model)
        W = model.a.W.array

        @wrap
        def f(x):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            opt.update()
            y = F.sum(model.a.W * 2)
            W[...] *= 0.5
            return loss, y
        return [model], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3))]
    check(make, mode)


@pytest.mark.parametrize("way", [own, flat, transposed, buffers])
def test_floating_point_errors_in_an_update(mode, way):
    """What has been changed stays changed."""
    def make(wrap):
        model = hnn.Chain(a=L.Linear(3, 4, nobias=True))
        way(model)
        opt = optimizers.SGD(1.0).setup(model)

        @wrap
        def f(x):
            loss = F.sum(model.a(x))
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def large():
            model.a.W.array[...] = -3e38
            opt.lr = 3e38
            try:
                with np.errstate(over="raise"):
                    return f(np.full((2, 3), 0.9, "f"))
            except FloatingPointError:
                return bool(np.isinf(model.a.W.array).all())
            finally:
                opt.lr = 1.0
                model.a.W.array[...] = 1
        return [model], [lambda: f(arr(2, 3)), large]
    skipped(check(make, mode), mode, 5)


@pytest.mark.parametrize("way", [transposed, strided, flat, buffers])
def test_checked(mode, way):
    model = net()
    way(model)
    opt = optimizers.Adam().setup(model)
    f = hnn.trace(step_of(model, opt), mode=mode, check=1.0)
    before = [p.array.copy() for p in model.params()]
    for _ in range(12):
        f(arr(2, 3))
    assert f.stats.hits >= 10
    assert all((a != p.array).any() for a, p in zip(before, model.params()))


@pytest.mark.parametrize("way", [transposed, strided, backwards])
def test_the_tape_keeps_the_array_itself(mode, way):
    """What is written between the forward and the backward, outside of the function, shows in gradients."""
    def make(wrap):
        model = net()
        way(model)
        x = arr(3, 2).T

        @wrap
        def f(x):
            return F.sum((model.a(x) * model.a.W[0, 0]) ** 2)

        def run():
            y = f(x)
            x[...] *= 2
            model.a.W.array[...] *= 0.5
            model.cleargrads()
            y.backward()
            return y
        return [model, x], [run]
    check(make, mode, tolerance=10.0)


def test_states_that_are_views(mode):
    """Moments of Adam, all in one vector."""
    def make(wrap):
        model = net()
        opt = optimizers.Adam().setup(model)
        f = wrap(step_of(model, opt))
        f(arr(2, 3))
        states = [(p.update_rule.state, key) for p in model.params() for key in ("m", "v")]
        vector = np.concatenate([s[key].ravel() for s, key in states])

        def place(step):
            at = 0
            for s, key in states:
                s[key] = vector[at:at + s[key].size].reshape(s[key].shape)
                at += step or s[key].size

        def moved(step):
            place(step)
            try:
                return f(arr(2, 3))
            finally:
                place(0)
        place(0)
        return [model], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), lambda: moved(1), lambda: moved(0)]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_gradients_of_the_graph_that_are_views(mode):
    """A hook changes a gradient which is a view of another value."""
    def make(wrap):
        model = net()
        opt = optimizers.SGD(0.1).setup(model)
        opt.add_hook(hnn.optimizer_hooks.GradientClipping(0.01))

        @wrap
        def f(x):
            W = model.a.W
            loss = F.sum(F.transpose(W) * x) + F.sum(F.reshape(W, (-1,)) * 2)
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return [model], [lambda: f(arr(3, 4))]
    check(make, mode)


def test_how_often_it_is_recorded(mode):
    """Overlapping parameters are found out at the first call."""
    model = net()
    overlap_inside(model)
    opt = optimizers.SGD(0.1).setup(model)
    wrap = Traces(mode)
    f = wrap(step_of(model, opt))
    for _ in range(10):
        f(arr(2, 3))
    assert f.stats.recordings == 1 and "shares its memory with another" in wrap.reasons[0] and "test_shared_memory" in wrap.reasons[0]


LOOKS = [lambda a: a[0], lambda a: hnn.Variable(a[0]), lambda a: a[1:, ::2], lambda a: a.T, lambda a: a.reshape(-1)[3:], lambda a: [*a][1]]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("when", ["before", "after", "both"])
def test_operations_take_views_of_a_parameter(mode, look, when):
    """The update stands between."""
    def make(wrap):
        model = hnn.Chain(a=L.Linear(3, 4, nobias=True))
        opt = optimizers.SGD(0.1).setup(model)

        def term():
            return F.sum(F.tanh(look(model.a.W.array)) * 3)

        @wrap
        def f(x):
            early = term() if when != "after" else None
            loss = F.sum(F.tanh(model.a(x)))
            model.cleargrads()
            loss.backward()
            opt.update()
            return early, loss, term() if when != "before" else None

        def written():
            model.a.W.array[...] *= 0.5
            return f(arr(2, 3))
        return [model], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), written]
    world = check(make, mode, tolerance=10.0)
    if when == "before":
        skipped(world, mode)


def read_after(v, when):
    return float(np.abs(v).max()) if when == "after" else None


def read_before(v, when):
    return float(np.abs(v).max()) if when == "before" else None


def read_always(v, when):
    return v.copy(), float(np.sum(v * v))


def decayed_after(v, when):
    if when == "after":
        v *= 0.99


def shifted_before(v, when):
    if when == "before":
        v -= 0.01


def noise_and_norm(v, when):
    norm = float(np.linalg.norm(v))
    v[2:5] = 0.5
    v += 0.01 * np.random.randn(v.size).astype("f")
    return norm, v.sum()


@pytest.mark.parametrize("body", [read_after, read_before, read_always, decayed_after, shifted_before, noise_and_norm])
@pytest.mark.parametrize("transpose", [False, True])
def test_a_vector_and_its_parts(mode, body, transpose):
    """NumPy reads and writes the vector, operations the parameters, which are its parts."""
    def make(wrap):
        model = net()
        flat(model)
        if transpose:
            model.a.W.array = model.vector[:12].reshape(3, 4).T
        opt = optimizers.Adam().setup(model)
        box = {"v": model.vector, "tail": model.vector[-1:]}

        @wrap
        def f(x):
            loss = loss_of(model, x)
            early = body(box["v"], "before")
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss, early, body(box["v"], "after")

        def another():
            """A vector of which the parameters are no parts."""
            box["v"] = arr(model.vector.size)
            try:
                return f(arr(2, 3))
            finally:
                box["v"] = model.vector

        def part():
            box["v"] = model.vector[2:9]
            try:
                return f(arr(2, 3))
            finally:
                box["v"] = model.vector

        def frozen():
            model.vector.flags.writeable = False
            try:
                return f(arr(2, 3))
            except ValueError as error:
                return str(error)
            finally:
                model.vector.flags.writeable = True

        def moved():
            model.b.b.array = model.b.b.array.copy()
            return f(arr(2, 3))
        return [model, box], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), another, part, frozen, moved]
    world = check(make, mode, tolerance=100.0)
    if body in (read_after, read_before, read_always, decayed_after)[:3 if transpose else 4]:
        skipped(world, mode, 5)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["vector", "part"])
def test_operations_take_the_vector(mode, when, kind):
    def make(wrap):
        model = net()
        flat(model)
        opt = optimizers.SGD(0.1).setup(model)
        v = model.vector if kind == "vector" else model.vector[3:7]

        @wrap
        def f(x):
            early = F.sum(F.tanh(v)) if when == "before" else None
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            opt.update()
            return early, loss, F.sum(F.exp(v)) if when == "after" else None

        def read_only():
            """Neither is written: both may be taken."""
            return g(arr(2, 3))

        @wrap
        def g(x):
            return F.sum(F.tanh(v)) + loss_of(model, x)
        return [model], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3)), read_only]
    check(make, mode, tolerance=10.0)


VIEWS = {
    "reshape": lambda p: F.reshape(p, (2, 2)), "slice": lambda p: F.reshape(p[:2], (1, 2)), "transposed": lambda p: F.transpose(F.reshape(p, (2, 2))),
    "reversed": lambda p: p[::-1].reshape(2, 2), "broadcast": lambda p: F.broadcast_to(p[1:3], (2, 2)), "separate": lambda p: F.reshape(p, (4, 1))[1],
    "itself": lambda p: F.reshape(p, (4,))[:2]}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("plan", ["twice", "late", "thrice", "looked at", "twice over", "halved", "at times", "double", "grad", "two updates", "before"])
def test_views_of_what_an_update_changes_before_gradients_take_them(mode, view, plan):
    """As the scale of a batch normalization in a network whose losses are differentiated one after the other."""
    def make(wrap):
        link = hnn.Link(p=(4,))
        link.p.array[...] = [0.5, 1, -1, 2]
        flag = [False]
        opt = optimizers.SGD(0.1).setup(link)

        @wrap
        def step(x):
            y = x * VIEWS[view](link.p)
            first, second = F.sum(y * y), F.sum(y * y * y)
            link.cleargrads()
            if plan == "double":
                g, = hnn.grad([first], [x], enable_double_backprop=True)
                opt.update(lambda: F.sum(link.p * link.p))
                h, = hnn.grad([second], [x], enable_double_backprop=True)
                F.sum(g * h).backward()
                return first, second, x.grad, link.p.grad
            if plan == "before":
                link.p.array[1] = 3
            if plan != "late":
                first.backward()
            else:
                link.p.grad = np.ones(4, "f")
            opt.update()
            if plan == "two updates":
                opt.update()
            if plan == "grad":
                return first, second, hnn.grad([second], [x, link.p]), x.grad
            if plan == "looked at" and float(first.array) > 30:
                second = second * 2
            if plan == "halved" or plan == "at times" and flag[0]:
                link.p.array[...] *= 0.5
            second.backward()
            if plan == "thrice":
                opt.update()
                first.backward()
            if plan == "twice over":
                z = F.sum(F.exp(x * VIEWS[view](link.p)))
                z.backward()
                opt.update()
                z.backward()
            return first, second, x.grad, link.p.grad, VIEWS[view](link.p)

        def switched():
            flag[0] = not flag[0]
            return step(var(2, 2))
        return [link], [lambda: step(var(2, 2)), lambda: step(var(2, 2) * 3), lambda: step(hnn.Variable(arr(2, 2) * 0.1)), switched]
    check(make, mode)


def test_two_networks_that_are_trained_against_each_other(mode):
    """With batch normalization in both, whose scales are views of parameters in the graphs. What shifts its operand has a gradient of rounding only, which
    Adam would magnify."""
    def make(wrap):
        nets = [hnn.Sequential(L.Linear(3, 4), L.BatchNormalization(4), F.relu, L.Linear(4, n)) for n in (3, 1)]
        opts = [optimizers.MomentumSGD(0.01).setup(net) for net in nets]

        @wrap
        def step(x, z):
            fake = nets[0](z)
            of_fake, of_real = nets[1](fake), nets[1](x)
            loss = F.mean(F.softplus(-of_fake))
            other = F.mean(F.softplus(-of_real)) + F.mean(F.softplus(of_fake))
            nets[1].cleargrads()
            other.backward()
            opts[1].update()
            nets[0].cleargrads()
            loss.backward()
            opts[0].update()
            return loss, other
        return nets, [lambda: step(arr(5, 3), arr(5, 3, seed=7)), lambda: step(arr(5, 3) * 2, arr(5, 3, seed=8))]
    skipped(check(make, mode, tolerance=2.0), mode)
