"""The library with the stand-in for CuPy in ``fake_cupy``: everything that moves models and data, and every operation, function and link on device arrays.

A process of its own runs it, as CuPy is looked for when hybridnn is imported: ``PYTHONPATH=tests/fake_cupy python -m pytest tests/fake_device.py``;
``test_fake_device.py`` does so in every test run. What the stand-in refuses fails on a GPU; what it computes is NumPy's.
"""
import copy
import pickle
import sys

import cupy
import link_cases
import numpy as np
import pytest
import test_ops
from function_samples import SAMPLES

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import backend, distributions, initializers, iterators, optimizer_hooks, optimizers, serializers, testing, training
from hybridnn.backends import cuda
from hybridnn.core import OPS, Variable, apply
from hybridnn.dataset import ConcatWithAsyncTransfer, concat_examples, converter, to_device
from hybridnn.errors import InvalidType
from hybridnn.jit import cuda as jit_cuda

assert cupy.__file__.endswith("fake_cupy/cupy/__init__.py"), "PYTHONPATH=tests/fake_cupy"
GPU, OTHER, CPU = hnn.get_device("@cupy:0"), hnn.get_device("@cupy:1"), hnn.get_device("@numpy")


def on_gpu(x):
    return GPU.send(x) if isinstance(x, np.ndarray) else x


def on_host(x):
    a = getattr(x, "array", x)
    return a.get() if isinstance(a, cupy.ndarray) else np.asarray(a)


def is_on_gpu(x, device=GPU):
    a = getattr(x, "array", x)
    return isinstance(a, cupy.ndarray) and a.device == device.device


def array(*shape):
    return np.random.normal(size=shape).astype("f4")


@pytest.fixture
def transfers():
    """How many transfers there were since the last look."""
    def seen():
        now = dict(cupy.transfers)
        difference = {k: now[k] - last[k] for k in now}
        last.update(now)
        return difference["to device"], difference["to host"]
    last = dict(cupy.transfers)
    return seen


def several(y):
    return [v for part in y for v in several(part)] if isinstance(y, (tuple, list)) else [y]


# ------------------------------------------------------------------------------------------------------------- the stand-in itself

class TestTheStandIn:
    def test_host_arrays_are_refused(self):
        a, h = cupy.asarray(np.ones(3)), np.ones(3)
        for mix in (lambda: a + h, lambda: h + a, lambda: cupy.where(a > 0, a, h), lambda: np.add(a, h), lambda: a.__setitem__(slice(None), h),
                    lambda: cupy.concatenate([a, h]), lambda: np.concatenate([a, h])):
            with pytest.raises(TypeError):
                mix()
        with pytest.raises(ValueError, match="copyto"):
            cupy.copyto(a, h)
        with pytest.raises(TypeError, match="Implicit conversion"):
            np.asarray(a)

    def test_devices_do_not_mix(self):
        a, b = GPU.send(np.ones(3)), OTHER.send(np.ones(3))
        with pytest.raises(ValueError, match="device"):
            a + b
        with hnn.using_device(OTHER), pytest.raises(ValueError, match="device 0"):
            a + 1

    def test_what_cupy_lacks_is_not_there(self):
        a = cupy.asarray(np.ones(3))
        for lacking in (lambda: cupy.nanquantile_of, lambda: a.ctypes, lambda: a.flags.writeable, lambda: a.setflags, lambda: cupy.vectorize_):
            with pytest.raises(AttributeError):
                lacking()
        with pytest.raises(TypeError):
            cupy.sum(a, initial=0)
        with pytest.raises(TypeError):
            cupy.exp(a, where=True)
        with pytest.raises(NotImplementedError):
            cupy.maximum.reduce(a)

    def test_memory_that_nobody_wrote_is_poisoned(self):
        assert np.isnan(cupy.empty(3).get()).all() and (cupy.empty_like(cupy.zeros(2, "i4")).get() == -113).all()

    def test_transfers_are_counted(self, transfers):
        a = cupy.asarray(np.ones(3))
        assert transfers() == (1, 0)
        assert (a + 1).sum().shape == () and transfers() == (0, 0)
        assert float(a.sum()) == 3 and transfers() == (0, 1)


# ------------------------------------------------------------------------------------------------------------------- the backend

class TestBackend:
    def test_devices_by_name_number_and_array(self):
        assert GPU == hnn.get_device(0) == hnn.get_device("0") == hnn.get_device(cupy.cuda.Device(0)) != OTHER
        assert str(OTHER) == "@cupy:1" and repr(OTHER) == "<GpuDevice (cupy):1>" and GPU.xp is cupy
        assert backend.get_device_from_array(np.ones(1), OTHER.send(np.ones(1))) == OTHER and backend.get_device_from_array(np.ones(1)) == CPU
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
            hnn.get_device(2)

    def test_array_modules(self):
        a, h = on_gpu(np.ones(1)), np.ones(1)
        assert backend.get_array_module(h, Variable(a)) is cupy and backend.get_array_module(h) is np
        assert backend.is_array(a) and backend.get_array_types() == (np.ndarray, cupy.ndarray)
        assert backend.is_arrays_compatible([a, None, a]) and not backend.is_arrays_compatible([a, h])

    def test_sending(self, transfers):
        tree = (np.ones(2, "f4"), [np.zeros(1), None], {"k": Variable(np.ones(1))})
        sent = GPU.send(tree)
        assert is_on_gpu(sent[0]) and is_on_gpu(sent[1][0]) and sent[1][1] is None and is_on_gpu(sent[2]["k"]) and transfers() == (3, 0)
        assert GPU.send(sent[0]) is sent[0] and transfers() == (0, 0)
        moved = OTHER.send(sent[0])
        assert is_on_gpu(moved, OTHER) and is_on_gpu(sent[0])
        back = CPU.send(sent)
        assert type(back[0]) is np.ndarray and type(back[2]["k"]) is np.ndarray

    def test_to_gpu_and_to_cpu(self):
        a = backend.to_gpu(np.ones(2))
        assert is_on_gpu(a) and is_on_gpu(backend.to_gpu(a, 1), OTHER) and type(backend.to_cpu(a)) is np.ndarray and backend.to_cpu(None) is None
        with pytest.raises(TypeError, match=r"x\.to_gpu"):
            backend.to_gpu(Variable(np.ones(1)))
        with hnn.using_device(OTHER):
            assert is_on_gpu(backend.to_gpu(np.ones(1)), OTHER)

    @pytest.mark.parametrize("to", [CPU, GPU, OTHER])
    @pytest.mark.parametrize("start", [CPU, GPU, OTHER])
    def test_copyto_goes_everywhere(self, start, to):
        dst, src = to.send(np.zeros(3, "f4")), start.send(np.arange(3, dtype="f4"))
        with hnn.using_device(GPU):
            backend.copyto(dst, src)
        np.testing.assert_array_equal(on_host(dst), [0, 1, 2])

    def test_current_device(self):
        with hnn.using_device(OTHER) as device:
            assert device == OTHER and is_on_gpu(cupy.zeros(1), OTHER)
        assert is_on_gpu(cupy.zeros(1))
        OTHER.use()
        assert is_on_gpu(cupy.zeros(1), OTHER)
        GPU.use()

    def test_what_the_library_made_comes_beside_operands(self):
        h = np.ones(1)
        assert backend.beside(h, None, np.ones(1), 3) is h and is_on_gpu(backend.beside(h, 3, Variable(OTHER.send(h))), OTHER)

    def test_chainers_names(self):
        a = OTHER.send(np.ones(3))
        assert cuda.available and cuda.cupy is cupy and cuda.ndarray is cupy.ndarray
        assert cuda.get_device_from_id(1) == cuda.get_device_from_array(a) == cupy.cuda.Device(1)
        assert cuda.get_device_from_id(-1) is cuda.get_device_from_id(None) is cuda.get_device_from_array(np.ones(1)) is cuda.DummyDevice
        with hnn.using_device(OTHER):
            copied = cuda.copy(a)
        assert is_on_gpu(copied, OTHER) and is_on_gpu(cuda.copy(a, out_device=0))
        out = on_gpu(np.zeros(3))
        assert cuda.copy(on_gpu(np.ones(3)), out) is out and out.get().all()


# ------------------------------------------------------------------------------------------------------- operations, functions, links

def close(got, want, tolerance=1e-4):
    np.testing.assert_allclose(on_host(got), want, tolerance, tolerance)


@pytest.fixture(params=[0, 1], ids=["current", "other"])
def current(request):
    """Either device is the current one: what is computed lies on device 0 all the same."""
    with hnn.using_device(request.param):
        yield


@pytest.mark.parametrize("name", test_ops.ALL)
def test_an_operation(name):
    """Forward on the samples of its declaration."""
    op = OPS[name]
    for operands, attrs in test_ops.samples(op, "float32"):
        for got, want in zip(test_ops.values(op, [on_gpu(x) for x in operands], attrs), test_ops.values(op, operands, attrs), strict=True):
            assert is_on_gpu(got) and (got.shape, got.dtype) == (want.shape, want.dtype)
            close(got, want, 1e-5)


@pytest.mark.parametrize("name", test_ops.DIFFERENTIABLE)
def test_the_gradient_of_an_operation(name):
    def gradients(send, operands, attrs):
        xs = [Variable(send(x)) if test_ops.is_float(x) else send(x) for x in operands]
        floats = [y for y in several(apply(op, tuple(xs), attrs)) if y.dtype.kind == "f"]
        sum([F.sum(y * y) for y in floats[1:]], F.sum(floats[0] * floats[0])).backward()
        return [x.grad for x in xs if isinstance(x, Variable)]
    op = OPS[name]
    for operands, attrs in test_ops.samples(op, "float32"):
        for got, want in zip(gradients(on_gpu, operands, attrs), gradients(lambda x: x, operands, attrs), strict=True):
            assert (got is None) == (want is None)
            if want is not None:
                assert is_on_gpu(got)
                close(got, want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "copy"])
@pytest.mark.usefixtures("current")
def test_a_function(name):
    def run(sample, send):
        np.random.seed(1)
        xs = [Variable(send(x)) if x.dtype.kind == "f" else send(x) for x in sample.arrays(name, "float32")]
        ys = several(sample.call(name)(*xs))
        floats = [y for y in ys if isinstance(y, Variable) and y.dtype.kind == "f" and y.requires_grad]
        if floats:
            sum([F.sum(y * y) for y in floats[1:]], F.sum(floats[0] * floats[0])).backward()
        return [getattr(y, "array", y) for y in ys] + [x.grad for x in xs if isinstance(x, Variable)]
    for sample in SAMPLES[name]:
        for got, want in zip(run(sample, on_gpu), run(sample, lambda x: x), strict=True):
            if isinstance(want, np.ndarray):
                assert is_on_gpu(got)
                close(got, want, 2e-4)
            else:
                assert got == want or got is None and want is None


def test_copies_between_devices():
    x = Variable(array(3))
    a = F.copy(x, 0)
    b = F.copy(a * 2, "@cupy:1")
    with hnn.using_device(OTHER):
        c = b * 3
    y = F.copy(c, -1)
    assert is_on_gpu(a) and is_on_gpu(b, OTHER) and type(y.array) is np.ndarray
    assert F.copy(a, GPU).array is not a.array and is_on_gpu(F.copy(a, cupy.cuda.Device(0)))
    with pytest.raises(hnn.errors.BackendError, match="copy: expected a device"):
        F.copy(x, "gpu")


def test_gradients_come_back_over_copies():
    x = Variable(array(3))
    F.sum(F.copy(F.copy(x, 0) * 2, -1) ** 2).backward()
    close(x.grad, 8 * x.array)
    assert type(x.grad) is np.ndarray


def test_ints_of_numpy_choose_on_devices():
    x = hnn.Variable(cupy.asarray(np.arange(12, dtype="f").reshape(3, 4)))
    y = F.sum(x[np.int64(1)] * 2) + x[0, np.int32(3)] + F.sum(x[:, np.int64(2)])
    y.backward()
    assert float(y.array) == 22 * 2 + 3 + 18
    np.testing.assert_array_equal(cupy.asnumpy(x.grad), [[0, 0, 1, 1], [2, 2, 3, 2], [0, 0, 1, 0]])


def test_mixed_operands_are_refused_with_their_specs():
    with pytest.raises(InvalidType, match="add: expected operands that fit together"):
        Variable(on_gpu(array(2))) + array(2)


LINKS = [n for n in link_cases.cases(hnn, L, initializers) if n not in link_cases.INITIALIZED]


@pytest.mark.parametrize("name", LINKS)
@pytest.mark.usefixtures("current")
def test_a_link(name, monkeypatch):
    """Made on the CPU, moved, called; outputs, parameters, gradients and the next random number are as on the CPU."""
    def run(device):
        sent.append(CPU)
        np.random.seed(7)
        link = make()
        sent.append(device)
        link.to_device(device)
        outputs = link_cases.leaves(call(link))
        found = {f"y{i}": y for i, y in enumerate(outputs)}
        losses = [(i + 1) * F.sum(y * y * y) for i, y in enumerate(outputs) if getattr(y, "requires_grad", False)]
        link.cleargrads()
        if losses:
            sum(losses[1:], losses[0]).backward()
        for path, p in link.namedparams():
            found |= {path: p.array, f"gradient of {path}": p.grad}
        return found, np.random.random()
    sent, floats, ints = [CPU], link_cases.floats, link_cases.ints
    monkeypatch.setattr(link_cases, "floats", lambda *shape: sent[-1].send(floats(*shape)))
    monkeypatch.setattr(link_cases, "ints", lambda *values: sent[-1].send(ints(*values)))
    make, call = link_cases.cases(hnn, L, initializers)[name]
    (got, number), (want, same) = run(GPU), run(CPU)
    assert number == same and got.keys() == want.keys()
    for key, w in want.items():
        assert (got[key] is None) == (w is None)
        if isinstance(getattr(w, "array", w), np.ndarray):
            assert is_on_gpu(got[key]), key
            close(got[key], on_host(w))


DISTRIBUTIONS = {
    "Bernoulli": (.3,), "Beta": (.5, 1.5), "Categorical": ([.2, .3, .5],), "Cauchy": (0., 1.), "Chisquare": (3.,), "Dirichlet": ([.5, 1.5],),
    "Exponential": (2.,), "Gamma": (2., 1.), "Geometric": (.3,), "Gumbel": (0., 1.), "Laplace": (0., 1.), "LogNormal": (0., 1.), "Normal": (0., 1.),
    "OneHotCategorical": ([.2, .3, .5],), "Pareto": (1., 2.), "Poisson": (2.,), "MultivariateNormal": ([0., 1.], [[1., 0.], [.5, 2.]]), "Uniform": (0., 1.),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_draws_the_same_numbers(name):
    def draw(send):
        np.random.seed(3)
        given = [send(np.array(p, "f4")) for p in DISTRIBUTIONS[name]]
        names = {"Uniform": ("low", "high"), "MultivariateNormal": ("loc", "scale_tril")}.get(name, ())
        d = getattr(distributions, name)(*given[len(names):], **dict(zip(names, given)))
        x = d.sample(4)
        return x, d.log_prob(x)
    for got, want in zip(draw(on_gpu), draw(lambda x: x), strict=True):
        assert is_on_gpu(got)
        close(got, want.array)


# --------------------------------------------------------------------------------------------------------------- models on devices

def network():
    np.random.seed(2)
    return hnn.Sequential(L.Linear(4, 5), L.BatchNormalization(5), F.relu, L.Linear(5, 3))


def training_data(n=12):
    r = np.random.RandomState(4)
    return [(x, t) for x, t in zip(r.randn(n, 4).astype("f4"), r.randint(0, 3, n).astype("i4"), strict=True)]


def losses_of(net, optimizer, device, steps=4):
    optimizer.setup(net)
    x, t = concat_examples(training_data(), device)
    found = []
    for _ in range(steps):
        loss = F.softmax_cross_entropy(net(x), t)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        found.append(float(loss.array))
    return found


OPTIMIZERS = [n for n in optimizers.__all__ if n not in ("Schedule", "ExponentialMovingAverage", "GradientAccumulation")]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_as_on_the_cpu(name):
    def train(device):
        net = network()
        net.to_device(device)
        return losses_of(net, getattr(optimizers, name)(), device), net
    (got, net), (want, _) = train(GPU), train(CPU)
    np.testing.assert_allclose(got, want, 1e-5)
    assert all(is_on_gpu(a) for p in net.params() for a in (p, p.grad, *p.update_rule.state.values()) if hasattr(a, "shape"))


def test_hooks_of_optimizers_work_on_devices():
    def train(device):
        net, optimizer = network(), optimizers.MomentumSGD(.1)
        net.to_device(device)
        optimizer.setup(net)
        for hook in (optimizer_hooks.WeightDecay(.1), optimizer_hooks.Lasso(.01), optimizer_hooks.GradientClipping(.5),
                     optimizer_hooks.GradientHardClipping(-.1, .1), optimizer_hooks.GradientNoise(.1), optimizer_hooks.GradientLARS()):
            optimizer.add_hook(hook)
        np.random.seed(5)
        return losses_of(net, optimizer, device)
    np.testing.assert_allclose(train(GPU), train(CPU), 1e-5)


def test_a_step_moves_nothing_over_the_bus(transfers):
    net, optimizer = network(), optimizers.Adam()
    net.to_device(GPU)
    optimizer.setup(net)
    x, t = concat_examples(training_data(), GPU)
    net.cleargrads()
    F.mean(net(x) ** 2).backward()
    optimizer.update()
    transfers()
    net.cleargrads()
    F.mean(net(x) ** 2).backward()
    optimizer.update()
    assert transfers() == (0, 0)


def test_a_model_moves_with_all_that_it_holds():
    net = network()
    x = array(6, 4)
    want = net(x).array
    F.sum(net(x)).backward()
    statistics = net[1].avg_mean
    assert net.to_device(OTHER) is net and net.device == OTHER and net.xp is cupy
    assert all(is_on_gpu(p, OTHER) and is_on_gpu(p.grad, OTHER) for p in net.params()) and is_on_gpu(net[1].avg_mean, OTHER)
    with hnn.using_device(OTHER):
        close(net(OTHER.send(x)), want)
    with pytest.warns(DeprecationWarning, match="to_device"):
        net.to_gpu(0)
    assert all(is_on_gpu(p) for p in net.params())
    with pytest.warns(DeprecationWarning, match="to_device"):
        net.to_cpu()
    assert all(type(p.array) is np.ndarray and type(p.grad) is np.ndarray for p in net.params()) and type(net[1].avg_mean) is np.ndarray
    assert statistics.shape == net[1].avg_mean.shape


def test_what_belongs_to_another_device_is_computed_there():
    """Without a block of ``using_device``: forward, backward, updates and copies go where the arrays are, and the current device stays what it is."""
    def train(device):
        net, optimizer = hnn.Sequential(L.Linear(None, 5), L.BatchNormalization(5), L.LSTM(5, 4), L.Linear(4, 3)), optimizers.Adam()
        net.to_device(device)
        optimizer.setup(net)
        optimizer.add_hook(optimizer_hooks.GradientNoise(.1))
        x, t = concat_examples(training_data(), device)
        found = []
        for _ in range(3):
            net[2].reset_state()
            loss = F.softmax_cross_entropy(F.dropout(net(x)), t)
            net.cleargrads()
            loss.backward()
            gradient, = hnn.grad([F.sum(F.tanh(net[0].W) ** 2)], [net[0].W], enable_double_backprop=True)
            F.sum(gradient ** 2).backward()
            optimizer.update()
            found.append(float(loss.array))
        return found, copy.deepcopy(net)
    np.random.seed(1)
    got, net = train(OTHER)
    np.random.seed(1)
    np.testing.assert_allclose(got, train(CPU)[0], 1e-4)
    assert all(is_on_gpu(p, OTHER) and is_on_gpu(p.grad, OTHER) for p in net.params()) and cupy.cuda.Device() == GPU.device


def test_parameters_that_are_still_to_be_made_are_made_on_the_device():
    net = hnn.Sequential(L.Linear(None, 3), L.BatchNormalization(3))
    net.to_device(OTHER)
    with hnn.using_device(OTHER):
        assert is_on_gpu(net(OTHER.send(array(2, 5))), OTHER)
    assert all(is_on_gpu(p, OTHER) for p in net.params())
    variable = hnn.Parameter(initializers.One())
    variable.to_gpu(1)
    variable.initialize((2,))
    assert is_on_gpu(variable, OTHER)


def test_states_follow_a_model_that_moves():
    net, optimizer = network(), optimizers.Adam()
    want = losses_of(network(), optimizers.Adam(), CPU, 6)
    got = losses_of(net, optimizer, CPU, 2)
    for device in (GPU, OTHER):
        net.to_device(device)
        x, t = concat_examples(training_data(), device)
        with hnn.using_device(device):
            for _ in range(2):
                loss = F.softmax_cross_entropy(net(x), t)
                net.cleargrads()
                loss.backward()
                optimizer.update()
                got.append(float(loss.array))
    np.testing.assert_allclose(got, want, 1e-5)


def test_copies_of_models():
    net = network()
    net.to_device(GPU)
    net(on_gpu(array(2, 4)))
    for mode in ("share", "copy", "init"):
        other = net.copy(mode)
        assert other.device == GPU and all(is_on_gpu(p) for p in other.params())
        assert (other[0].W.array is net[0].W.array) == (mode == "share")
    deep = copy.deepcopy(net)
    assert deep.device == GPU and deep[0].W.array is not net[0].W.array
    close(deep[0].W, on_host(net[0].W))
    loaded = pickle.loads(pickle.dumps(net))
    close(loaded[0].W, on_host(net[0].W))


def test_parameters_and_gradients_between_devices():
    here, there, on_cpu = network(), network(), network()
    here.to_device(GPU)
    there.to_device(OTHER)
    for net, device in ((here, GPU), (there, OTHER), (on_cpu, CPU)):
        with hnn.using_device(device):
            F.sum(net(device.send(np.ones((2, 4), "f4")))).backward()
    on_cpu[0].W.array[...] = 7
    with hnn.using_device(GPU):
        here.copyparams(on_cpu)
        assert is_on_gpu(here[0].W) and (on_host(here[0].W) == 7).all()
        before = on_host(here[0].W.grad)
        here.addgrads(there)
        here.addgrads(on_cpu)
    close(here[0].W.grad, 3 * before)
    there[0].W.grad = None
    with hnn.using_device(OTHER):
        there.addgrads(on_cpu)
        assert is_on_gpu(there[0].W.grad, OTHER)


def test_variables_move_and_copy():
    v = Variable(array(3))
    v.grad = array(3)
    v.to_gpu(1)
    assert is_on_gpu(v, OTHER) and is_on_gpu(v.grad, OTHER) and v.device == OTHER and v.xp is cupy
    v.to_device(GPU)
    assert is_on_gpu(v) and "variable" in repr(v)
    w = Variable(array(3))
    w.copydata(v)
    close(v, w.array)
    v.copydata(Variable(np.ones(3, "f4")))
    assert is_on_gpu(v) and (on_host(v) == 1).all()
    v.cleargrad()
    v.to_cpu()
    assert type(v.array) is np.ndarray and v.grad is None


# -------------------------------------------------------------------------------------------------------------- files and batches

FORMATS = {"npz": (serializers.save_npz, serializers.load_npz), "hdf5": (serializers.save_hdf5, serializers.load_hdf5)}


@pytest.mark.parametrize("kind", FORMATS)
def test_models_and_optimizers_are_saved_and_loaded(kind, tmp_path):
    save, load = FORMATS[kind]
    net, optimizer = network(), optimizers.Adam()
    net.to_device(GPU)
    losses_of(net, optimizer, GPU, 2)
    save(tmp_path / "net", net)
    save(tmp_path / "optimizer", optimizer)
    for device in (GPU, CPU, OTHER):
        other, rule = network(), optimizers.Adam()
        other.to_device(device)
        with hnn.using_device(device):
            other(device.send(array(2, 4)))
            rule.setup(other)
            load(tmp_path / "net", other)
            load(tmp_path / "optimizer", rule)
            close(other[0].W, on_host(net[0].W), 0)
            close(other[1].avg_mean, on_host(net[1].avg_mean), 0)
            assert is_on_gpu(other[0].W, device) or device == CPU
            assert losses_of_next_step(other, rule, device) == pytest.approx(losses_of_next_step(copy.deepcopy(net), None, GPU), 1e-5)


def losses_of_next_step(net, optimizer, device):
    x, t = concat_examples(training_data(), device)
    loss = F.softmax_cross_entropy(net(x), t)
    if optimizer is not None:
        net.cleargrads()
        loss.backward()
        optimizer.update()
        assert all(type(a) is type(p.array) for p in net.params() for a in p.update_rule.state.values() if hasattr(a, "shape"))
    return float(loss.array)


def test_batches(transfers):
    rows = [array(3) for _ in range(4)]
    assert is_on_gpu(concat_examples(rows, 0)) and transfers() == (1, 0)
    assert type(concat_examples(rows, -1)) is np.ndarray
    x, t = concat_examples(training_data(), OTHER)
    assert is_on_gpu(x, OTHER) and is_on_gpu(t, OTHER) and transfers() == (2, 0)
    assert is_on_gpu(concat_examples([{"k": rows[0]}], GPU)["k"])
    assert is_on_gpu(concat_examples([np.ones(2, "f4"), np.ones(3, "f4")], 0, padding=-1)) and is_on_gpu(to_device(0, rows[0]))
    transfers()
    stacked = concat_examples([on_gpu(r) for r in rows], 0)
    assert is_on_gpu(stacked) and transfers() == (4, 0)
    close(stacked, np.stack(rows))
    close(concat_examples([on_gpu(np.ones(2)), on_gpu(np.ones(3))], None, padding=-1), [[1, 1, -1], [1, 1, 1]])
    close(concat_examples([on_gpu(r) for r in rows], -1), np.stack(rows))


def test_batches_over_pinned_memory(transfers):
    send = ConcatWithAsyncTransfer()
    x, t = send(training_data(), 1)
    assert is_on_gpu(x, OTHER) and is_on_gpu(t, OTHER) and transfers() == (2, 0)
    want, labels = concat_examples(training_data())
    close(x, want, 0)
    close(t, labels, 0)
    stream = cupy.cuda.Stream()
    assert is_on_gpu(ConcatWithAsyncTransfer(compute_stream=stream)([{"k": array(3)}], GPU)["k"]) and len(stream.waited) == 1
    assert type(send([array(2)], -1)) is np.ndarray and is_on_gpu(send([np.ones((0, 2), "f4")], 0))
    assert is_on_gpu(send([np.asarray(np.ones((3, 2), "f4").T)], 0)) and is_on_gpu(send([np.float32(1), np.float32(2)], 0))
    assert is_on_gpu(send([on_gpu(array(3)) for _ in range(2)], 0))


def test_converters_get_devices():
    seen = []

    def plain(batch, device):
        seen.append(device)
        return concat_examples(batch, device)

    @converter()
    def new(batch, device):
        seen.append(device)
        return concat_examples(batch, device)
    for convert in (plain, new):
        net, optimizer = network(), optimizers.SGD()
        net.to_device(OTHER)
        optimizer.setup(net)
        updater = training.updaters.StandardUpdater(iterators.SerialIterator(training_data(), 4), optimizer, convert, device=1,
                                                    loss_func=lambda x, t, net=net: F.softmax_cross_entropy(net(x), t))
        with hnn.using_device(OTHER):
            updater.update()
    assert seen == [1, OTHER]


# ------------------------------------------------------------------------------------------------------------------------ training

def trained(device, tmp_path, updater_of):
    np.random.seed(9)
    model = L.Classifier(network())
    optimizer = optimizers.Adam().setup(model)
    iterator = iterators.SerialIterator(training_data(), 4, shuffle=False)
    trainer = training.Trainer(updater_of(iterator, optimizer, device), (3, "epoch"), out=str(tmp_path))
    test = iterators.SerialIterator(training_data(), 4, repeat=False, shuffle=False)
    trainer.extend(training.extensions.Evaluator(test, model, device=device))
    trainer.extend(training.extensions.LogReport())
    trainer.extend(training.extensions.FailOnNonNumber())
    trainer.extend(training.extensions.snapshot(), trigger=(1, "epoch"))
    trainer.extend(training.extensions.ParameterStatistics(model, {"mean": lambda x: x.mean()}))
    with hnn.using_device(device):
        trainer.run()
    return model, trainer.get_extension("LogReport").log, trainer


def standard(iterator, optimizer, device):
    return training.updaters.StandardUpdater(iterator, optimizer, device=device)


@pytest.mark.parametrize("device", [GPU, OTHER])
def test_trainers(device, tmp_path):
    model, log, trainer = trained(device, tmp_path / "gpu", standard)
    _, want, _ = trained(CPU, tmp_path / "cpu", standard)
    assert model.device == device and all(is_on_gpu(p, device) for p in model.params())
    for key in ("main/loss", "main/accuracy", "validation/main/loss", "validation/main/accuracy"):
        np.testing.assert_allclose([float(on_host(row[key])) for row in log], [row[key] for row in want], 1e-5)
    before = on_host(model.predictor[0].W)
    with hnn.using_device(device):
        model.predictor[0].W.array[...] = 0
        serializers.load_npz(tmp_path / "gpu" / f"snapshot_iter_{trainer.updater.iteration}", trainer)
    close(model.predictor[0].W, before, 0)


def test_parallel_training(tmp_path):
    def parallel(iterator, optimizer, device):
        return training.updaters.ParallelUpdater(iterator, optimizer, devices={"main": 0, "second": 1})
    model, log, trainer = trained(GPU, tmp_path, parallel)
    assert all(is_on_gpu(p) for p in model.params()) and np.isfinite([float(on_host(row["main/loss"])) for row in log]).all()
    first, second = trainer.updater._models["main"], trainer.updater._models["second"]
    assert all(is_on_gpu(p, OTHER) for p in second.params())
    for p, q in zip(first.params(), second.params(), strict=True):
        close(p, on_host(q), 0)


# ----------------------------------------------------------------------------------------------------------------------- traced

def test_traced_functions_run_eagerly_on_devices_and_fast_beside():
    @hnn.trace
    def f(x):
        return F.sum(F.tanh(x) * 2 + 1)
    x = array(3, 4)
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(8):
            got, want = f(Variable(on_gpu(x))), f(Variable(x))
            assert is_on_gpu(got) and type(want.array) is np.ndarray
            close(got, want.array, 1e-6)
        hits = f.stats.hits
        for _ in range(8):
            f(Variable(x))
    assert f.stats.hits == hits + 8
    assert "an array on a GPU" in str(f.explain())


def test_a_traced_training_step_follows_the_model():
    def train(device):
        net, optimizer = network(), optimizers.Adam()
        net.to_device(device)
        optimizer.setup(net)
        x, t = concat_examples(training_data(), device)

        @hnn.trace
        def step(x, t):
            loss = F.softmax_cross_entropy(net(x), t)
            net.cleargrads()
            loss.backward()
            optimizer.update()
            return loss
        with hnn.using_config("trace_compile", "sync"):
            return [float(step(x, t).array) for _ in range(8)]
    np.testing.assert_allclose(train(GPU), train(CPU), 1e-5)


@pytest.mark.parametrize("mode", ["auto", "verify", "pure"])
def test_traced_functions_see_that_a_model_has_moved(mode):
    """Also where Python is skipped, and where the model is no argument."""
    net = network()
    optimizer, data = optimizers.Adam().setup(net), {"x": array(4, 4)}

    @hnn.trace(mode=mode)
    def step():
        loss = F.mean(net(data["x"]) ** 2) + net[0].W[0, 0] * 0
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss

    @hnn.trace(mode=mode)
    def call(x):
        return F.sum(net(x))
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(10):
            step()
            call(data["x"])
        assert (call.stats.python_skipped > 0) == (mode != "verify")
        for device in (GPU, CPU, OTHER, CPU):
            net.to_device(device)
            data["x"] = device.send(data["x"])
            for _ in range(3):
                assert step().device == call(data["x"]).device == net[0].W.device == device


@pytest.mark.usefixtures("current")
def test_gradient_checks_run_on_devices():
    x, g = on_gpu(np.random.normal(size=(2, 3))), on_gpu(np.random.normal(size=(2, 3)))
    gx, = hnn.gradient_check.numerical_grad(lambda: (np.tanh(x),), (x,), (g,))
    assert is_on_gpu(gx)
    close(gx, on_host(g) * (1 - np.tanh(on_host(x)) ** 2))
    hnn.gradient_check.check_backward(lambda x: F.tanh(x), x, g, dtype="d")
    hnn.gradient_check.check_double_backward(lambda x: F.tanh(x), x, g, on_gpu(np.random.normal(size=(2, 3))), dtype="d")


# ------------------------------------------------------------------------------------------------------------------- the rest of it

class TestTheProbe:
    def test_what_is_there(self):
        found = jit_cuda.probe()
        assert found.ok or "cannot be imported" in found.reason

    @pytest.mark.parametrize("name, value, reason", [("driverGetVersion", 0, "no NVIDIA driver"), ("getDeviceCount", 0, "no device")])
    def test_what_is_missing(self, monkeypatch, name, value, reason):
        monkeypatch.setattr(cupy.cuda.runtime, name, staticmethod(lambda: value))
        assert not jit_cuda.probe().ok and reason in jit_cuda.probe().reason

    def test_a_driver_that_does_not_answer(self, monkeypatch):
        def fails():
            raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorUnknown")
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", staticmethod(fails))
        assert "does not answer: cudaErrorUnknown" in jit_cuda.probe().reason
        with pytest.raises(hnn.errors.BackendError, match="cudaErrorUnknown"):
            backend.to_gpu(np.ones(1))

    def test_libraries_that_are_not_there(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cupy.cublas", None)
        found = jit_cuda.probe()
        assert not found.ok and "libraries" in found.reason and "hybridnn[cuda]" in found.hint

    def test_no_device(self, monkeypatch):
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", staticmethod(lambda: 0))
        with pytest.raises(hnn.errors.BackendError, match="CUDA_VISIBLE_DEVICES"):
            hnn.get_device("@cupy:0")


@pytest.mark.parametrize("name", link_cases.INITIALIZED)
def test_initializers_fill_device_arrays(name):
    def filled(device):
        np.random.seed(6)
        with hnn.using_device(device):
            a = device.xp.empty(link_cases.INITIALIZED[name], "f4")
            getattr(initializers, name)()(a)
        return a
    got = filled(OTHER)
    assert is_on_gpu(got, OTHER)
    close(got, filled(CPU), 1e-6)
    made = initializers.generate_array(initializers.One(), (2,), cupy, "f4", OTHER)
    assert is_on_gpu(made, OTHER) and made.get().all()


def test_states_of_recurrent_links_move():
    def outputs(devices):
        np.random.seed(8)
        lstm, xs, found = L.LSTM(4, 3), [array(2, 4) for _ in range(3)], []
        for device, x in zip(devices, xs, strict=True):
            lstm.to_device(device)
            found.append(on_host(lstm(device.send(x))))
        return found
    for got, want in zip(outputs([CPU, OTHER, GPU]), outputs([CPU] * 3), strict=True):
        close(got, want, 1e-6)


def test_half_precision_with_master_copies():
    def train(device):
        with hnn.using_config("dtype", np.float16):
            np.random.seed(2)
            net = L.Linear(4, 3)
        net.to_device(device)
        optimizer = optimizers.Adam()
        optimizer.use_fp32_update()
        optimizer.setup(net)
        optimizer.loss_scaling()
        x, t = concat_examples([(x.astype("f2"), t) for x, t in training_data()], device)
        for _ in range(3):
            loss = F.softmax_cross_entropy(net(x), t)
            net.cleargrads()
            loss.backward(loss_scale=8)
            optimizer.update()
        return net.W.array
    assert is_on_gpu(train(OTHER), OTHER)
    close(train(OTHER), train(CPU), 1e-2)


class Doubler(hnn.FunctionNode):
    def forward_cpu(self, xs):
        return xs[0] * 2,

    def forward_gpu(self, xs):
        assert self.xp is cupy and cupy.cuda.Device() == xs[0].device
        return xs[0] + xs[0],

    def backward(self, indexes, gs):
        return gs[0] * 2,


class OldDoubler(hnn.Function):
    def forward_cpu(self, xs):
        return xs[0] * 2,

    def forward_gpu(self, xs):
        return xs[0] + xs[0],

    def backward_cpu(self, xs, gs):
        return gs[0] * 2,

    def backward_gpu(self, xs, gs):
        return gs[0] + gs[0],


@pytest.mark.parametrize("apply_to", [lambda x: Doubler().apply((x,))[0], lambda x: OldDoubler()(x)], ids=["node", "function"])
@pytest.mark.parametrize("device", [GPU, OTHER])
def test_functions_of_users(apply_to, device):
    x = Variable(device.send(array(3)))
    y = apply_to(x)
    y.grad = device.send(np.ones(3, "f4"))
    y.backward()
    assert is_on_gpu(y, device) and is_on_gpu(x.grad, device) and (on_host(x.grad) == 2).all()


def test_hooks_see_device_arrays():
    x = Variable(on_gpu(array(3, 4)))
    timer, seen = hnn.function_hooks.TimerHook(), []

    class Watch(hnn.FunctionHook):
        name = "watch"

        def forward_postprocess(self, function, in_data):
            seen.extend(in_data)
    with timer, Watch(), hnn.using_config("debug", True):
        F.sum(F.tanh(x)).backward()
    assert len(timer.call_history) >= 4 and any(map(is_on_gpu, seen)) and not any(isinstance(a, np.ndarray) for a in seen)


@testing.inject_backend_tests(None, [{}, {"use_cuda": True}, {"use_cuda": True, "cuda_device": 1}])
class TestFunctionCases(testing.FunctionTestCase):
    def generate_inputs(self):
        return array(3, 4), array(4)

    def forward(self, inputs, device):
        assert self.backend_config.device == device
        return F.tanh(inputs[0] * inputs[1]),

    def forward_expected(self, inputs):
        return np.tanh(inputs[0] * inputs[1]),


@testing.inject_backend_tests(None, [{}, {"use_cuda": True}, {"use_cuda": True, "cuda_device": 1}])
class TestLinkCases(testing.LinkTestCase):
    param_names = ("W", "b")

    def generate_params(self):
        return array(3, 4), array(3)

    def create_link(self, initializers):
        W, b = initializers
        return L.Linear(4, 3, initialW=W, initial_bias=b)

    def generate_inputs(self):
        return array(2, 4),

    def forward_expected(self, link, inputs):
        return inputs[0] @ link.W.array.T + link.b.array,
