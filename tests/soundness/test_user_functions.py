"""Functions with forward and backward of the user's own inside a training step: their Python is skipped too, where NumPy is all that it does."""
import types

import numpy as np
import pytest
from worlds import MODES, Squared, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)
T = np.array([0, 1, 2, 0], np.int32)
S = types.SimpleNamespace(scale=2.0, mask=arr(5))


class Swish(hnn.FunctionNode):
    def forward(self, inputs):
        x, = inputs
        self.retain_inputs((0,))
        return x / (1 + np.exp(-x)),

    def backward(self, indexes, gs):
        x, = self.get_retained_inputs()
        s = F.sigmoid(x)
        return gs[0] * (s + x * s * (1 - s)),


class Exp(hnn.FunctionNode):
    def forward_cpu(self, inputs):
        self.retain_outputs((0,))
        return np.exp(inputs[0] * np.float32(0.1)),

    def backward(self, indexes, gs):
        y, = self.get_retained_outputs()
        return gs[0] * y * 0.1


class Masked(hnn.FunctionNode):
    def __init__(self, slope, axis=0):
        self.slope, self.axis = slope, axis

    def forward(self, inputs):
        x, = inputs
        self.mask = x > x.mean(axis=self.axis, keepdims=True)
        return np.where(self.mask, x, x * np.float32(self.slope)),

    def backward(self, indexes, gs):
        g = gs[0].array * np.where(self.mask, 1, self.slope).astype("f")
        return hnn.Variable(g),


class Reversed(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0].copy(),

    def backward(self, indexes, gs):
        return -gs[0] * S.scale,


class Scaled(hnn.FunctionNode):
    factor = 1.5

    def forward(self, inputs):
        self.retain_inputs((0,))
        return (inputs[0] * np.float32(S.scale) + S.mask) * np.float32(self.factor),

    def backward(self, indexes, gs):
        return gs[0] * (S.scale * self.factor)


class Pair(hnn.FunctionNode):
    def forward(self, inputs):
        x, w = inputs
        self.retain_inputs((0, 1))
        return x @ w, x.sum(axis=1, keepdims=True)

    def backward(self, indexes, gs):
        x, w = self.get_retained_inputs()
        g, s = gs
        gx = 0 if g is None else F.matmul(g, w, transb=True)
        return gx if s is None else gx + F.broadcast_to(s, x.shape), None if g is None else F.matmul(x, g, transa=True)


class Clipped(hnn.FunctionNode):
    def forward(self, inputs):
        y = inputs[0].copy()
        y[y < 0] = 0
        y *= np.float32(0.5)
        self.inside = (y > 0).astype(y.dtype)
        return y,

    def backward(self, indexes, gs):
        return gs[0] * self.inside


class Mean(hnn.FunctionNode):
    def forward(self, inputs):
        self.shape = inputs[0].shape
        return inputs[0].mean(),

    def backward(self, indexes, gs):
        return F.broadcast_to(gs[0] / float(np.prod(self.shape)), self.shape),


class Root(hnn.FunctionNode):
    """Warns of what is negative."""

    def forward(self, inputs):
        self.retain_outputs((0,))
        return np.sqrt(inputs[0]),

    def backward(self, indexes, gs):
        y, = self.get_retained_outputs()
        return gs[0] / (y + 1) * 0.5


class Refusing(Swish):
    def forward(self, inputs):
        if inputs[0].mean() > 1e3:
            raise ValueError("too large")
        return super().forward(inputs)


class Logging(Swish):
    def forward(self, inputs):
        print("forward", len(inputs))
        return super().forward(inputs)


class Printing(Swish):
    def backward(self, indexes, gs):
        print("backward", indexes)
        return super().backward(indexes, gs)


class Writing(hnn.FunctionNode):
    def forward(self, inputs):
        inputs[0][0] = 0
        return inputs[0] * 2,

    def backward(self, indexes, gs):
        return gs[0] * 2


class Same(Reversed):
    def forward(self, inputs):
        return inputs


class View(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0][::-1],

    def backward(self, indexes, gs):
        return gs[0][::-1]


class Drawing(hnn.FunctionNode):
    def forward(self, inputs):
        self.noise = np.random.rand(*inputs[0].shape).astype("f")
        return inputs[0] * self.noise,

    def backward(self, indexes, gs):
        return gs[0] * self.noise


class Training(hnn.FunctionNode):
    def forward(self, inputs):
        self.factor = np.float32(2 if hnn.config.train else 1)
        return inputs[0] * self.factor,

    def backward(self, indexes, gs):
        return gs[0] * float(self.factor)


class Typed(Swish):
    def check_type_forward(self, types):
        hnn.utils.type_check.expect(types.size() == 1, types[0].ndim == 2)


class OfClass(hnn.FunctionNode):
    """The check looks at the function, at what is outside, and at products of lengths."""
    most = 3

    def __init__(self, width):
        super().__init__()
        self.width = width

    def check_type_forward(self, in_types):
        check = hnn.utils.type_check
        x_type, w_type = in_types
        check.expect(x_type.dtype.kind == "f", w_type.dtype == np.float32, x_type.ndim <= self.most, x_type.shape[1] == self.width, S.scale > 0)
        check.expect(check.prod(w_type.shape) == self.width ** 2, check.eval(in_types.size()) == 2)

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        return inputs[0] @ inputs[1],

    def backward(self, indexes, gs):
        x, w = [v.array for v in self.get_retained_inputs()]
        g = gs[0].array
        found = g @ w.T, x.T @ g
        return tuple([hnn.Variable(found[i]) for i in indexes])


class Loud(Swish):
    def check_type_forward(self, in_types):
        print("check", in_types[0].shape)


class OldSwish(hnn.Function):
    def check_type_forward(self, in_types):
        hnn.utils.type_check.expect(in_types.size() == 1, in_types[0].dtype.kind == "f")

    def forward(self, inputs):
        self.s = 1 / (1 + np.exp(-inputs[0]))
        return inputs[0] * self.s,

    def backward(self, inputs, gs):
        return gs[0] * (self.s + inputs[0] * self.s * (1 - self.s)),


class OldScaled(hnn.Function):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward_cpu(self, inputs):
        self.retain_inputs(())
        self.positive = inputs[0] > 0
        return np.where(self.positive, inputs[0], inputs[0] * np.float32(self.slope * S.scale)),

    def backward_cpu(self, inputs, gs):
        assert inputs == (None,)
        g = gs[0].copy()
        g[~self.positive] *= np.float32(self.slope * S.scale)
        return g,


class OldPair(hnn.Function):
    def forward(self, inputs):
        return inputs[0] + inputs[1], inputs[0] * inputs[1]

    def backward(self, inputs, gs):
        first, second = [0 if g is None else g for g in gs]
        return first + second * inputs[1], first + second * inputs[0]


class OldSum(hnn.Function):
    """All inputs have one gradient, the very array that came."""

    def forward(self, inputs):
        return sum(inputs),

    def backward(self, inputs, gs):
        return [gs[0]] * len(inputs)


class OldBlind(hnn.Function):
    def forward(self, inputs):
        return np.sign(inputs[0]),


class OldKeeping(OldSum):
    """The gradient is an array that somebody has elsewhere."""
    seen: list = []

    def backward(self, inputs, gs):
        self.seen.append(gs[0])
        return super().backward(inputs, gs)


class OldOutput(hnn.Function):
    def forward(self, inputs):
        self.retain_outputs((0,))
        return np.tanh(inputs[0]),

    def backward(self, inputs, gs):
        y, = self.output_data
        return gs[0] * (1 - y * y),


class OldLoud(OldSwish):
    def backward(self, inputs, gs):
        print("backward", inputs[0].shape)
        return super().backward(inputs, gs)


class OldWriting(OldSwish):
    def backward(self, inputs, gs):
        gs[0][...] *= 2
        return gs


class OldDoubled(hnn.Function):
    """Of no use to double precision."""

    def forward(self, inputs):
        return np.asarray(inputs[0] * 2, "f"),

    def backward(self, inputs, gs):
        return gs[0] * 2,


REUSED = OldDoubled()


def applied(cls, *args):
    return lambda h: cls(*args).apply((h,))[0]


W = arr(5, 5)
SKIPPED = {
    "swish": applied(Swish), "exp": applied(Exp), "masked": applied(Masked, 0.1), "reversed": applied(Reversed), "scaled": applied(Scaled),
    "pair": lambda h: Pair().apply((h, W))[0], "second": lambda h: Pair().apply((h, hnn.Variable(W)))[1] + h, "both": lambda h: sum(Pair().apply((h, W))) * 0.1,
    "clipped": applied(Clipped), "mean": lambda h: h + Mean().apply((h,))[0], "root": lambda h: applied(Root)(h * h + 1), "refusing": applied(Refusing),
    "typed": applied(Typed), "of class": lambda h: OfClass(5).apply((h, W))[0], "old": lambda h: OldSwish()(h), "old scaled": lambda h: OldScaled(0.3)(h),
    "old pair": lambda h: sum(OldPair()(h, h * 2)), "old second": lambda h: OldPair()(h, h * 2)[1], "old sum": lambda h: OldSum()(h, h, h * 2),
    "old twice": lambda h: OldSwish()(OldScaled(0.5)(h)) + OldSum()(h),
    "twice": lambda h: applied(Swish)(applied(Masked, 0.2)(h)), "shared": lambda h: applied(Swish)(h) * h + applied(Exp)(h), "training": applied(Training)}
RUN = {
    "logging": applied(Logging), "printing": applied(Printing), "writing": lambda h: applied(Writing)(h + 0), "view": applied(View), "same": applied(Same),
    "drawing": applied(Drawing), "loud": applied(Loud), "warning": applied(Root), "old blind": lambda h: OldBlind()(h) + h,
    "old keeping": lambda h: OldKeeping()(h, h), "old output": lambda h: OldOutput()(h), "old loud": lambda h: OldLoud()(h),
    "old writing": lambda h: OldWriting()(h), "old reused": lambda h: REUSED(h), "old doubled": lambda h: OldDoubled()(h)}


class Net(hnn.Chain):
    def __init__(self, fn):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2, self.w = L.Linear(4, 5, initialW=arr(5, 4)), L.Linear(5, 3, initialW=arr(3, 5)), hnn.Parameter(np.ones(5, "f"))
        self.fn = fn

    def forward(self, x):
        return self.l2(F.tanh(self.fn(self.l1(x) * self.w)))


def refuses(self, in_types):
    hnn.utils.type_check.expect(in_types[0].ndim == 7)


def made(wrap, fn, after=None):
    net = Net(fn)
    opt = optimizers.SGD(0.01).setup(net)
    s = types.SimpleNamespace(clear=True)
    S.scale, S.mask, Scaled.factor = 2.0, arr(5), 1.5

    @wrap
    def step(x, t):
        loss = F.softmax_cross_entropy(net(x), t)
        if s.clear:
            net.cleargrads()
        loss.backward()
        opt.update()
        return loss, net.l1.W.grad if after else None

    @wrap
    def look(x):
        with hnn.no_backprop_mode(), hnn.using_config("train", False):
            return net(x), net.fn(net.l1(x))

    def changed(obj, name, value):
        before = getattr(obj, name)
        setattr(obj, name, value)
        try:
            return step(x, T), look(x)
        finally:
            setattr(obj, name, before)
    x = arr(4, 4)
    calls = [lambda: (step(x, T), look(x)), lambda: step(x * 1000, T), lambda: step(x[:2], T[:2]), lambda: step(hnn.Variable(x), T), lambda: step(x, T + 7),
             lambda: changed(S, "scale", 0.5), lambda: changed(S, "scale", -0.5), lambda: changed(OfClass, "most", 1),
             lambda: changed(S, "mask", S.mask * 2), lambda: changed(Scaled, "factor", 3.0),
             lambda: changed(s, "clear", False),
             lambda: changed(Swish, "forward", lambda self, xs: (xs[0] * 2,)), lambda: changed(Swish, "backward", lambda self, i, gs: gs[0] * 0.5),
             lambda: changed(Masked, "forward", Clipped.forward),
             lambda: changed(OldSwish, "backward", lambda self, xs, gs: (gs[0] * 0.5,)), lambda: changed(Typed, "check_type_forward", refuses),
             lambda: changed(OldSwish, "check_type_forward", refuses), lambda: step(x.astype("d"), T)]
    return [net, s], calls


@pytest.mark.parametrize("name", SKIPPED)
def test_numpy_is_all_they_do(mode, name):
    skipped(check(lambda wrap: made(wrap, SKIPPED[name]), mode, tolerance=100.0), mode, 30)


@pytest.mark.parametrize("name", RUN)
def test_they_do_more(mode, name):
    check(lambda wrap: made(wrap, RUN[name], after=True), mode, tolerance=100.0)


@pytest.mark.parametrize("name", ["swish", "of class", "old", "old pair"])
def test_between_layers_that_normalize(mode, name):
    """Running means change before and behind what the function computes; gradients take the layers' settings."""
    def make(wrap):
        net = hnn.Chain(l1=L.Linear(4, 5, initialW=arr(5, 4)), b1=L.BatchNormalization(5), l2=L.Linear(5, 3, initialW=arr(3, 5)), b2=L.BatchNormalization(3))
        opt = optimizers.SGD(0.01).setup(net)
        S.scale = 2.0

        def loss(x, t):
            return F.softmax_cross_entropy(net.b2(net.l2(SKIPPED[name](net.b1(net.l1(x))))), t)

        @wrap
        def step(x, t):
            opt.update(loss, x, t)

        def changed(value):
            net.b1.eps = value
            step(arr(4, 4), T)
        return [net], [lambda: step(arr(4, 4), T), lambda: step(arr(4, 4, seed=1), T), lambda: changed(0.01), lambda: changed(2e-5)]
    skipped(check(make, mode, tolerance=100.0), mode)


@pytest.mark.parametrize("name", ["swish", "masked", "pair", "of class", "old", "old scaled", "old sum"])
def test_more_than_a_step(mode, name):
    """Without an update the graph goes on; gradients are added to others, asked for twice, or of the arguments."""
    def make(wrap):
        net = Net(SKIPPED[name])
        w = hnn.Parameter(arr(4, 5))

        @wrap
        def forward(x):
            return F.sum(net(x) ** 2)

        @wrap
        def gradient(x):
            x.cleargrad()
            y = F.sum(net.fn(F.matmul(x, w)))
            y.backward()
            return x.grad, y

        @wrap
        def kept(x):
            function = Swish()
            y, = function.apply((x,))
            return function, y

        def outside():
            y = forward(arr(4, 4))
            net.cleargrads()
            y.backward()
            return [p.grad for p in net.params()]
        v = hnn.Variable(arr(4, 4))
        return [net, w], [lambda: forward(arr(4, 4)), outside, lambda: gradient(v), lambda: (gradient(v), w.grad), lambda: kept(v)[1]]
    check(make, mode, tolerance=100.0)


@pytest.mark.parametrize("compute", [lambda h, a: F.tanh(h * a), lambda h, a: h * a + a - h * 0.45, lambda h, a: (h * h + 1) ** a, lambda h, a: F.exp(h) / a])
def test_numbers_that_change_behind_a_function(mode, compute):
    """Gradient rules of other operations take them in the walk through the function."""
    def make(wrap):
        state, net = types.SimpleNamespace(gain=0.5), hnn.Chain()
        with net.init_scope():
            net.p = hnn.Parameter(arr(3, 4))
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def step(x):
            h = Squared().apply((net.p,))[0]
            state.gain *= 0.9
            loss = F.sum(compute(h, state.gain) * x)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, net.p.grad

        def again():
            state.gain = 0.45
            return step(arr(3, 4, seed=1))
        return [net, state], [lambda: step(arr(3, 4, seed=1)), again]
    check(make, mode)


def test_a_walk_through_a_gradient_is_left_where_an_update_was_met_before(mode):
    """Its values are inside of what ``hnn.grad`` has recorded, and no operation of the program's gives them."""
    def make(wrap):
        p = hnn.Parameter(np.linspace(0.3, 1.2, 4, dtype="f"))
        link = hnn.Chain()
        with link.init_scope():
            link.p = p
        opt, count = hnn.optimizers.SGD(0.03).setup(link), [0]

        def maybe_update():
            count[0] += 1
            if count[0] % 2 == 0:
                opt.update()
                link.cleargrads()

        @wrap
        def step(x, y):
            v, = hnn.grad([F.mean(F.tanh(y) * x) + F.sum(p * p) * 0.1 + F.sum(F.tanh(p) ** 3)], [p], enable_double_backprop=True)
            m = F.forget(lambda a: F.tanh(a) * 1.5, x)
            first = F.mean(F.tanh(y) * m) + F.sum(p * p) * 0.1
            first.backward()
            maybe_update()
            second = F.mean(F.tanh(y + v) * x) + F.sum(p * p) * 0.1
            second.backward()
            maybe_update()
            if count[0] % 3 == 0:
                count[0] += 1
            return first, second
        return [link, count], [lambda: step(hnn.Variable(arr(3, 4)), hnn.Variable(arr(3, 4, seed=1)))]
    check(make, mode, steps=[0] * 12, tolerance=10.0)


def test_numbers_of_layers_that_are_equal(mode):
    """A gradient rule takes the decay of one of two layers, which one is not told; then one of them gets another."""
    class Step(hnn.FunctionNode):
        def forward(self, inputs):
            self.retain_inputs((0,))
            return (inputs[0] > 0).astype(inputs[0].dtype),

        def backward(self, targets, gs):
            v, = self.get_retained_inputs()
            return gs[0] / (1 + abs(v)) ** 2,

    class Leaky(hnn.Chain):
        def __init__(self, n_in, n_out, decay=0.75):
            super().__init__(fc=L.Linear(n_in, n_out))
            self.decay, self.v = decay, None

        def forward(self, x):
            h = self.fc(x)
            self.v = h if self.v is None else self.decay * self.v + h
            out = Step().apply((self.v - 0.1,))[0]
            self.v = self.v - out
            return out

    def make(wrap):
        net = hnn.Sequential(Leaky(3, 4), Leaky(4, 2))
        opt = hnn.optimizers.SGD(0.01).setup(net)

        @wrap
        def step(x):
            rate = sum(net(x * 0.75) for _ in range(3))
            for layer in net:
                layer.v = None
            loss = F.sum((rate - 1) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def other():
            net[1].decay = 0.5
            return step(arr(4, 3))

        def both():
            net[0].decay = net[1].decay = 0.25
            return step(arr(4, 3))
        return [net], [lambda: step(arr(4, 3)), other, both, lambda: step(arr(4, 3, seed=1))]
    skipped(check(make, mode, tolerance=10.0), mode)


class Doubled(hnn.FunctionNode):
    def forward(self, inputs):
        return 2 * inputs[0],

    def backward(self, indexes, gs):
        return 2 * gs[0],


@pytest.mark.parametrize("apply", [lambda x: Doubled().apply((x,))[0], lambda x: F.forget(lambda v: F.tanh(v) * 2, x)], ids=["own", "forgotten"])
def test_graphs_of_gradients_in_front_of_functions(mode, apply):
    """Backward goes through the graph that ``hnn.grad`` keeps, with the numbers that gradient rules take and compute, and then through a function."""
    def make(wrap):
        linear = L.Linear(3, 3, initialW=0.25)
        state = types.SimpleNamespace(power=2, linear=linear)

        @wrap
        def f(x):
            h = apply(x)
            g, = hnn.grad([F.mean(F.linear(h, linear.W) ** state.power)], [linear.W], enable_double_backprop=True)
            linear.cleargrads()
            F.mean(F.linear(h, linear.W - 0.1 * g) ** 2).backward()
            return linear.W.grad

        def power(n):
            def run():
                state.power = n
                return f(hnn.Variable(np.abs(arr(4, 3))))
            return run
        return state, [power(2), power(3), power(4), power(2.5), power(4.0)]
    check(make, mode)


@pytest.mark.parametrize("detached", [True, False])
@pytest.mark.parametrize("twice", [True, False])
def test_a_path_is_left_in_the_backward_of_a_function_that_makes_variables_of_its_inputs(mode, detached, twice):
    """It asks for the gradients of these, not of those over the same arrays that the call has."""
    def make(wrap):
        q, w, seen = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1)), []

        def again(v, w):
            y = v * w
            if hnn.config.in_recomputing:
                seen.append(1)
                if len(seen) % 5 == 3:
                    y = y + F.tanh(y)
            return y

        @wrap
        def f(x):
            h = x * q
            if detached:
                h = hnn.Variable(h.array)
            y = F.forget(again, h, w)
            if twice:
                y = F.forget(again, y * 2, w) + y
            for p in (q, w):
                p.cleargrad()
            F.sum(y * 0.1).backward()
            return y
        return [q, w, seen], [lambda: f(arr(4, 3)), lambda: f(arr(4, 3, seed=2))]
    check(make, mode)


def test_a_parameter_is_changed_in_place_behind_a_value_that_a_function_computes_with_again(mode):
    def make(wrap):
        q, w = hnn.Parameter(arr(3)), hnn.Parameter(arr(3, seed=1))

        @wrap
        def f(x):
            h = x * q
            q.array *= 0.9
            y = F.forget(lambda v, w: F.tanh(v) * w, hnn.Variable(h.array), w)
            w.cleargrad()
            F.sum(y * 0.1).backward()
            return y
        return [q, w], [lambda: f(arr(4, 3)), lambda: f(arr(4, 3, seed=2))]
    check(make, mode)
