"""Every optimizer against the equations of its paper in float64 NumPy, and what optimizers do around the update rules."""
import copy
import math
import pickle

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import optimizers
from hybridnn.link import Link
from hybridnn.optimizer import GradientMethod, Hyperparameter, HyperparameterProxy, UpdateRule
from hybridnn.optimizers import _ops
from hybridnn.serializers import DictionarySerializer, NpzDeserializer

STEPS = 20
SHAPES = {"w": (4, 3), "b": (3,), "s": ()}


def make_link(dtype="float32", seed=0):
    rng, link = np.random.default_rng(seed), Link()
    with link.init_scope():
        for name, shape in SHAPES.items():
            setattr(link, name, hnn.Parameter(np.asarray(rng.normal(size=shape)).astype(dtype)))
    return link


def gradients(shape, dtype, seed, steps=STEPS):
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.normal(size=shape)).astype(dtype) for _ in range(steps)]


# Each reference is written as its paper writes it, with the paper's own bias corrections: p, list of gradients -> p.

def sgd(p, gs, lr=0.01):
    """Robbins and Monro 1951."""
    for g in gs:
        p = p - lr * g
    return p


def momentum(p, gs, lr=0.01, mu=0.9):
    """Polyak 1964, eq. 9: the difference of iterates carries over."""
    before = p
    for g in gs:
        p, before = p - lr * g + mu * (p - before), p
    return p


def nesterov(p, gs, lr=0.01, mu=0.9):
    """Bengio et al. 2012, eqs. 6 and 7 with constant coefficients."""
    v = 0
    for g in gs:
        p, v = p + mu * mu * v - (1 + mu) * lr * g + (mu * mu * (mu * v - lr * g) - mu * mu * v), mu * v - lr * g
    return p


def adagrad(p, gs, lr=0.001, eps=1e-8):
    """Duchi et al. 2011: the root of the sum over all gradients so far."""
    for t, g in enumerate(gs, 1):
        p = p - lr * g / (np.sqrt(sum(h * h for h in gs[:t])) + eps)
    return p


def adadelta(p, gs, rho=0.95, eps=1e-6):
    """Zeiler 2012, algorithm 1."""
    eg = ex = 0
    for g in gs:
        eg = rho * eg + (1 - rho) * g ** 2
        dx = -np.sqrt(ex + eps) / np.sqrt(eg + eps) * g
        ex = rho * ex + (1 - rho) * dx ** 2
        p = p + dx
    return p


def rmsprop(p, gs, lr=0.01, alpha=0.99, eps=1e-8, inside=False):
    """Tieleman and Hinton 2012: the mean square as an explicit weighted sum."""
    for t, g in enumerate(gs, 1):
        ms = sum((1 - alpha) * alpha ** (t - i) * h * h for i, h in enumerate(gs[:t], 1))
        p = p - lr * g / (np.sqrt(ms + eps) if inside else np.sqrt(ms) + eps)
    return p


def graves(p, gs, lr=1e-4, alpha=0.95, mu=0.9, eps=1e-4):
    """Graves 2013, eqs. 38 to 41."""
    n = m = delta = 0
    for g in gs:
        n, m = alpha * n + (1 - alpha) * g ** 2, alpha * m + (1 - alpha) * g
        delta = mu * delta - lr * g / np.sqrt(n - m ** 2 + eps)
        p = p + delta
    return p


def smorms3(p, gs, lr=0.001, eps=1e-16):
    """Funk 2015, the listing of the article."""
    mem, m, m2 = np.ones_like(p), 0, 0
    for g in gs:
        r = 1 / (mem + 1)
        m, m2 = m + r * (g - m), m2 + r * (g ** 2 - m2)
        x = m ** 2 / (m2 + eps)
        p = p - np.minimum(lr, x) / (np.sqrt(m2) + eps) * g
        mem = mem + 1 - x * mem
    return p


def adam(p, gs, alpha=0.001, b1=0.9, b2=0.999, eps=1e-8, eta=1.0, decay=0.0, amsgrad=False, bound=None):
    """Kingma and Ba 2015, algorithm 1 with eps as in section 2; arXiv 1711.05101, 1904.09237 and 1902.09843 for the variants."""
    m = v = vmax = 0
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g ** 2
        vmax = np.maximum(vmax, v)
        fix1, fix2 = 1 - b1 ** t, math.sqrt(1 - b2 ** t)
        rate = alpha * fix2 / fix1 / (np.sqrt(vmax if amsgrad else v) + eps)
        if bound:
            final, gamma = bound
            rate = np.clip(rate, final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t)))
        p = p - eta * (rate * m + decay * p)
    return p


def msvag(p, gs, lr=0.1, beta=0.9):
    """Balles and Hennig 2018, algorithm 1, with rho as the sum of squared weights (their eq. 20)."""
    for t in range(1, len(gs) + 1):
        w = beta ** np.arange(t - 1, -1, -1.)
        w = w / w.sum()
        m = np.tensordot(w, np.stack(gs[:t]), 1)
        v = np.tensordot(w, np.stack(gs[:t]) ** 2, 1)
        rho = min((w ** 2).sum(), 0.9999)
        s = (v - m ** 2) / (1 - rho)
        p = p - lr * m * np.clip(m ** 2 / (m ** 2 + rho * s), 0, 1)
    return p


def lion(p, gs, lr=1e-4, b1=0.9, b2=0.99, decay=0.0):
    """Chen et al. 2023, algorithm 2."""
    m = 0
    for g in gs:
        p = p - lr * (np.sign(b1 * m + (1 - b1) * g) + decay * p)
        m = b2 * m + (1 - b2) * g
    return p


def adafactor(p, gs, lr=None, eps1=1e-30, eps2=1e-3, clip=1.0, decay=0.8, b1=None, wd=0.0):
    """Shazeer and Stern 2018, algorithms 4 and 5."""
    r = c = v = m = 0
    for t, g in enumerate(gs, 1):
        b2, sq = 1 - t ** -decay, g ** 2 + eps1
        if p.ndim == 2:
            r, c = b2 * r + (1 - b2) * sq.sum(1), b2 * c + (1 - b2) * sq.sum(0)
            second = np.outer(r, c) / r.sum()
        else:
            second = v = b2 * v + (1 - b2) * sq
        u = g / np.sqrt(second)
        u = u / max(1, np.sqrt(np.mean(u ** 2)) / clip)
        if b1 is not None:
            u = m = b1 * m + (1 - b1) * u
        rate = min(1e-2, 1 / math.sqrt(t)) if lr is None else lr
        p = p - rate * wd * p - max(eps2, np.sqrt(np.mean(p ** 2))) * rate * u
    return p


CASES = {
    "SGD": (lambda: optimizers.SGD(), sgd),
    "SGD lr": (lambda: optimizers.SGD(lr=0.5), lambda p, g: sgd(p, g, 0.5)),
    "MomentumSGD": (lambda: optimizers.MomentumSGD(), momentum),
    "CorrectedMomentumSGD": (lambda: optimizers.CorrectedMomentumSGD(0.02, 0.8), lambda p, g: momentum(p, g, 0.02, 0.8)),
    "NesterovAG": (lambda: optimizers.NesterovAG(), nesterov),
    "AdaGrad": (lambda: optimizers.AdaGrad(), adagrad),
    "AdaDelta": (lambda: optimizers.AdaDelta(), adadelta),
    "RMSprop": (lambda: optimizers.RMSprop(), rmsprop),
    "RMSprop inside": (lambda: optimizers.RMSprop(eps=1e-2, eps_inside_sqrt=True),
                       lambda p, g: rmsprop(p, g, eps=1e-2, inside=True)),
    "RMSpropGraves": (lambda: optimizers.RMSpropGraves(), graves),
    "SMORMS3": (lambda: optimizers.SMORMS3(), smorms3),
    "Adam": (lambda: optimizers.Adam(), adam),
    "AdamW": (lambda: optimizers.AdamW(weight_decay_rate=0.05, eta=0.5), lambda p, g: adam(p, g, eta=0.5, decay=0.05)),
    "AMSGrad": (lambda: optimizers.AMSGrad(), lambda p, g: adam(p, g, amsgrad=True)),
    "AdaBound": (lambda: optimizers.AdaBound(), lambda p, g: adam(p, g, bound=(0.1, 1e-3))),
    "AMSBound": (lambda: optimizers.AMSBound(final_lr=0.01, gamma=0.1),
                 lambda p, g: adam(p, g, amsgrad=True, bound=(0.01, 0.1))),
    "MSVAG": (lambda: optimizers.MSVAG(), msvag),
    "Lion": (lambda: optimizers.Lion(weight_decay_rate=0.1), lambda p, g: lion(p, g, decay=0.1)),
    "Adafactor": (lambda: optimizers.Adafactor(), adafactor),
    "Adafactor mean": (lambda: optimizers.Adafactor(lr=0.02, beta1=0.9, weight_decay_rate=0.1),
                       lambda p, g: adafactor(p, g, lr=0.02, b1=0.9, wd=0.1)),
}
TOLERANCE = {"float64": 1e-11, "float32": 2e-5, "float16": 1e-2}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_twenty_steps_follow_the_paper(name, dtype):
    make, reference = CASES[name]
    link = make_link(dtype)
    optimizer = make().setup(link)
    start = {n: p.array.astype("float64") for n, p in link.namedparams()}
    grads = {n: gradients(p.shape, dtype, i) for i, (n, p) in enumerate(link.namedparams())}
    arrays = {n: p.array for n, p in link.namedparams()}
    for t in range(STEPS):
        for n, p in link.namedparams():
            p.grad = grads[n][t].copy()
        optimizer.update()
    assert optimizer.t == STEPS
    for n, p in link.namedparams():
        expected = reference(start[n], [g.astype("float64") for g in grads[n]])
        assert p.dtype == dtype and p.array is arrays[n]
        np.testing.assert_allclose(p.array, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_every_optimizer_has_a_reference():
    classes = {n for n in optimizers.__all__ if issubclass(getattr(optimizers, n), GradientMethod)}
    assert classes == {name.split()[0] for name in CASES}
    assert len(classes) == 17


@pytest.mark.parametrize("name", CASES)
def test_empty_parameters_and_zero_gradients_are_harmless(name):
    link = Link()
    with link.init_scope():
        link.empty = hnn.Parameter(np.zeros((0, 3), "f"))
        link.still = hnn.Parameter(np.ones((2, 2), "f"))
    optimizer = CASES[name][0]().setup(link)
    for _ in range(3):
        link.empty.grad, link.still.grad = np.zeros((0, 3), "f"), np.zeros((2, 2), "f")
        optimizer.update()
    assert link.empty.shape == (0, 3)
    assert np.isfinite(link.still.array).all()


def loss_of(link, x):
    return F.sum((link.w * x) ** 2) + F.sum(link.b ** 2) + link.s ** 2


def test_update_with_a_loss_function_minimises_it():
    link = make_link("float64")
    optimizer = optimizers.SGD(0.1).setup(link)
    for _ in range(60):
        optimizer.update(loss_of, link, np.ones((4, 3)))
    assert float(loss_of(link, np.ones((4, 3)))) < 1e-6


def test_update_with_a_loss_function_clears_old_gradients():
    link = make_link()
    optimizer = optimizers.SGD(1.0).setup(link)
    before = link.b.array.copy()
    link.b.grad = np.full(3, 100, "f")
    optimizer.update(lambda: F.sum(link.b))
    np.testing.assert_array_equal(link.b.array, before - 1)


def test_parameters_without_gradient_move_by_momentum_only():
    link = make_link()
    optimizer = optimizers.MomentumSGD(0.1).setup(link)
    link.b.grad = np.ones(3, "f")
    link.w.cleargrad(), link.s.cleargrad()
    w, b = link.w.array.copy(), link.b.array.copy()
    optimizer.update()
    np.testing.assert_array_equal(link.w.array, w)
    link.b.cleargrad()
    optimizer.update()
    np.testing.assert_allclose(link.b.array, b - 0.1 - 0.09, rtol=1e-6)


def test_a_hyperparameter_of_one_parameter():
    link = make_link()
    optimizer = optimizers.SGD(0.1).setup(link)
    link.b.update_rule.hyperparam.lr = 1.0
    before = {n: p.array.copy() for n, p in link.namedparams()}
    for p in link.params():
        p.grad = np.ones(p.shape, "f")
    optimizer.update()
    np.testing.assert_allclose(link.b.array, before["/b"] - 1)
    np.testing.assert_allclose(link.w.array, before["/w"] - np.float32(0.1), rtol=1e-6)
    optimizer.lr = 0.5
    assert link.w.update_rule.hyperparam.lr == 0.5
    assert link.b.update_rule.hyperparam.lr == 1.0


def test_a_disabled_rule_leaves_its_parameter_alone():
    link = make_link()
    optimizer = optimizers.Adam().setup(link)
    link.w.update_rule.enabled = False
    w = link.w.array.copy()
    for p in link.params():
        p.grad = np.ones(p.shape, "f")
    optimizer.update()
    np.testing.assert_array_equal(link.w.array, w)
    assert link.w.update_rule.t == 0 and link.b.update_rule.t == 1


def test_uninitialised_parameters_wait():
    link = Link()
    with link.init_scope():
        link.late = hnn.Parameter(1.0)
    optimizer = optimizers.Adam().setup(link)
    optimizer.update()
    link.late.initialize((2,))
    link.late.grad = np.ones(2, "f")
    optimizer.update()
    assert (link.late.array < 1).all()


INPLACE = [op for op in vars(_ops).values() if hasattr(op, "inplace")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", INPLACE, ids=lambda op: op.name)
def test_versions_in_place_give_the_same_bits(op, dtype):
    rng = np.random.default_rng(0)
    n_states = {"update_sgd": 0, "update_momentum": 1, "update_adam": 2}[op.name]
    arrays = [rng.normal(size=1000).astype(dtype) for _ in range(2)] + [rng.random(1000).astype(dtype) for _ in range(n_states)]
    for factor in (1.0, 0.7):
        numbers = [0.3, 0.2, 0.1, 1e-8, factor, factor][:len(op.params) - len(arrays)]
        expected = op.forward(np, *arrays, *numbers, wide=False)
        changed = [a.copy() for a in arrays]
        op.inplace(*changed, *numbers)
        np.testing.assert_array_equal(changed[1], arrays[1])
        for a, e in zip([changed[0], *changed[2:]], expected, strict=True):
            np.testing.assert_array_equal(a, e)


@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop", "SMORMS3"])
@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_large_parameters_are_updated_block_by_block(name, layout):
    def updated(shape, layout):
        rng, link = np.random.default_rng(4), Link()
        with link.init_scope():
            link.p = hnn.Parameter(layout(rng.normal(size=40000).astype("f").reshape(shape)))
        optimizer = getattr(optimizers, name)().setup(link)
        for _ in range(3):
            link.p.grad = layout(rng.normal(size=40000).astype("f").reshape(shape))
            optimizer.update()
        return link.p.array.reshape(-1)
    whole = updated((200, 200), layout)
    rng = np.random.default_rng(4)
    p, grads = rng.normal(size=40000).astype("f"), [rng.normal(size=40000).astype("f") for _ in range(3)]
    np.testing.assert_allclose(whole, CASES[name][1](p.astype("d"), [g.astype("d") for g in grads]), rtol=1e-4, atol=1e-6)


# ------------------------------------------------------------------------------------------------- rules that a user writes

class PlainRule(UpdateRule):
    """Plain NumPy code on arrays, as in Chainer."""

    def __init__(self, parent_hyperparam=None):
        super().__init__(parent_hyperparam)

    def init_state(self, param):
        self.state["sum"] = np.zeros_like(param.data)

    def update_core_cpu(self, param):
        if param.grad is None:
            return
        self.state["sum"] += param.grad
        param.data -= self.hyperparam.rate * self.state["sum"]


class Plain(GradientMethod):
    rate = HyperparameterProxy("rate")

    def __init__(self, rate):
        super().__init__()
        self.hyperparam.rate = rate

    def create_update_rule(self):
        return PlainRule(self.hyperparam)


def test_a_rule_in_plain_numpy():
    link = make_link("float64")
    optimizer = Plain(0.5).setup(link)
    b = link.b.array.copy()
    for _ in range(3):
        link.b.grad = np.ones(3)
        optimizer.update()
    np.testing.assert_allclose(link.b.array, b - 0.5 * (1 + 2 + 3))


def test_a_rule_without_update_says_so():
    param = hnn.Parameter(np.ones(2, "f"))
    with pytest.raises(NotImplementedError, match="UpdateRule defines neither"):
        UpdateRule().update(param)


# --------------------------------------------------------------------------------------------------------- hyperparameters

def test_hyperparameters_ask_their_parents():
    parent = Hyperparameter()
    parent.x, parent.y = 1, 2
    child = Hyperparameter(parent)
    child.y = 3
    assert (child.x, child.y, child.parent) == (1, 3, parent)
    assert child.get_dict() == {"x": 1, "y": 3}
    assert repr(child) == "Hyperparameter(x=1, y=3)"
    with pytest.raises(AttributeError, match="no hyperparameter 'z'"):
        child.z
    assert copy.deepcopy(child).get_dict() == child.get_dict() == pickle.loads(pickle.dumps(child)).get_dict()


def test_adam_reports_its_step_size():
    optimizer = optimizers.Adam(alpha=0.1, beta1=0.5, beta2=0.75)
    with pytest.raises(RuntimeError, match="number of updates"):
        optimizer.alpha_t
    optimizer.t = 1
    assert optimizer.alpha_t == pytest.approx(0.1 * math.sqrt(0.25) / 0.5)
    with pytest.warns(DeprecationWarning, match="alpha_t"):
        assert optimizer.lr == optimizer.alpha_t


@pytest.mark.parametrize("make", [optimizers.Adam, optimizers.RMSprop])
def test_an_eps_that_underflows_is_refused(make):
    link = make_link()
    optimizer = make(eps=1e-60).setup(link)
    link.b.grad = np.ones(3, "f")
    with pytest.raises(ValueError, match="eps = 1e-60 is zero"):
        optimizer.update()


# ------------------------------------------------------------------------------------------------------ mixed precision

def test_a_static_loss_scale_cancels():
    plain, scaled = make_link(), make_link()
    a, b = optimizers.SGD(0.1).setup(plain), optimizers.SGD(0.1).setup(scaled)
    b.loss_scaling(scale=1024.)
    for link, optimizer in ((plain, a), (scaled, b)):
        optimizer.update(loss_of, link, np.ones((4, 3), "f"))
    for p, q in zip(plain.params(), scaled.params()):
        np.testing.assert_allclose(p.array, q.array, rtol=1e-6)


def test_a_dynamic_loss_scale_adapts():
    link = make_link()
    optimizer = optimizers.SGD(0.1).setup(link)
    optimizer.loss_scaling(interval=2)
    x = np.ones((4, 3), "f")
    optimizer.update(loss_of, link, x)
    optimizer.update(loss_of, link, x)
    assert optimizer._loss_scale == 4
    before, t = link.w.array.copy(), optimizer.t
    with pytest.warns(UserWarning, match="gradient of /w is not finite"):
        optimizer.update(loss_of, link, x * np.float32("inf"))
    np.testing.assert_array_equal(link.w.array, before)
    assert (optimizer._loss_scale, optimizer.t) == (2, t + 1)
    optimizer.update(loss_of, link, x)
    assert optimizer._loss_scale == pytest.approx(2 * 2 ** .5)


def test_loss_scaling_refuses_nonsense():
    with pytest.raises(ValueError, match="interval"):
        optimizers.SGD().loss_scaling(interval=0)
    with pytest.raises(ValueError, match="positive"):
        optimizers.SGD().set_loss_scale(0)


def test_small_steps_survive_in_a_float32_copy():
    def after(fp32):
        link = Link()
        with link.init_scope():
            link.p = hnn.Parameter(np.ones(3, "float16"))
        optimizer = optimizers.SGD(1e-4)
        if fp32:
            optimizer.use_fp32_update()
        optimizer.setup(link)
        array = link.p.array
        for _ in range(100):
            link.p.grad = np.ones(3, "float16")
            optimizer.update()
        assert link.p.array is array and link.p.dtype == "float16"
        return array
    np.testing.assert_array_equal(after(False), 1)
    np.testing.assert_allclose(after(True), 0.99, atol=5e-4)


# ------------------------------------------------------------------------------------------------------------ bookkeeping

def test_training_resumes_from_saved_state():
    def train(link, optimizer, first, last):
        for t in range(first, last):
            for i, p in enumerate(link.params()):
                p.grad = gradients(p.shape, "float32", 10 * i + t, 1)[0]
            optimizer.update()
    whole = make_link()
    train(whole, optimizers.Adam().setup(whole), 0, 6)
    half = make_link()
    optimizer = optimizers.Adam().setup(half)
    train(half, optimizer, 0, 3)
    optimizer.new_epoch()
    saver = DictionarySerializer()
    saver.save(optimizer)
    resumed = half.copy(mode="copy")
    fresh = optimizers.Adam().setup(resumed)
    NpzDeserializer(saver.target).load(fresh)
    assert (fresh.t, fresh.epoch) == (3, 1)
    train(resumed, fresh, 3, 6)
    for p, q in zip(whole.params(), resumed.params()):
        np.testing.assert_array_equal(p.array, q.array)


def test_a_state_that_was_not_saved_is_an_error_only_for_enabled_rules():
    link = make_link()
    optimizer = optimizers.Adam().setup(link)
    store = {"t": np.array(2), "epoch": np.array(0), **{f"{n[1:]}/t": np.array(0) for n, _ in link.namedparams()}}
    with pytest.raises(KeyError):
        NpzDeserializer(store).load(optimizer)
    for p in link.params():
        p.update_rule.enabled = False
    NpzDeserializer(store).load(optimizer)
    assert optimizer.t == 2 and link.w.update_rule.state is None


def test_setup_needs_a_link_and_updates_need_setup():
    with pytest.raises(TypeError, match="target must be a link, not int"):
        optimizers.SGD().setup(3)
    with pytest.raises(RuntimeError, match="no target yet"):
        optimizers.SGD().add_hook(print)


def test_epochs_are_counted_by_one_side_only():
    optimizer = optimizers.SGD().setup(make_link())
    optimizer.new_epoch()
    with pytest.raises(RuntimeError, match="use_auto_new_epoch"):
        optimizer.new_epoch(auto=True)
    optimizer.use_auto_new_epoch = True
    optimizer.new_epoch(auto=True)
    assert optimizer.epoch == 2
    with pytest.raises(RuntimeError, match="updater"):
        optimizer.new_epoch()


def test_use_cleargrads_is_deprecated_and_works():
    link = make_link()
    optimizer = optimizers.SGD().setup(link)
    with pytest.warns(DeprecationWarning):
        optimizer.use_cleargrads(False)
    optimizer.update(lambda: F.sum(link.b))
    np.testing.assert_array_equal(link.w.grad, 0)


@pytest.mark.parametrize("dtype", [None, "float16", "float32"])
def test_a_float32_copy_of_a_parameter_without_an_array(dtype):
    param = hnn.Parameter(hnn.initializers.Zero(dtype))
    rule, seen = UpdateRule(), []
    rule.update_core = seen.append
    rule.use_fp32_update()
    rule.update(param)
    assert (seen[0] is param) is (dtype != "float16")
    assert dtype is None or seen[0].dtype == np.float32
    assert not param.is_initialized


def test_a_state_made_by_a_replaced_init_state_is_loaded():
    rule = UpdateRule()
    rule.init_state = lambda param: rule.state.update(a=0, b=np.zeros(2))
    rule.serialize(NpzDeserializer({"t": np.array(3), "a": np.array(1), "b": np.ones(2)}))
    assert (rule.t, int(rule.state["a"]), rule.state["b"].tolist()) == (3, 1, [1, 1])


def test_there_are_no_parameters_of_chainerx():
    with pytest.raises(RuntimeError, match="update_core"):
        UpdateRule().update_core_chainerx(None)


def same_updates(optimizer, train):
    """A parameter and its states after ``train(step, state)``, eager and traced; ``step(g)`` updates the parameter with the gradient ``g``."""
    def trained(wrap):
        p = hnn.Parameter(np.linspace(-1, 1, 700, dtype="f"))
        link = hnn.Chain()
        with link.init_scope():
            link.p = p
        of_link = optimizer().setup(link)
        train(wrap(lambda g: (link.cleargrads(), F.sum(p * g).backward(), of_link.update())[0]), lambda: p.update_rule.state)
        return [p.array, *(p.update_rule.state[k] for k in sorted(p.update_rule.state))]
    with hnn.using_config("trace_compile", "sync"):
        for got, want in zip(trained(hnn.trace), trained(lambda f: f), strict=True):
            np.testing.assert_allclose(got, want, rtol=3e-6, atol=4e-45)
            np.testing.assert_array_equal(got == 0, want == 0)


@pytest.mark.parametrize("rule", ["Adam", "AdamW", "AMSGrad", "AdaBound"])
def test_updates_of_units_that_died(rule):
    """Where the first moments alone are very small, their chain alone is computed in float64."""
    def train(step, state):
        g = np.geomspace(1e-6, 10, 700, dtype="f")
        for _ in range(6):
            step(g)
        g[::7] = 0
        state()["m"][::7] *= np.float32(1e-34)
        state()["m"][:350:14] = 1e-45
        for _ in range(3):
            step(g)
    same_updates(getattr(hnn.optimizers, rule), train)


@pytest.mark.parametrize("rule", ["Adam", "RMSprop", "AdaGrad", "MomentumSGD", "NesterovAG", "CorrectedMomentumSGD", "AdaDelta"])
def test_updates_of_subnormal_moments(rule):
    """Blocks with very small numbers are computed in float64: nothing is flushed to zero, and the results are those of float32."""
    def train(step, state):
        g = np.geomspace(1e-25, 1e-3, 700, dtype="f")
        g[::7] = 0
        for _ in range(8):
            step(g)
        for values in state().values():
            values[5:300] *= np.float32(1e-12)
        for _ in range(3):
            step(g * 0)
    same_updates(lambda: getattr(hnn.optimizers, rule)(0.01), train)
