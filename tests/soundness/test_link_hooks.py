"""Hooks of links, samplers, and namespaces that the program writes into: weights that are others for the time of a call."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.link_hooks import SpectralNormalization, WeightStandardization

pytestmark = pytest.mark.parametrize("mode", MODES)


def stepping(wrap, link, x):
    """A training step of one link, and calls in which something about it has changed."""
    opt = hnn.optimizers.SGD(0.01).setup(link)

    @wrap
    def step(x):
        loss = F.sum(link(x) ** 2)
        link.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return lambda: step(x), lambda: step(x * 2)


def test_spectral_normalization(mode):
    def make(wrap):
        link = L.Linear(4, 3)
        hook = SpectralNormalization()
        link.add_hook(hook)
        call, other = stepping(wrap, link, arr(2, 4))

        def setting(name, value):
            before = getattr(hook, name)
            setattr(hook, name, value)
            try:
                return call()
            finally:
                setattr(hook, name, before)

        def replaced():
            link.W_u = link.W_u + np.float32(0.1)
            return call()

        def weight():
            link.W.array = link.W.array * np.float32(1.1)
            return call()

        def testing():
            with hnn.using_config("train", False):
                return call()

        def without():
            link.delete_hook(hook.name)
            try:
                return call()
            finally:
                link.add_hook(hook)
        return [link, hook], [call, other, lambda: setting("n_power_iteration", 2), lambda: setting("eps", 0.1), lambda: setting("factor", 2.0), replaced,
                              weight, testing, without]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_weight_standardization(mode):
    def make(wrap):
        link = L.Convolution2D(2, 3, 3)
        hook = WeightStandardization()
        link.add_hook(hook)
        call, other = stepping(wrap, link, arr(2, 2, 4, 4))
        weights = []

        def seen():
            forward = type(link).forward
            type(link).forward = lambda self, x: weights.append(type(self.W).__name__) or forward(self, x)
            try:
                return call()
            finally:
                type(link).forward = forward

        def raising():
            W = link.W
            try:
                hook.eps = "none"
                return call()
            finally:
                hook.eps = 1e-5
                assert link.W is W
        hook.eps = 1e-5
        return [link, weights], [call, other, seen, raising]
    skipped(check(make, mode, tolerance=100.0), mode)


def test_own_hook(mode):
    """A hook of the user's, which counts."""
    def make(wrap):
        class Counting(hnn.LinkHook):
            name = "counting"

            def __init__(self):
                self.names, self.calls = [], 0

            def forward_postprocess(self, args):
                self.calls += 1
                self.names.append(args.link.__class__.__name__)
        link, hook = L.Linear(3, 2), Counting()
        link.add_hook(hook)
        f = wrap(lambda x: link(x))

        def everywhere():
            with Counting() as other:
                return f(arr(2, 3)), other.calls

        def renamed():
            method = Counting.forward_postprocess
            Counting.forward_postprocess = lambda self, args: self.names.append("other")
            try:
                return f(arr(2, 3))
            finally:
                Counting.forward_postprocess = method
        return [hook], [lambda: f(arr(2, 3)), everywhere, renamed]
    skipped(check(make, mode), mode, 5)


def test_namespaces(mode):
    """What is stored into ``__dict__`` and put back, kept, or cannot be found by the attribute."""
    def make(wrap):
        class Holder:
            clipped = property(lambda self: 5.0)

            def __init__(self):
                self.scale, self.n = 2.0, 0

        class Own(Holder):
            def __setattr__(self, name, value):
                object.__setattr__(self, name, value * 2)
        holder, own = Holder(), Own()

        @wrap
        def swapped(x):
            before = holder.scale
            holder.__dict__["scale"] = F.sum(x)
            y = F.exp(x) * holder.scale
            holder.__dict__["scale"] = before
            return y

        @wrap
        def kept(x):
            holder.__dict__["n"] = holder.__dict__["n"] + 1
            holder.last = 1.0
            holder.last = F.sum(x)
            return F.exp(x) * holder.n

        @wrap
        def hidden(x):
            holder.__dict__["clipped"] = 2.0
            own.__dict__["scale"] = 3.0
            return F.exp(x) * holder.clipped * own.scale

        @wrap
        def new(x):
            holder.first = 1.0
            holder.second = 2.0
            holder.first = 3.0
            return F.exp(x)

        @wrap
        def compared(x):
            space = holder.__dict__
            return F.exp(x) if space is holder.__dict__ and space is not holder else x

        def rescaled():
            holder.scale = 3.0
            return swapped(arr(3))

        def cleared():
            vars(holder).pop("first", None)
            vars(holder).pop("second", None)
            return new(arr(3)), list(vars(holder))
        return [holder, own], [lambda: swapped(arr(3)), rescaled, lambda: kept(arr(3)), lambda: hidden(arr(3)), lambda: new(arr(3)), cleared,
                                lambda: compared(arr(3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("make_link", [lambda: L.NegativeSampling(4, [3, 4, 5, 6], 2), lambda: L.BlackOut(4, [3, 4, 5, 6], 2)])
def test_samplers(mode, make_link):
    """Samples are drawn from the same stream, in the same order."""
    def make(wrap):
        link = make_link()
        link.W.array[...] = arr(4, 4)
        f = wrap(lambda x, t: (link(x, t), np.random.rand()))
        t = np.array([0, 2, 1], np.int32)

        def other():
            before = link.sampler.threshold
            link.sampler.threshold = before * np.float32(0.5)
            try:
                return f(arr(3, 4), t)
            finally:
                link.sampler.threshold = before

        def seeded():
            np.random.seed(5)
            return f(arr(3, 4), t)
        return [link], [lambda: f(arr(3, 4), t), lambda: f(arr(3, 4), t[::-1].copy()), other, seeded]
    skipped(check(make, mode), mode)


def test_a_users_function_behind_a_spectral_normalization(mode):
    """Backward in Python takes a view of a value that nobody has asked for."""
    def make(wrap):
        link, first = L.Linear(4, 3, initialW=arr(3, 4)), L.Linear(4, 4, initialW=arr(4, 4))
        link.add_hook(SpectralNormalization())
        net = hnn.ChainList(link, first)
        plain = [True]

        class Double(hnn.FunctionNode):
            def forward(self, inputs):
                self.retain_inputs((0,))
                return inputs[0] * 2,

            def backward(self, indexes, gys):
                x, = self.get_retained_inputs()
                return gys[0] * 2 if plain[0] else gys[0] * F.exp(x * 0) * 2,

        @wrap
        def f(x):
            y, = Double().apply((F.tanh(link(F.tanh(first(x)))),))
            loss = F.sum(F.tanh(link(first(x) + F.sum(y))))
            net.cleargrads()
            loss.backward()
            return loss

        def otherwise():
            plain[0] = not plain[0]
            return f(arr(2, 4))
        return [net], [lambda: f(arr(2, 4)), otherwise, lambda: f(arr(3, 4))]
    check(make, mode)
