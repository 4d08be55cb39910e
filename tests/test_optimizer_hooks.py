"""Hooks against their formulas, the mechanics of hooks, and schedules, averages and accumulation."""
import math
from types import SimpleNamespace

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import optimizer_hooks, optimizers
from hybridnn.link import Link
from hybridnn.optimizer_hooks.noise import exponential_decay_noise
from hybridnn.optimizers import schedules
from hybridnn.serializers import DictionarySerializer, NpzDeserializer


def make_link(dtype="float64", **shapes):
    rng, link = np.random.default_rng(0), Link()
    with link.init_scope():
        for name, shape in (shapes or {"w": (3, 4), "b": (4,)}).items():
            setattr(link, name, hnn.Parameter(np.asarray(rng.normal(size=shape)).astype(dtype)))
    for p in link.params():
        p.grad = np.asarray(rng.normal(size=p.shape)).astype(dtype)
    return link


def after(hook, link):
    """Gradients after one hook, as the optimizer left them (SGD with lr 0 leaves the parameters)."""
    before = {n: (p.array.copy(), p.grad.copy()) for n, p in link.namedparams()}
    grads = {n: p.grad for n, p in link.namedparams()}
    optimizer = optimizers.SGD(0.0).setup(link)
    optimizer.add_hook(hook)
    optimizer.update()
    assert all(p.grad is grads[n] for n, p in link.namedparams()), "gradients are changed in place"
    return {n: (*before[n], p.grad) for n, p in link.namedparams()}


TOLERANCE = {"float64": 1e-12, "float32": 1e-6, "float16": 2e-3}


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_weight_decay_and_lasso(dtype):
    for hook, penalty in ((optimizer_hooks.WeightDecay(0.1), lambda p: p), (optimizer_hooks.Lasso(0.1), np.sign)):
        for p, g, result in after(hook, make_link(dtype)).values():
            assert result.dtype == dtype
            np.testing.assert_allclose(result, g + 0.1 * penalty(p), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("threshold", [0.5, 100.0, math.inf])
def test_gradient_clipping(dtype, threshold):
    results = after(optimizer_hooks.GradientClipping(threshold), make_link(dtype))
    norm = math.sqrt(sum((g.astype("d") ** 2).sum() for _, g, _ in results.values()))
    for _, g, result in results.values():
        np.testing.assert_allclose(result, g * min(1, threshold / norm), rtol=TOLERANCE[dtype])


def test_gradient_clipping_of_mixed_and_large_values():
    link = make_link("float16")
    link.w.array, link.w.grad = link.w.array.astype("f"), None
    link.w.grad = np.full((3, 4), 1e4, "f")
    link.b.grad[...] = 300           # the sum of squares exceeds float16
    norm = math.sqrt(12 * 1e8 + 4 * 9e4)
    for _, g, result in after(optimizer_hooks.GradientClipping(1.0), link).values():
        np.testing.assert_allclose(result, g.astype("d") / norm, rtol=2e-3)


def test_gradient_clipping_of_zeros_and_nan():
    link = make_link()
    for p in link.params():
        p.grad[...] = 0
    assert all((result == 0).all() for *_, result in after(optimizer_hooks.GradientClipping(1.0), link).values())
    link.b.grad[0] = np.nan
    assert all(np.isnan(result).all() for *_, result in after(optimizer_hooks.GradientClipping(1.0), link).values())


def test_gradient_clipping_leaves_missing_gradients_alone():
    link = make_link()
    link.b.cleargrad()
    optimizer = optimizers.SGD(0.0).setup(link)
    optimizer_hooks.GradientClipping(0.1)(optimizer)
    assert link.b.grad is None and np.linalg.norm(link.w.grad) == pytest.approx(0.1)


def test_hard_clipping():
    for _, g, result in after(optimizer_hooks.GradientHardClipping(-0.3, 0.2), make_link()).values():
        np.testing.assert_array_equal(result, np.clip(g, -0.3, 0.2))


@pytest.mark.parametrize("bounds", [(None, 0.2), (-0.3, None)])
@pytest.mark.parametrize("wrap", [lambda step: step, hnn.trace])
def test_hard_clipping_to_one_side(bounds, wrap):
    link, lefts = make_link("float32"), []
    g = link.w.grad.copy()
    optimizer = optimizers.SGD(0.0).setup(link)
    optimizer.add_hook(optimizer_hooks.GradientHardClipping(*bounds))
    step = wrap(lambda g: (link.w.grad.__setitem__(..., g), optimizer.update())[1])
    for _ in range(6):
        step(g)
        lefts.append(link.w.grad.copy())
        g = g * 1.5
    np.testing.assert_array_equal(lefts[0], np.clip(lefts[0], *bounds))
    np.testing.assert_allclose(lefts[-1], np.clip(g / 1.5, *bounds), rtol=1e-6)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("threshold", [0.01, 100.0])
def test_lars(dtype, threshold):
    hook = optimizer_hooks.GradientLARS(threshold, weight_decay=0.1, eps=1e-3)
    for p, g, result in after(hook, make_link(dtype)).values():
        p, g = p.astype("d"), g.astype("d")
        pn, gn = np.linalg.norm(p), np.linalg.norm(g)
        rate = pn / (1e-3 + gn + 0.1 * pn) if pn > threshold else 1
        np.testing.assert_allclose(result, (g + 0.1 * p) * rate, rtol=4 * TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_noise_follows_the_seed_and_decays():
    np.random.seed(5)
    results = after(optimizer_hooks.GradientNoise(0.3), make_link("float32"))
    state = np.random.RandomState(5)
    for _, g, result in sorted(results.values(), key=lambda r: r[1].ndim):     # b, then w
        np.testing.assert_allclose(result - g, state.normal(0, math.sqrt(0.3), g.shape), rtol=1e-3, atol=1e-6)
    hook, rule = SimpleNamespace(eta=0.3), SimpleNamespace(t=4)
    noise = exponential_decay_noise(np, (10000,), "float64", hook, rule)
    assert noise.std() == pytest.approx(math.sqrt(0.3 / 5 ** 0.55), rel=0.03)
    ones = optimizer_hooks.GradientNoise(0, noise_func=lambda xp, shape, dtype, hook, rule: xp.full(shape, rule.t + 1, dtype))
    for _, g, result in after(ones, make_link()).values():
        np.testing.assert_array_equal(result, g + 1)


def test_weight_decay_under_loss_scaling():
    def decayed(scale):
        link = make_link()
        optimizer = optimizers.SGD(0.1).setup(link)
        optimizer.add_hook(optimizer_hooks.WeightDecay(0.5))
        if scale:
            optimizer.loss_scaling(scale=scale)
        optimizer.update(lambda: F.sum(link.w * link.w) + F.sum(link.b))
        return [p.array for p in link.params()]
    for a, b in zip(decayed(None), decayed(64.0)):
        np.testing.assert_allclose(a, b, rtol=1e-12)


# ------------------------------------------------------------------------------------------------------------- mechanics

def test_hooks_run_in_order_before_and_after():
    link, events = make_link(), []
    optimizer = optimizers.SGD(1.0).setup(link)
    before = link.b.array.copy()

    def hook(label, **attributes):
        def call(opt):
            events.append((label, bool((link.b.array == before).all())))
        call.__dict__.update(attributes)
        return call
    optimizer.add_hook(hook("a"), name="a", timing="post")
    optimizer.add_hook(hook("b", name="b"))
    optimizer.add_hook(hook("c", timing="post"), name="c")
    optimizer.add_hook(hook("d"), name="d", timing="pre")
    optimizer.update()
    assert events == [("b", True), ("d", True), ("a", False), ("c", False)]
    optimizer.remove_hook("a")
    optimizer.remove_hook("b")
    events.clear()
    optimizer.update()
    assert [label for label, _ in events] == ["d", "c"]


def test_hooks_of_one_parameter():
    link, seen = make_link(), []
    optimizer = optimizers.SGD(1.0).setup(link)
    rule = link.w.update_rule
    rule.add_hook(lambda r, p: seen.append((r is rule, p is link.w, r.t)), name="mine")
    rule.add_hook(optimizer_hooks.WeightDecay(1.0), timing="post")
    optimizer.update()
    assert seen == [(True, True, 1)]
    rule.remove_hook("mine")
    optimizer.update()
    assert len(seen) == 1


def test_gradients_that_a_hook_clears_come_back_as_zeros():
    link = make_link()
    optimizer = optimizers.SGD(1.0).setup(link)
    before = link.w.array.copy()
    optimizer.add_hook(lambda opt: opt.target.cleargrads(), name="clear")
    optimizer.add_hook(lambda opt: [p.grad.fill(0) for p in opt.target.params()], name="needs gradients")
    optimizer.update()
    np.testing.assert_array_equal(link.w.array, before)


def test_wrong_hooks():
    optimizer = optimizers.SGD().setup(make_link())
    optimizer.add_hook(print, name="x")
    for act, error in ((lambda: optimizer.add_hook(1), TypeError), (lambda: optimizer.add_hook(print, name="x"), KeyError),
                       (lambda: optimizer.add_hook(print, name="y", timing="between"), ValueError),
                       (lambda: optimizer.remove_hook("y"), KeyError), (lambda: optimizer.call_hooks("between"), ValueError),
                       (lambda: optimizer.add_hook(object.__new__(type("H", (), {"__call__": print}))), ValueError)):
        with pytest.raises(error):
            act()
    odd = lambda opt: None
    odd.timing = "sometimes"
    with pytest.warns(UserWarning, match="sometimes"):
        optimizer.add_hook(odd)


@pytest.mark.parametrize("name", ["WeightDecay", "Lasso", "GradientClipping", "GradientNoise", "GradientHardClipping"])
def test_old_names_are_deprecated(name):
    with pytest.warns(DeprecationWarning, match="optimizer_hooks"):
        hook = getattr(hnn.optimizer, name)(*([0.1] if name != "GradientHardClipping" else [0.1, 0.2]))
    assert isinstance(hook, getattr(optimizer_hooks, name))


# ------------------------------------------------------------------------------------------------------------- schedules

SCHEDULES = {
    "constant": (schedules.constant(2), lambda t: 2),
    "linear": (schedules.linear(1, 3, 4), lambda t: 1 + min(t, 4) / 2),
    "polynomial": (schedules.polynomial(1, 0.5, 4), lambda t: 0.5 + 0.5 * (1 - min(t, 4) / 4) ** 2),
    "exponential": (schedules.exponential(1, 0.5, 2), lambda t: 0.5 ** (t / 2)),
    "staircase": (schedules.exponential(1, 0.5, 2, staircase=True), lambda t: 0.5 ** (t // 2)),
    "cosine": (schedules.cosine(1, 8), lambda t: (1 + math.cos(math.pi * min(t, 8) / 8)) / 2),
    "restarts": (schedules.cosine(3, 4, end=1, cycles=2), lambda t: 1 + 1 + math.cos(math.pi * (t % 4) / 4) if t < 8 else 1),
    "inverse_sqrt": (schedules.inverse_sqrt(2, 4), lambda t: (t + 1) / 2 if t < 4 else 4 / math.sqrt(t + 1)),
    "piecewise": (schedules.piecewise([2, 5], [1, 2, 3]), lambda t: 1 + (t >= 2) + (t >= 5)),
    "warmup": (schedules.warmup(schedules.linear(4, 0, 4), 2), lambda t: 2 * t if t < 2 else max(4 - (t - 2), 0)),
    "warmup_cosine": (schedules.warmup_cosine(1, 2, 6),
                      lambda t: t / 2 if t < 2 else (1 + math.cos(math.pi * min(t - 2, 4) / 4)) / 2),
    "joined": (schedules.joined((schedules.constant(1), 3), (schedules.linear(2, 4, 2), 2)),
               lambda t: 1 if t < 3 else 2 + min(t - 3, 2)),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    schedule, expected = SCHEDULES[name]
    np.testing.assert_allclose([schedule(t) for t in range(12)], [expected(t) for t in range(12)], atol=1e-12)


def test_one_cycle_rises_and_falls():
    values = [schedules.one_cycle(1.0, 10)(t) for t in range(12)]
    assert values[0] == pytest.approx(0.04) and max(values) == values[3] == 1 and values[-1] == pytest.approx(1e-4)


def test_a_scheduled_optimizer():
    link = make_link()
    optimizer = optimizers.SGD(99.0).setup(link)
    optimizer.add_hook(optimizers.Schedule(schedules.piecewise([1], [1.0, 0.0])))
    b = link.b.array.copy()
    optimizer.update()
    optimizer.update()
    np.testing.assert_allclose(link.b.array, b - link.b.grad)
    for make, attr in ((optimizers.Adam, "alpha"), (optimizers.RMSprop, "lr")):
        optimizer = make().setup(link)
        optimizer.add_hook(optimizers.Schedule(schedules.constant(0.5)))
        optimizer.update()
        assert getattr(optimizer, attr) == 0.5
    optimizer.add_hook(optimizers.Schedule(schedules.constant(0.5), "speed"))
    with pytest.raises(AttributeError, match="no hyperparameter 'speed'"):
        optimizer.update()


@pytest.mark.parametrize("make", [
    lambda: schedules.linear(0, 1, 0), lambda: schedules.piecewise([1], [1]), lambda: schedules.joined(),
    lambda: schedules.piecewise([2, 1], [1, 2, 3]), lambda: schedules.warmup_cosine(1, 5, 5)])
def test_wrong_schedules(make):
    with pytest.raises(ValueError):
        make()


# --------------------------------------------------------------------------------------------- averages and accumulation

def test_averages_of_parameters():
    link = make_link()
    optimizer = optimizers.SGD(0.1).setup(link)
    ema = optimizers.ExponentialMovingAverage(0.9)
    optimizer.add_hook(ema)
    history = []
    for _ in range(5):
        optimizer.update()
        history.append(link.w.array.copy())
    expected = history[0]
    for w in history[1:]:
        expected = 0.9 * expected + 0.1 * w
    with ema.applied(link) as averaged:
        assert averaged is link
        np.testing.assert_allclose(link.w.array, expected, rtol=1e-12)
    np.testing.assert_array_equal(link.w.array, history[-1])
    ema.copy_to(link)
    np.testing.assert_allclose(link.w.array, expected, rtol=1e-12)


def test_averages_warm_up_and_are_saved():
    link, ema = make_link(b=(2,)), optimizers.ExponentialMovingAverage(0.999, warmup=True)
    ema.update(link)
    first = link.b.array.copy()
    link.b.array[...] = 0
    ema.update(link)
    np.testing.assert_allclose(ema.averages["/b"], first * 2 / 11)
    saver, other = DictionarySerializer(), optimizers.ExponentialMovingAverage(0.999, warmup=True)
    ema.serialize(saver)
    other.update(link)
    other.serialize(NpzDeserializer({k: np.array(v) for k, v in saver.target.items()}))
    assert other.updates == 2
    np.testing.assert_array_equal(other.averages["/b"], ema.averages["/b"])
    with pytest.raises(ValueError, match="decay"):
        optimizers.ExponentialMovingAverage(1.0)


def test_accumulated_batches_are_one_large_batch():
    x = np.random.default_rng(1).normal(size=(12, 3))

    def loss(link, x):
        return F.mean(F.matmul(x, link.w) ** 2)
    whole, parts, manual = make_link(), make_link(), make_link()
    big = optimizers.Adam(0.1).setup(whole)
    small = optimizers.GradientAccumulation(optimizers.Adam(0.1).setup(parts), 3)
    by_hand = optimizers.GradientAccumulation(optimizers.Adam(0.1).setup(manual), 3)
    manual.cleargrads()
    for _ in range(2):
        big.update(loss, whole, x)
        for i in range(3):
            assert small.update(loss, parts, x[4 * i:4 * i + 4]) == (i == 2)
            loss(manual, x[4 * i:4 * i + 4]).backward()
            assert by_hand.update() == (i == 2)
    assert big.t == small.optimizer.t == 2
    np.testing.assert_allclose(parts.w.array, whole.w.array, rtol=1e-9)
    np.testing.assert_array_equal(parts.w.array, manual.w.array)
    with pytest.raises(ValueError, match="steps"):
        optimizers.GradientAccumulation(big, 0)


# ---------------------------------------------------------------------------------------------------------- traced steps

HOOKS = [optimizer_hooks.WeightDecay(0.01), optimizer_hooks.Lasso(0.01), optimizer_hooks.GradientClipping(0.5),
         optimizer_hooks.GradientHardClipping(-0.2, 0.3), optimizer_hooks.GradientLARS(), optimizer_hooks.GradientNoise(0.1)]
OPTIMIZERS = ["SGD", "MomentumSGD", "NesterovAG", "CorrectedMomentumSGD", "AdaGrad", "AdaDelta", "RMSprop", "RMSpropGraves",
              "SMORMS3", "Adam", "AdamW", "AMSGrad", "AdaBound", "AMSBound", "MSVAG", "Lion", "Adafactor"]


def trained(name, wrap, hooks):
    np.random.seed(2)
    link = make_link("float32")
    optimizer = getattr(optimizers, name)().setup(link)
    for hook in hooks:
        optimizer.add_hook(hook)
    optimizer.add_hook(optimizers.Schedule(lambda t: 0.01 / (1 + t), "eps" if name == "AdaDelta" else None))

    def step(x):
        loss = F.sum(F.tanh(F.matmul(x, link.w) + link.b) ** 2)
        link.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    step = wrap(step)
    x = np.random.default_rng(3).normal(size=(8, 5, 3)).astype("f")
    return [float(step(batch)) for batch in x], [p.array for p in link.params()], optimizer.t, step


@pytest.mark.parametrize("name, hooks", [*[(n, []) for n in OPTIMIZERS], *[(n, HOOKS) for n in ("SGD", "Adam")]])
def test_a_traced_step_is_the_same(name, hooks):
    losses, arrays, t, _ = trained(name, lambda f: f, hooks)
    traced_losses, traced_arrays, traced_t, step = trained(name, hnn.trace, hooks)
    np.testing.assert_allclose(traced_losses, losses, rtol=1e-4)
    for a, b in zip(arrays, traced_arrays):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5)
    assert t == traced_t == 8
    assert step.stats.hits >= 4, "numbers that change from step to step are operands"
