"""What users of Chainer v7 find here: the same names, with the same parameters in the same order and the same defaults.

``chainer_signatures.json`` holds the facts: for each namespace and public name the pairs of parameter and default, read off
Chainer 7.8.1 by ``inspect``. A default of ``"..."`` is an object; it is not compared. ``chainer_methods.json`` says the same of the methods
that a class has of its own, with null for a property.
"""
import functools
import importlib
import inspect
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F

FACTS, METHODS = (json.loads((Path(__file__).parent / f"chainer_{kind}.json").read_text(encoding="utf-8")) for kind in ("signatures", "methods"))

# What is not taken over (see the README): other back ends, importers, and what was deprecated in Chainer itself.
ABSENT = {
    "functions": set(),
    "links": set(),
    "function_hooks": set(),
    "datasets": set(),
    "": {"Fallback", "array"},
}

# Parameters that are called otherwise, or are another number of them, on purpose.
OTHER_NAMES = {
    ("functions", "fliplr"), ("functions", "flipud"), ("functions", "absolute"),
    ("links", "MLPConvolution2D"),
    ("training.updaters", "MultiprocessParallelUpdater"),
}

ABSENT_CLASSES = {"dataset.convert.Conveyor", "function_hooks.CUDAProfileHook", "function_hooks.CupyMemoryProfileHook", "links.TheanoFunction",
                  "training.updaters.MultiprocessParallelUpdater", "utils.type_check.Testable"}

# Memory layouts and devices that are not taken over; what was deprecated in Chainer itself; what Chainer's classes do for themselves.
OTHER_METHODS = {
    ("backend.ChainerxDevice", "fallback_device"), ("backend.ChainerxDevice", "from_fallback_device"), ("backend.ChainerxDevice", "send_array"),
    ("backend.Intel64Device", "send_array"), ("iterators.DaliIterator", "batch_size"),
    ("link_hooks.SpectralNormalization", "normalize_weight"), ("link_hooks.SpectralNormalization", "reshape_W"),
    ("links.Bilinear", "zero_grads"), ("links.Parameter", "forward"),
    ("training.extensions.VariableStatisticsPlot", "save_plot_using_module"),
    ("training.extensions.unchain_variables", "initialize"), ("training.extensions.unchain_variables", "trigger"),
    ("utils.WalkerAlias", "sample_gpu"), ("utils.WalkerAlias", "sample_xp"),
}
MISSING = object()

# Defaults that differ: pretrained weights are not downloaded; standard output is looked up at the call; ksize may be left out.
# The default names of files stand in the signature.
OTHER_DEFAULTS = {"pretrained_model", "filename", "n_folds", "file", "out", "ksize", "init", "xp"}


def names_of(space):
    return sorted(set(FACTS[space]) - ABSENT.get(space, set()))


@functools.cache
def namespace(space):
    return importlib.import_module(f"hybridnn.{space}" if space else "hybridnn")


CASES = [(space, name) for space in FACTS for name in names_of(space)]


@pytest.mark.parametrize("space", FACTS)
def test_every_name_exists(space):
    assert [n for n in names_of(space) if not hasattr(namespace(space), n)] == []


@pytest.mark.parametrize("space", ABSENT)
def test_the_list_of_what_is_absent_is_up_to_date(space):
    assert [n for n in sorted(ABSENT[space]) if hasattr(namespace(space), n)] == []


def text_of(default):
    if default is inspect.Parameter.empty:
        return "required"
    return repr(default) if isinstance(default, (int, float, str, bool, type(None), tuple)) else "..."


@pytest.mark.parametrize(("space", "name"), [c for c in CASES if c not in OTHER_NAMES and FACTS[c[0]][c[1]] is not None])
def test_parameters_and_defaults(space, name):
    found = list(inspect.signature(getattr(namespace(space), name)).parameters.values())
    plain = [p for p in found if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    expected = FACTS[space][name]
    assert [p.name for p in plain][:len(expected)] == [parameter for parameter, _ in expected]
    for p, (parameter, default) in zip(plain, expected, strict=False):
        seen = text_of(p.default)
        if "..." not in (seen, default) and parameter not in OTHER_DEFAULTS:
            assert (parameter, seen) == (parameter, default)
    assert all(p.default is not p.empty for p in plain[len(expected):]), "more parameters than Chainer's, without defaults"


@pytest.mark.parametrize("place", [place for place in METHODS if place not in ABSENT_CLASSES])
def test_methods(place):
    space, _, name = place.rpartition(".")
    cls, wrong = getattr(namespace(space), name), []
    for method, expected in METHODS[place].items():
        if (place, method) in OTHER_METHODS:
            continue
        if inspect.getattr_static(cls, method, MISSING) is MISSING:
            wrong.append(f"no {method}")
        if expected is None or wrong:
            continue
        plain = [p for p in inspect.signature(getattr(cls, method)).parameters.values()
                 if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != "self"]
        if [p.name for p in plain][:len(expected)] != [p for p, _ in expected]:
            wrong.append(f"{method}({', '.join(p.name for p in plain)}), not ({', '.join(p for p, _ in expected)})")
        wrong += [f"{method}: {p.name}={text_of(p.default)}, not {default}" for p, (_, default) in zip(plain, expected, strict=False)
                  if "..." not in (text_of(p.default), default) and text_of(p.default) != default]
        wrong += [f"{method} needs {p.name}" for p in plain[len(expected):] if p.default is p.empty]
    assert not wrong


@pytest.mark.parametrize("path", [
    "backends.cuda", "backends.intel64", "backend", "cuda", "configuration", "variable", "function", "function_node",
    "types", "computational_graph", "gradient_check", "reporter", "sequential", "link", "link_hook", "optimizer",
    "serializer", "initializer", "function_hook", "testing.attr", "testing.backend", "testing.condition", "testing.array",
    "utils.type_check", "utils.conv", "utils.conv_nd", "utils.argument", "utils.walker_alias", "dataset.convert",
    "dataset.download", "training.util", "training.updater", "training.extension", "training.extensions.snapshot_writers",
    "training.triggers", "training.updaters", "datasets", "iterators", "optimizers.adam",
    "training.trigger", "training.extensions.util", "training.extensions.computational_graph",
    "training.extensions.plot_report", "training.extensions.variable_statistics_plot",
    "training.updaters.multiprocess_parallel_updater", "datasets.tuple_dataset", "datasets.image_dataset", "datasets.text_dataset",
    "datasets.mnist", "datasets.cifar", "datasets.ptb", "dataset.tabular", "distribution", "distributions.normal", "utils.cache",
    "backends._cpu", "_backend"])
def test_module_paths(path):
    assert importlib.import_module(f"hybridnn.{path}").__doc__


@pytest.mark.parametrize(("path", "name"), [
    ("links.connection.linear", "Linear"), ("links.connection.convolution_nd", "Convolution1D"), ("links.activation.prelu", "PReLU"),
    ("links.loss.hierarchical_softmax", "TreeParser"), ("links.rnn.n_step_rnn", "permutate_list"), ("links.rnn", "lstm"),
    ("links.model.vision.resnet", "ResNetLayers"), ("links.model.vision", "vgg"), ("links.normalization.layer_normalization", "LayerNormalization"),
    ("initializers.normal", "HeNormal"), ("initializers.uniform", "Uniform"), ("optimizers.sgd", "SGDRule"),
    ("optimizer_hooks.weight_decay", "WeightDecay"), ("function_hooks.debug_print", "PrintHook"),
    ("training.trigger", "get_trigger"), ("training.triggers.manual_schedule_trigger", "ManualScheduleTrigger"),
    ("training.triggers.minmax_value_trigger", "BestValueTrigger"), ("training.updaters.standard_updater", "StandardUpdater"),
    ("training.updaters.parallel_updater", "ParallelUpdater"), ("training.extensions.log_report", "LogReport"),
    ("training.extensions.print_report", "PrintReport"), ("training.extensions.progress_bar", "ProgressBar"),
    ("training.extensions.value_observation", "observe_value"), ("training.extensions.exponential_shift", "ExponentialShift"),
    ("training.extensions.variable_unchain", "unchain_variables"), ("training.extensions.plot_report", "_available"),
    ("training.extensions.variable_statistics_plot", "_available"), ("iterators.serial_iterator", "SerialIterator"),
    ("iterators.multiprocess_iterator", "MultiprocessIterator"), ("dataset.convert", "_concat_arrays"),
    ("dataset.convert", "_concat_arrays_with_padding")])
def test_what_modules_of_chainer_hold(path, name):
    module = importlib.import_module(f"hybridnn.{path}")
    assert hasattr(module, name)
    assert module is importlib.import_module(f"hybridnn.{path}")
    parent, _, last = path.rpartition(".")
    assert getattr(importlib.import_module(f"hybridnn.{parent}"), last) is module


# ------------------------------------------------------------------------------------------------- without a GPU

def test_devices_send_and_are_no_context_managers():
    device, x = hnn.get_device("@numpy"), np.ones(2, np.float32)
    assert device.send_array(x) is x and device.send((x, [x, None])) == (x, [x, None])
    with pytest.raises(RuntimeError, match="using_device"), device:
        pass
    with hnn.using_device(device) as current:
        assert current is device


needs_no_cuda = pytest.mark.skipif(hnn.cuda.available, reason="is about a machine without CUDA")


@needs_no_cuda
def test_a_link_tells_its_device_number():
    with pytest.warns(DeprecationWarning, match="device"):
        assert hnn.links.Linear(1, 1)._device_id is None


@needs_no_cuda
def test_cuda_is_not_available():
    cuda = hnn.cuda
    x = np.ones(2, np.float32)
    assert cuda.get_array_module(x) is np
    assert cuda.to_cpu(x) is x is cuda.to_cpu(x, stream=None)
    assert int(cuda.DummyDevice) == -1
    assert cuda.get_device_from_array(x) is cuda.DummyDevice is cuda.get_device_from_id(None)
    assert not isinstance(x, cuda.ndarray)
    with cuda.get_device_from_id(-1) as device:
        assert device == cuda.DummyDeviceType()
    for needs in (lambda: cuda.to_gpu(x), cuda.check_cuda_available, lambda: cuda.elementwise("", "", "", "n"), cuda.Stream):
        with pytest.raises(RuntimeError, match="a GPU was asked for, but C"):
            needs()
    assert cuda.fuse()(abs) is abs


@needs_no_cuda
def test_what_modules_decorate_for_cuda_can_be_imported_and_called_without():
    seen = []
    decorated = hnn.cuda.memoize(for_each_device=True)(seen.append)
    decorated(3)
    decorated(3)
    hnn.cuda.clear_memo()
    assert seen == [3, 3] and decorated.__name__ == "append"


def test_cudnn_levels():
    assert hnn.should_use_cudnn(">=auto") is hnn.cuda.cudnn_enabled
    with pytest.raises(ValueError, match="level"):
        hnn.should_use_cudnn("==auto")
    with hnn.using_config("use_cudnn", "on"), pytest.raises(ValueError, match="use_cudnn"):
        hnn.should_use_cudnn(">=auto")


# ------------------------------------------------------------------------------------------------- debug mode

def test_debug_mode_switches():
    assert not hnn.is_debug()
    with pytest.warns(DeprecationWarning, match="using_config"):
        block = hnn.DebugMode(True)
    with block:
        assert hnn.is_debug()
    hnn.set_debug(True)
    try:
        assert hnn.is_debug()
    finally:
        hnn.set_debug(False)
    assert not hnn.is_debug()


def is_noticed():
    """Whether a NaN raises."""
    try:
        with np.errstate(all="ignore"):
            F.log(np.float32([-1.0]))
    except RuntimeError:
        return True
    return False


def in_a_thread(function):
    """What ``function()`` gives in a thread of its own."""
    found = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_debug_mode_of_all_threads():
    traced = hnn.trace(is_noticed)
    hook = hnn.function_hooks.TimerHook()
    assert not traced()
    hnn.config.debug = False
    del hnn.config.debug        # what a test before this one may have set
    hnn.global_config.debug = True
    try:
        assert hnn.is_debug() and is_noticed() and traced() and in_a_thread(is_noticed)
        with hnn.using_config("debug", False):
            assert not is_noticed() and in_a_thread(is_noticed)
            with hook:
                assert not is_noticed()
            assert not is_noticed()
        with hook:
            assert is_noticed() and len(hook.call_history) == 2
        assert is_noticed() and not in_a_thread(hnn.get_function_hooks)
        hnn.set_debug(False)
        assert not is_noticed()
        del hnn.config.debug
        assert is_noticed()
    finally:
        hnn.global_config.debug = False
    assert not is_noticed() and not traced() and not in_a_thread(is_noticed)
    with hook:
        assert not is_noticed()


@pytest.mark.parametrize(("variables", "found"), [
    ({"HYBRIDNN_DEBUG": "1", "HYBRIDNN_DTYPE": "float64"}, "True float64 False True float64"),
    ({"HYBRIDNN_DTYPE": "mixed16", "HYBRIDNN_KEEP_GRAPH_ON_REPORT": "1"}, "False dtype('mixed16') True True float16"),
    ({"HYBRIDNN_DEBUG": "0", "HYBRIDNN_TYPE_CHECK": "0"}, "False float32 False False float32"),
    ({"HYBRIDNN_DEBUG": "yes"}, "ValueError: the environment variable HYBRIDNN_DEBUG is one of 0, 1, not 'yes'"),
])
def test_defaults_from_the_environment(variables, found):
    code = ("import hybridnn as hnn; from hybridnn import config as c\n"
            "print(c.debug, c.dtype, c.keep_graph_on_report, c.type_check, hnn.Parameter(shape=2).dtype)")
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, timeout=100, check=False)
    assert (run.stdout + run.stderr).splitlines()[-1] == found


def test_debug_mode_finds_nan_forward_and_backward():
    x = hnn.Variable(np.zeros(1, np.float32))
    with np.errstate(all="ignore"):
        assert np.isnan(F.log(x - 1).array)
        with hnn.using_config("debug", True):
            with pytest.raises(RuntimeError, match=r"NaN.*forward.*log"):
                F.log(x - 1)
            y, = Broken().apply((x,))
            with pytest.raises(RuntimeError, match=r"NaN.*backward.*Broken"):
                F.sum(y).backward()


class Broken(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] + 1,

    def backward(self, target_input_indexes, grad_outputs):
        return hnn.Variable(np.float32([np.nan])),


class Careless(hnn.FunctionNode):
    def __init__(self, gradients):
        self.gradients_ = gradients

    def forward(self, inputs):
        return inputs[0] + 1,

    def backward(self, target_input_indexes, grad_outputs):
        return self.gradients_


@pytest.mark.parametrize(("gradients", "what"), [
    ((), "number"), ((None,) * 3, "number"), ((hnn.Variable(np.zeros(2, np.float32)),), "shape"),
    ((np.zeros(1, np.float32),), "type"), ((hnn.Variable(np.zeros(1)),), "dtype")])
def test_debug_mode_checks_what_a_users_backward_returns(gradients, what):
    y, = Careless(gradients).apply((hnn.Variable(np.zeros(1, np.float32)),))
    with hnn.using_config("debug", True), pytest.raises(ValueError, match=f"{what} of gradients returned"):
        F.sum(y).backward()


# ------------------------------------------------------------------------------------------------- Function

class Product(hnn.Function):
    def forward(self, inputs):
        self.retain_inputs((0, 1))
        return inputs[0] * inputs[1], inputs[0] + inputs[1]

    def backward(self, inputs, grad_outputs):
        self.seen = grad_outputs
        return grad_outputs[0] * inputs[1], grad_outputs[0] * inputs[0]


def test_old_style_function():
    f, a, b = Product(), hnn.Variable(np.float32([1, 2])), hnn.Variable(np.float32([3, 5]))
    y, z = f(a, b)
    assert (y.creator, y.creator_node, f.label) == (f, f.node, "Product")
    y.grad = np.float32([1, 10])
    y.backward()
    assert a.grad.tolist() == [3, 50]
    assert b.grad.tolist() == [1, 20]
    assert f.seen[1] is None
    assert z.rank == 1


class Double(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] * 2,

    def backward(self, target_input_indexes, grad_outputs):
        return grad_outputs[0] * 2,


class Log(hnn.FunctionHook):
    def __init__(self):
        self.calls = []

    def forward_preprocess(self, function, in_data):
        self.calls.append("forward")

    def backward_postprocess(self, function, in_data, out_grad):
        self.calls.append(out_grad[0].tolist())


def test_hooks_of_one_function():
    f, hook = Double(), Log()
    f.add_hook(hook)
    with pytest.raises(KeyError, match="already"):
        f.add_hook(hook)
    y, = f.apply((hnn.Variable(np.float32([1, 2])),))
    y.grad = np.float32([3, 4])
    y.backward()
    assert hook.calls == ["forward", [3, 4]]
    f.delete_hook(hook.name)
    assert not f.local_function_hooks


def test_a_function_unchains():
    f, x = Double(), hnn.Variable(np.float32([1, 2]))
    y, = f.apply((x,))
    assert f.outputs[0]() is y.node
    f.unchain()
    assert (y.creator, f.inputs) == (None, None)


def test_an_operation_unchains():
    x = hnn.Variable(np.float32([1, 2]))
    parts = F.split_axis(F.exp(x), 2, 0)
    y = F.sum(parts[0] * 2)
    parts[1].creator.unchain()
    y.backward(retain_grad=True)
    assert [p.creator for p in parts] == [None, None] and [p.rank for p in parts] == [2, 2]
    assert parts[0].grad.tolist() == [2] and x.grad is None


def test_whoever_walks_the_graph_finds_function_nodes_and_variable_nodes():
    x, w = hnn.Variable(np.float32([1, 2]), name="x"), hnn.Variable(np.float32([3, 4]))
    y = F.sum(F.split_axis(Double().apply((x * w + 1,))[0] * 2, 2, 0)[0])
    labels, names, stack = [], set(), [y]
    while stack:
        node = stack.pop()
        assert isinstance(node, (hnn.Variable, hnn.variable.VariableNode)) and node.dtype == np.float32
        if node.creator is None:
            names.add(node.name)
        else:
            assert isinstance(node.creator, hnn.FunctionNode) and not isinstance(node.creator, hnn.Function)
            labels.append(node.creator.label)
            stack += node.creator.inputs
    assert labels == ["Sum", "SplitAxis", "_ * 2", "Double", "_ + _", "_ * _"] and names == {"x", None}
    left, right = (x * w).creator.inputs
    np.testing.assert_array_equal(left.data, x.array)
    assert left.shape == (2,) and right == w.node and left.name == "x"


# ------------------------------------------------------------------------------------------------- Variables and parameters

@pytest.mark.parametrize(("x", "long", "short"), [
    (np.float32([[0, 1], [2, 3]]), "variable q([[0., 1.],\n            [2., 3.]])", "variable q([[0. 1.]\n            [2. 3.]])"),
    (np.array(3.5), "variable q(3.5)", "variable q(3.5)"),
    (np.zeros((0, 3)), "variable q([], shape=(0, 3))", "variable q([])"),
    (None, "variable q(None)", "variable q(None)")])
def test_texts_of_a_variable(x, long, short):
    v = hnn.Variable(x, name="q")
    assert (repr(v), str(v)) == (long, short)


def test_uninitialized_parameters_take_each_others_shape():
    a, b, c = hnn.Parameter(), hnn.Parameter(np.ones(2, np.float32)), hnn.Parameter(0.0)
    a.copydata(hnn.Parameter())
    assert a.array is None
    a.copydata(b)
    assert a.array.tolist() == [1, 1]
    b.copydata(c)
    assert b.array.tolist() == c.array.tolist() == [0, 0]
    d, b.grad = hnn.Parameter(), np.ones(2, np.float32)
    d.cleargrad()
    d.addgrad(b)
    assert d.grad.tolist() == [1, 1]


def test_addgrad_compares_dtypes():
    with pytest.raises(ValueError, match="float64"):
        hnn.Variable(np.ones(2, np.float32)).addgrad(hnn.Variable(np.ones(2)))


def test_names_show_in_the_graph():
    x = hnn.Variable(np.ones(2, np.float32), name="first")
    y = F.exp(x)
    y.name = "last"
    text = hnn.computational_graph.build_computational_graph([y]).dump()
    assert "first: (2), float32" in text
    assert "last: (2), float32" in text


def test_backward_from_several_variables():
    x = hnn.Variable(np.float32([1, 2]))
    y, z = x * 2, F.sum(x)
    hnn.backward([y, z], [hnn.Variable(np.float32([1, 10])), hnn.Variable(np.array(1, np.float32))])
    assert x.grad.tolist() == [3, 21] and y.grad is None


def test_backward_begins_where_there_is_a_gradient():
    x, one = hnn.Variable(np.array(4.)), np.array(1.)
    y, z = x * 2, x * 3
    y.grad = np.array(5.)
    with pytest.warns(RuntimeWarning, match="one without a gradient"):
        hnn.backward([y, z])
    assert x.grad == 10 and y.grad is None and z.grad is None
    y.grad = one
    with pytest.warns(RuntimeWarning, match="one twice"):
        hnn.backward([y, y])
    assert x.grad == 12
    hnn.backward([z, y], [None, hnn.Variable(one)])
    assert x.grad == 14


def test_backward_with_gradients_leaves_those_that_are_there():
    x = hnn.Variable(np.float32([1, 2]))
    x.grad = np.float32([100, 200])
    y, g = x * 2, hnn.Variable(np.float32([1, 10]))
    y.grad = np.float32([7, 8])
    hnn.backward([y, x, y], [g, g, g])
    assert x.grad.tolist() == [105, 250] and y.grad.tolist() == [7, 8]


def test_backward_of_what_is_no_variable():
    y = hnn.Variable(np.array(3.)) * 2
    for outputs, grads in ((y, None), ([np.ones(2)], None), ([y], y)):
        with pytest.raises(TypeError, match="backward"):
            hnn.backward(outputs, grads)
    with pytest.raises(ValueError, match="grad_outputs"):
        hnn.backward([y], [])


def test_backward_from_several_variables_inside_a_traced_function():
    def step(x):
        y, z = x * 2, F.exp(x)
        y.grad = x.array * 0 + 3
        hnn.backward([y])
        hnn.backward([z, y], [x, x])
        return y, z
    traced = hnn.trace(step)
    for k in range(12):
        x, w = hnn.Variable(np.arange(3.) + k), hnn.Variable(np.arange(3.) + k)
        y, z = traced(x)
        expected, _ = step(w)
        np.testing.assert_allclose(x.grad, w.grad, rtol=1e-12)
        assert y.grad is None and z.grad is None and expected.grad is None


def test_runtime_info():
    out = io.StringIO()
    hnn.print_runtime_info(out)
    assert f"hybridnn: {hnn.__version__}\n" in out.getvalue()
    assert np.__version__ in out.getvalue()


def test_experimental_warnings_can_be_silenced(monkeypatch, recwarn):
    monkeypatch.setattr(sys.modules["hybridnn"], "disable_experimental_feature_warning", True)
    hnn.utils.experimental("f")
    assert not recwarn.list
    monkeypatch.undo()
    with pytest.warns(FutureWarning, match="f is experimental"):
        hnn.utils.experimental("f")


def test_folder_of_data_sets(tmp_path):
    dataset, before = hnn.dataset, hnn.dataset.get_dataset_root()
    dataset.set_dataset_root(str(tmp_path / "root"))
    try:
        assert dataset.get_dataset_directory("a", False) == os.path.join(dataset.get_dataset_root(), "a")
        path = str(tmp_path / "made" / "file")
        create, load = (lambda p: Path(p).write_text("7")), (lambda p: Path(p).read_text())
        assert dataset.cache_or_load_file(path, create, load) == 1
        assert dataset.cache_or_load_file(path, create, load) == "7"
        source = tmp_path / "source"
        source.write_text("there")
        fetched = dataset.cached_download(source.as_uri())
        source.unlink()
        assert Path(dataset.cached_download(source.as_uri())).read_text() == Path(fetched).read_text() == "there"
    finally:
        dataset.set_dataset_root(before)
