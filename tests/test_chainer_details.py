"""Details that code written for Chainer v7 depends on: module paths, helpers, kinds of errors."""
import functools
import importlib
import inspect
import pickle
import sys
import warnings

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import Variable, basic_math, gradient_check, testing, utils
from hybridnn.errors import InvalidType
from hybridnn.functions._function_nodes import ACTIVATION_AND_MATH
from hybridnn.functions._paths import PATHS
from hybridnn.optimizer_hooks.noise import exponential_decay_noise
from hybridnn.utils import meta, precision, type_check

# ----------------------------------------------------------------------------------------------------------------------- paths


@pytest.mark.parametrize(("area", "module"), [(area, module) for area, modules in PATHS.items() for module in modules])
def test_a_path_leads_to_the_functions(area, module):
    found = importlib.import_module(f"hybridnn.functions.{area}.{module}")
    held = getattr(getattr(F, area), module)
    for name in PATHS[area][module].split():
        assert getattr(found, name) is getattr(held, name) is getattr(F, name)


def test_paths_in_every_form():
    from hybridnn.functions.math.exponential import log2

    from hybridnn.functions.loss import softmax_cross_entropy as loss
    from hybridnn.functions.math import exponential
    assert loss.softmax_cross_entropy is loss is F.softmax_cross_entropy
    assert exponential.log2 is log2 is F.log2


def test_a_function_still_traces_and_pickles():
    f = hnn.trace(lambda x: F.sum(F.math.exponential.exp(x)))
    x = np.ones(3, "f")
    assert [float(f(x).array) for _ in range(8)] == pytest.approx([float(np.exp(x).sum())] * 8)
    assert pickle.loads(pickle.dumps(F.relu)) is F.relu


def test_iterators_of_ones_own_step_as_ours():
    from hybridnn.iterators._statemachine import IteratorState, iterator_statemachine
    state = IteratorState(current_position=0, epoch=0, is_new_epoch=False, order=None)
    state, indices = iterator_statemachine(state, 4, True, None, 3)
    assert state == (1, 1, True, None) and indices.tolist() == [0, 1, 2, 0]
    state = IteratorState(2, 0, False, np.array([2, 0, 1]))
    state, indices = iterator_statemachine(state, batch_size=2, repeat=False, order_sampler=lambda order, position: order, dataset_len=3)
    assert state[:3] == (0, 1, True) and indices.tolist() == [1]
    assert iterator_statemachine(state, 2, False, None, 3) == (state, None)


def test_a_loop_of_ones_own_converts_as_an_updater():
    from hybridnn.dataset.convert import _call_converter
    seen = []
    for function in (lambda batch, device: seen.append(device), hnn.dataset.converter()(lambda batch, device: seen.append(device))):
        _call_converter(function, [1], hnn.get_device("@numpy"))
    assert seen == [-1, hnn.get_device("@numpy")]
    with pytest.raises(TypeError, match="decorates a function"):
        hnn.dataset.converter()(3)


def test_function_hooks_where_chainer_began_with_them():
    assert hnn.function.FunctionHook is hnn.FunctionHook


@pytest.mark.parametrize("name", ["native", "native:0", "cuda:0", "zz"])
def test_devices_of_chainerx_are_not_there(name):
    """All names that do not begin with "@" are taken for such devices'."""
    with pytest.raises(RuntimeError, match="ChainerX, whose devices have such names, is not part"):
        hnn.get_device(name)


@pytest.mark.parametrize(("name", "error"), [("@zz", ValueError), ("@numpy:1", ValueError), ("@intel64", RuntimeError), (2.5, TypeError)])
def test_what_is_no_device(name, error):
    with pytest.raises(error):
        hnn.get_device(name)


def test_functions_as_objects():
    x = np.arange(48.0).reshape(1, 1, 6, 8)
    for f, function in ((F.pooling.max_pooling_2d.MaxPooling2D(2), F.max_pooling_2d),
                        (F.pooling.average_pooling_2d.AveragePooling2D(2, 1), F.average_pooling_nd),
                        (F.pooling.max_pooling_nd.MaxPoolingND(2, 2), F.max_pooling_nd),
                        (F.pooling.average_pooling_nd.AveragePoolingND(2, 2, pad=1, pad_value=None), F.average_pooling_nd)):
        v = Variable(x)
        expected, (y,) = function(v, *f.args), f.apply((x,))
        np.testing.assert_array_equal(y.array, expected.array)
        F.sum(expected).backward()
        for _ in range(2):
            np.testing.assert_array_equal(f.backward((0,), (np.ones(y.shape),))[0].array, v.grad)
    with pytest.raises(InvalidType):
        F.pooling.average_pooling_2d.AveragePooling2D(2, cover_all=True)


def test_a_pooling_object_says_what_undoes_it():
    x = np.random.permutation(2 * 3 * 5 * 7).reshape(2, 3, 5, 7).astype("f")
    for pool in (F.pooling.max_pooling_nd.MaxPoolingND(2, 2, (2, 3)), F.pooling.max_pooling_2d.MaxPooling2D(2, (2, 3))):
        y, = pool.apply((x,))
        np.testing.assert_array_equal(pool.indexes, F.max_pooling_2d(x, 2, (2, 3), return_indices=True)[1])
        assert (pool.ndim, pool.ksize, pool.stride, pool.pad, pool.cover_all) == (2, (2, 2), (2, 3), (0, 0), True)
        up = F.upsampling_2d(y, pool.indexes, pool.ksize, pool.stride, pool.pad, x.shape[2:], pool.cover_all).array
        np.testing.assert_array_equal(up[up != 0], x[up != 0])
    assert F.pooling.average_pooling_nd.AveragePoolingND(3, 2).stride == (2, 2, 2)


def test_an_object_tells_what_zoneout_took_from_where():
    zoneout, h, x = F.noise.zoneout.Zoneout(.5), np.zeros((8, 8), "f"), np.ones((8, 8), "f")
    first, second = (zoneout.apply((h, x))[0].array for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(second, zoneout.flag_x)
    np.testing.assert_array_equal(zoneout.flag_x, ~zoneout.flag_h)
    np.testing.assert_array_equal(zoneout.backward((0,), (x,))[0].array, zoneout.flag_h)


@pytest.mark.parametrize("axis", [None, (0, 2, 3), 0])
def test_an_object_moves_running_statistics_and_tells_the_batchs(axis):
    x = np.random.normal(3, 2, (5, 4, 3, 2) if axis != 0 else (5, 4)).astype("f")
    gamma, beta, around = np.full(4, 2, "f"), np.ones(4, "f"), tuple(i for i in range(x.ndim) if i != 1)
    moved, expected = ([np.zeros(4, "f"), np.ones(4, "f")] for _ in range(2))
    f = F.normalization.batch_normalization.BatchNormalization(1e-3, *moved, .5, axis)
    y, = f.apply((x, gamma, beta))
    np.testing.assert_array_equal(y.array, F.batch_normalization(x, gamma, beta, 1e-3, *expected, .5, axis).array)
    np.testing.assert_array_equal((f.running_mean, f.running_var), expected)
    assert f.axis == around
    np.testing.assert_allclose(f.mean, x.mean(around), rtol=1e-5)
    np.testing.assert_allclose(f.inv_std, 1 / np.sqrt(x.var(around) + 1e-3), rtol=1e-5)


def test_an_object_keeps_its_mask():
    drop, x = F.noise.dropout.Dropout(.5), np.ones((8, 8), "f")
    ys = [drop.apply((x,))[0].array for _ in range(2)]
    np.testing.assert_array_equal(*ys)
    np.testing.assert_array_equal(ys[0], drop.mask)


@pytest.mark.parametrize(("make", "kept", "shapes"), [
    (lambda: F.noise.gaussian.Gaussian(), "eps", [(3, 2), (3, 2)]), (lambda: F.activation.rrelu.RReLU(.1, .9), "r", [(3, 2)]),
    (lambda: F.noise.simplified_dropconnect.SimplifiedDropconnect(.5), "mask", [(4, 3), (2, 3), (2,)]),
    (lambda: F.noise.simplified_dropconnect.SimplifiedDropconnect(.5, None, False), "mask", [(4, 3), (2, 3)])])
def test_an_object_keeps_what_it_drew(make, kept, shapes):
    f, xs = make(), tuple([np.random.normal(size=shape) for shape in shapes])
    assert getattr(f, kept) is None
    y = f.apply(xs)[0].array
    drawn = getattr(f, kept)
    np.testing.assert_array_equal(f(*xs).array, y)
    assert getattr(f, kept) is drawn
    gradient_check.check_backward(f, xs, np.ones(y.shape))
    again = make()
    setattr(again, kept, drawn)
    np.testing.assert_array_equal(again(*xs).array, y)


def test_objects_that_draw_say_the_shape_of_what_they_drew():
    shared = F.noise.simplified_dropconnect.SimplifiedDropconnect(.5, use_batchwise_mask=False)
    shared(np.ones((4, 3)), np.ones((2, 3)))
    assert shared.mask.shape == (2, 3) and shared.mask.dtype == bool
    slopes = F.activation.rrelu.RReLU()
    with hnn.using_config("train", False):
        slopes(np.ones(3, "f"))
    np.testing.assert_allclose(slopes.r, np.full(3, (1 / 8 + 1 / 3) / 2, "f"))


@pytest.mark.parametrize("ignore_label", [None, -1])
def test_the_gradient_of_an_embedding_as_an_object(ignore_label):
    x, table = np.array([[0, 2, 2], [3, 0, 2]], "i"), Variable(np.ones((5, 2)))
    x[0, 1] = 1 if ignore_label is None else ignore_label
    gy = np.random.normal(size=(2, 3, 2))
    f = F.connection.embed_id.EmbedIDGrad(table.shape, ignore_label)
    expected, = hnn.grad([F.embed_id(x, table, ignore_label)], [table], [Variable(gy)])
    np.testing.assert_array_equal(f.apply((x, gy))[0].array, expected.array)
    gradient_check.check_backward(f, (x, gy), np.random.normal(size=table.shape))


@pytest.mark.parametrize("transposed", [(a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)])
def test_a_sparse_product_as_an_object(transposed):
    transa, transb, transc = transposed
    a, b = np.array([[0, 2.0, 0], [1, 0, 3]]), np.arange(12.0).reshape(3, 4)
    sparse = utils.to_coo(a.T if transa else a)
    f = F.math.sparse_matmul.CooMatMul(sparse.row, sparse.col, sparse.shape, transa=transa, transb=transb, transc=transc)
    y, = f.apply((sparse.data, Variable(b.T if transb else b)))
    np.testing.assert_allclose(y.array, (a @ b).T if transc else a @ b)


@pytest.mark.parametrize("name", sorted({name for module in ACTIVATION_AND_MATH.values() for name in module}))
def test_functions_as_nodes(name):
    cls = next(module[name] for module in ACTIVATION_AND_MATH.values() if name in module)
    arrays = [np.random.RandomState(0).uniform(.3, .8, (3, 4))]
    arrays += [arrays[0][0]] if name in ("PReLUFunction", "Swish") else [arrays[0] + .1] if name in ("Arctan2", "Fmod", "Maximum", "Minimum") else []
    f, xs = cls(*[.5] if name == "ClippedReLU" else []), [Variable(x) for x in arrays]
    y, expected = f.apply(xs)[0], cls.compute(*arrays, *f.args)
    np.testing.assert_array_equal(y.array, expected.array)
    assert y.creator is f and f.label in (name, cls.compute.__name__)
    again = cls.compute(*xs, *f.args)
    for g, h in zip(hnn.grad([y], xs, enable_double_backprop=True), hnn.grad([again], xs, enable_double_backprop=True)):
        np.testing.assert_array_equal(g.array, h.array)
        for gg, hh in zip(*[hnn.grad([first], xs) for first in (g, h)]):
            assert (gg is None) == (hh is None) and (gg is None or np.allclose(gg.array, hh.array, 1e-10))


def test_a_node_has_hooks():
    f, h, x = F.math.exponential.Exp(), hnn.function_hooks.TimerHook(), Variable(np.ones(3))
    f.add_hook(h)
    y, = f.apply((x,))
    y.grad = x.array
    y.backward()
    assert [name for name, _ in h.call_history] == ["Exp", "Exp"] and f.label == "exp"


@pytest.mark.parametrize(("make", "function", "ndim"), [
    (lambda k: F.connection.convolution_2d.Convolution2DFunction(**k), F.convolution_2d, 2),
    (lambda k: F.connection.convolution_nd.ConvolutionND(1, **k), F.convolution_nd, 1),
    (lambda k: F.connection.deconvolution_2d.Deconvolution2DFunction(**k), F.deconvolution_2d, 2),
    (lambda k: F.connection.deconvolution_nd.DeconvolutionND(3, **k), F.deconvolution_nd, 3)])
def test_convolutions_as_objects(make, function, ndim):
    f, x, w, b = make({"stride": 2, "pad": 1}), np.ones((2, 3, *(4,) * ndim), "f"), np.ones((3, 3, *(2,) * ndim), "f"), np.ones(3, "f")
    for inputs in ((x, w), (x, w, b)):
        np.testing.assert_array_equal(f.apply(inputs)[0].array, function(*inputs, stride=2, pad=1).array)
    for inputs in ((x,), (x, w, b, x)):
        with pytest.raises(InvalidType):
            f.apply(inputs)


@pytest.mark.parametrize("batch", [0, 2, 3])
@pytest.mark.parametrize(("make", "function", "k"), [(lambda: F.rnn.lstm.LSTMGrad(), F.lstm, 1), (lambda: F.rnn.slstm.SLSTMGrad(), F.slstm, 2)])
def test_gradients_of_lstms_as_objects(make, function, k, batch):
    rng = np.random.RandomState(0)
    cells = [Variable(rng.randn(3 if k == 1 else batch, 2, 4)) for _ in range(k)]
    xs = [Variable(rng.randn(batch, 8, 4)) for _ in range(k)]
    c, h = function(*cells, *xs)
    gc, gh = Variable(rng.randn(*c.shape)), Variable(rng.randn(*h.shape))
    for computed, expected in zip(make()(*cells, *xs, c, gc, gh), hnn.grad([c, h], cells + xs, [gc, gh])):
        np.testing.assert_allclose(computed.array, expected.array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("make", "function"), [
    (lambda x: F.activation.tanh.TanhGrad(x), F.tanh), (lambda x: F.activation.sigmoid.SigmoidGrad((x,)), F.sigmoid)])
def test_gradients_of_activations_as_objects(make, function):
    x, gy = Variable(np.random.RandomState(0).randn(3, 2)), Variable(np.arange(6.0).reshape(3, 2))
    y = function(x)
    np.testing.assert_allclose(make(x.array).apply((y, gy))[0].array, hnn.grad([y], [x], [gy])[0].array)


def test_sums_onto_diagonals_and_along_new_axes():
    make, x = F.math.einsum.DiagEinSum, Variable(np.arange(6.0).reshape(2, 3))
    y, = make("ij", "iki", (2, 4, 2)).apply((x,))
    np.testing.assert_array_equal(y.array, np.einsum("i,ij,k->ikj", x.array.sum(1), np.eye(2), np.ones(4)))
    F.sum(y).backward()
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 4))
    np.testing.assert_array_equal(make("ij,ij", "jj").apply((x, x))[0].array, np.diag((x.array ** 2).sum(0)))


# ------------------------------------------------------------------------------------------------------------------ basic_math

@pytest.mark.parametrize(("name", "constant", "label", "compute"), [
    ("Neg", (), "__neg__", lambda x, y: -x), ("Absolute", (), "|_|", lambda x, y: abs(x)), ("Add", (), "_ + _", lambda x, y: x + y),
    ("AddConstant", (-2,), "_ + (-2)", lambda x, y: x - 2), ("Sub", (), "_ - _", lambda x, y: x - y),
    ("SubFromConstant", (2.0,), "2.0 - _", lambda x, y: 2 - x), ("Mul", (), "_ * _", lambda x, y: x * y),
    ("MulConstant", (np.ones(2),), "_ * constant array", lambda x, y: x), ("Div", (), "_ / _", lambda x, y: x / y),
    ("DivFromConstant", (np.float32(2),), "2.0 / _", lambda x, y: 2 / x), ("PowVarVar", (), "_ ** _", lambda x, y: x ** y),
    ("PowVarConst", (2,), "_ ** 2", lambda x, y: x ** 2), ("PowConstVar", (2,), "2 ** _", lambda x, y: 2 ** x)])
def test_arithmetic_as_objects(name, constant, label, compute):
    x, y = np.array([1.0, 2.0]), np.array([3.0, 0.5])
    operation = getattr(basic_math, name)(*constant)
    binary = label.count("_") == 2 and "__" not in label
    result, = operation.apply((Variable(x), Variable(y)) if binary and not constant else (Variable(x),))
    assert operation.label == label
    np.testing.assert_allclose(result.array, compute(x, y))


@pytest.mark.parametrize(("compute", "label", "name"), [
    (lambda x, y: x + 2.0, "_ + 2.0", "AddConstant"), (lambda x, y: 1.5 - x, "1.5 - _", "SubFromConstant"),
    (lambda x, y: x - 1.5, "_ + (-1.5)", "AddConstant"), (lambda x, y: x * -3, "_ * (-3)", "MulConstant"),
    (lambda x, y: x / 4.0, "_ * 0.25", "MulConstant"), (lambda x, y: 2 / x, "2 / _", "DivFromConstant"),
    (lambda x, y: x ** 2, "_ ** 2", "PowVarConst"), (lambda x, y: 2.0 ** x, "2.0 ** _", "PowConstVar"),
    (lambda x, y: x + y.array, "_ + _", "Add"), (lambda x, y: x * y, "_ * _", "Mul"), (lambda x, y: -x, "__neg__", "Neg"),
    (lambda x, y: F.relu(x), "ReLU", "ReLU"), (lambda x, y: F.erf(x), "erf", "Erf"), (lambda x, y: F.max(x), "Max", "Max"),
    (lambda x, y: F.convolution_2d(x, y), "Convolution2DFunction", "Convolution2DFunction"),
    (lambda x, y: F.softmax_cross_entropy(x[:, :, 0, 0], np.array([0])), "SoftmaxCrossEntropy", "SoftmaxCrossEntropy")])
def test_operations_are_called_as_in_chainer(compute, label, name):
    x, y = Variable(np.ones((1, 2, 3, 3), "f")), Variable(np.ones((1, 2, 3, 3), "f"))
    seen = []

    class Names(hnn.FunctionHook):
        def forward_postprocess(self, function, in_data):
            seen.append((function.label, function._impl_name))
    with Names():
        result = compute(x, y)
    assert seen[-1] == (label, name) and result.creator.label == label
    forgotten = {"_ + 2.0": "_ + _", "1.5 - _": "_ - _", "_ + (-1.5)": "_ - _"}      # the graph keeps no number that no gradient needs
    assert compute(x, y).creator.label == forgotten.get(label, label)


def test_labels_of_traced_results_are_those_of_eager_ones():
    def f(x, c):
        return x * c, 1 / x, F.exp(x) + 1, x / c, F.tanh(x) * x
    traced = hnn.trace(f)
    with hnn.using_config("trace_compile", "sync"):
        for i in range(8):
            x = Variable(np.ones((2, 2), "f"))
            assert [y.creator.label for y in traced(x, 2.0 + i)] == [y.creator.label for y in f(x, 2.0 + i)]
    assert traced.stats.hits > 4


def test_reflected_arithmetic():
    x = Variable(np.array([4.0, 8.0]))
    assert basic_math.rsub(x, 10).array.tolist() == [6, 2]
    assert basic_math.rdiv(x, 16).array.tolist() == [4, 2]
    assert basic_math.rfloordiv(x, 17).array.tolist() == [4, 2]
    assert basic_math.rpow(x, 2).array.tolist() == [16, 256]
    assert basic_math.rmatmul(x, np.eye(2)).array.tolist() == [4, 8]


@pytest.mark.parametrize("name", ["add", "sub", "rsub", "mul", "div", "rdiv", "floordiv", "rfloordiv", "pow", "rpow", "matmul", "rmatmul"])
def test_arithmetic_of_arrays_gives_variables(name):
    x, y = np.array([[4., 8.], [2., 1.]]), np.array([[3., 2.], [1., 2.]])
    function = getattr(basic_math, name)
    found = function(x, y)
    assert isinstance(found, Variable) and found.array.tolist() == function(Variable(x), Variable(y)).array.tolist()
    assert isinstance(basic_math.neg(x), Variable)
    assert isinstance(basic_math.Sub().apply((x, y))[0], Variable)


@pytest.mark.parametrize("other", [[3.0, 4.0], (3.0, 4.0), "a", b"a", None])
@pytest.mark.parametrize("operate", [lambda x, y: x + y, lambda x, y: y - x, lambda x, y: x * y, lambda x, y: y * x, lambda x, y: x ** y])
def test_arithmetic_with_what_is_no_number_or_array(operate, other):
    for x in (Variable(np.array([1.0, 2.0])), Variable(np.array(2))):
        with pytest.raises(TypeError):
            operate(x, other)


# ----------------------------------------------------------------------------------------------------------------- type checks

def test_parts_of_expressions():
    x = type_check.Variable(3, "x")
    assert str(type_check.GetAttr(x, "real")) == "x.real" and type_check.GetAttr(x, type_check.Constant("real")).eval() == 3
    assert str(type_check.GetAttr(x, 3)) == "getattr(x, 3)"
    assert type_check.GetItem(type_check.Constant([5, 6]), 1).eval() == 6
    assert type_check.Call(type_check.Constant(max), (x, 7)).eval() == 7
    assert str(type_check.UnaryOperator(9, x, "-", abs)) == "-(x)"
    plus = type_check.BinaryOperator(8, x, x, "+", lambda a, b: a + b)
    assert (str(plus), plus.eval()) == ("x + (x)", 6)
    assert type_check.BoolBinaryOperator(x, 3, "==", "!=", lambda a, b: a == b).eval()
    assert type_check._repr([x, (1,)]) == "[x, (1,)]"


def test_names_of_inputs():
    types = type_check.get_types((np.zeros(2), np.zeros(3)), "in_types", False)
    type_check._argname(types, ("x", "t"))
    assert str(types[1].shape[0] + 1) == "t.shape[0] + 1"
    with pytest.raises(InvalidType, match="1 argument"):
        type_check._argname(types, ("x",))


class Refusing(hnn.FunctionNode):
    def check_type_forward(self, in_types):
        raise InvalidType("a square", "a circle")

    def forward(self, inputs):
        return inputs


def test_checks_read_as_in_chainer():
    with pytest.raises(InvalidType, match=r"^Expect: n == 4\nActual: 3 != 4\n  at .*in test_checks"):
        type_check.expect(type_check.Variable(3, "n") == 4)
    with pytest.raises(InvalidType, match=r"^Invalid operation is performed in: Refusing \(Forward\)\n\nExpect: a square\nActual: a circle\n  at "):
        Refusing().apply((np.ones(2),))
    error = InvalidType("a square", "a circle")
    assert str(error).startswith("Expect: a square\nActual: a circle\n") and (error.expect, error.actual) == ("a square", "a circle")


def test_an_error_survives_pickling():
    with pytest.raises(InvalidType) as caught:
        type_check.expect(type_check.Variable(3, "n") == 4)
    error = pickle.loads(pickle.dumps(caught.value))
    assert type(error) is type(caught.value) and str(error) == str(caught.value) and error.expect == "n == 4"


# ----------------------------------------------------------------------------------------------------------------------- utils

def test_half_precision_is_computed_in_single():
    class Seen(hnn.FunctionNode):
        @precision._fp16_mixed_precision_helper
        def forward(self, inputs):
            self.dtypes = [x.dtype.char for x in inputs]
            return inputs

    for dtype, inside in (("e", "f"), ("f", "f"), ("d", "d")):
        f = Seen()
        assert [y.dtype.char for y in f.apply((np.ones(2, dtype), np.ones(2, dtype)))] == [dtype] * 2 and f.dtypes == [inside] * 2
    assert [y.dtype.char for y in Seen().apply((np.ones(2, "e"), np.ones(2, "f")))] == ["f", "f"]


def test_final_methods():
    class Base(meta.enable_final(base=dict)):
        @meta.final
        def fixed(self):
            pass

        @meta.final(action=DeprecationWarning)
        def old(self):
            pass

    with pytest.raises(TypeError, match="fixed"):
        type(Base)("Sub", (Base,), {"fixed": lambda self: None})
    with pytest.warns(DeprecationWarning, match="old"):
        type(Base)("Sub", (Base,), {"old": lambda self: None})
    assert isinstance(type(Base)("Sub", (Base,), {"other": 1})(), dict)


def test_orders_of_sparse_matrices():
    assert utils.get_order(np.array([0, 0, 1]), np.array([0, 2, 1])) == "C"
    assert utils.get_order(np.array([0, 1, 0]), np.array([0, 0, 2])) == "F"
    assert utils.get_order(np.array([1, 0, 1]), np.array([0, 1, 0])) == "other"
    for row, col in ((np.arange(2), np.arange(3)), (np.array([0, -1]), np.array([-1, 0]))):
        with pytest.raises(ValueError):
            utils.get_order(row, col)
    x = np.array([[0, 2], [3, 0]], "f")
    np.testing.assert_array_equal(utils.to_coo(x).to_dense(), x)
    assert utils._format_array_props([x, None]) == "(2, 2):float32, None"


def test_experimental_text():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        utils.experimental("thing")
    assert str(seen[0].message).startswith("thing is experimental.")


def test_testing_tools_of_chainers_tests():
    assert testing.function_link.FunctionTestCase is testing.FunctionTestCase
    assert testing.matrix._broadcast_to(1, (2,)).shape == (2,)
    with pytest.raises(AssertionError):
        testing.condition.repeat_with_success_at_least(10, 11)

    class Case(testing.function_link.FunctionTestCase):
        def fails(self):
            self.fail("no")
    with pytest.raises(AssertionError, match="first error message"):
        testing.condition.retry(2)(Case.fails)(Case("fails"))


def test_gradients_that_no_grads_denies():
    x = np.ones(2, "f")
    with pytest.raises(RuntimeError, match="no_grads"):
        hnn.gradient_check.check_backward(lambda a, b: a + b.array, (x, x), x, no_grads=[True, True])


# --------------------------------------------------------------------------------------------------------------- FunctionNode

class Doubled(hnn.FunctionNode):
    def __init__(self, factor=2):
        self.factor = factor

    def forward(self, inputs):
        self.retain_inputs(range(1, len(inputs)))
        self.retain_outputs((0,))
        self.seen = inputs
        return tuple([self.factor * x for x in inputs])

    def backward(self, indexes, gys):
        self.kept = self.get_retained_inputs()
        return tuple([None if gys[i] is None else self.factor * gys[i] for i in indexes])


def test_a_function_runs_again_on_a_copy():
    f, xs = Doubled(3), [Variable(np.array([n], "f")) for n in (1, 2)]
    ys = [f.apply((x,))[0] for x in xs]
    assert ys[0].creator_node is f and ys[1].creator_node is not f and ys[1].creator_node.factor == 3
    for y, x in zip(ys, xs, strict=True):
        F.sum(y).backward()
        assert x.grad.tolist() == [3]


def test_what_a_function_retains():
    xs = [Variable(np.array([n], "f"), requires_grad=n != 1) for n in (0, 1, 2)]
    nodes, arrays = [x.node for x in xs], [x.array for x in xs]
    f = Doubled()
    ys = f.apply(xs)
    out, y_nodes = [y.array for y in ys], [y.node for y in ys]
    F.sum(ys[0]).backward()
    assert [x.requires_grad for x in f.kept] == [False, True] and [x.node for x in f.kept] == nodes[1:]
    assert f.kept[0].node is nodes[1] and xs[2].node is nodes[2]
    del xs, ys
    f.seen = f.kept = None
    assert [n.data for n in nodes] == [None, *arrays[1:]] and [n.data for n in y_nodes] == [out[0], None, None]
    del arrays, out
    f.unchain()
    assert nodes[1].data is None


@pytest.mark.parametrize("double", [False, True])
def test_gradients_to_start_from_pass_through(double):
    x1 = Variable(np.array([3.0]))
    x2 = x1 * 2
    y = x2 * x2
    g1, g2 = hnn.grad([y], [x1, x2], [np.array([1.0])], [np.array([1000.0]), np.array([100.0])], enable_double_backprop=double)
    assert (g1.array.tolist(), g2.array.tolist()) == ([1000 + 2 * (100 + 12)], [112])
    unused = Variable(np.array([1.0]))
    assert hnn.grad([y], [unused], None, [Variable(np.array([5.0]))])[0].array.tolist() == [5]


@pytest.mark.parametrize("more", [("g", None), (None, "g"), ([], None), (None, [])])
def test_gradients_come_in_sequences_of_the_right_length(more):
    x = Variable(np.array([1.0]))
    with pytest.raises(TypeError):
        hnn.grad([x * x], [x], *[x if m == "g" else m for m in more])


# ---------------------------------------------------------------------------------------------------------- errors of functions

@pytest.mark.parametrize(("kind", "call"), [
    (InvalidType, lambda x: F.broadcast()),
    (InvalidType, lambda x: F.scatter_add(x, (0, 0, 0), x)),
    (InvalidType, lambda x: F.split_axis(x, [1, 4], 1)),
    (InvalidType, lambda x: x.transpose(0, 3)),
    (InvalidType, lambda x: F.transpose(x, 0)),
    (TypeError, lambda x: F.pad(x, 1.5, "constant")),
    (TypeError, lambda x: F.array.concat.Concat("0")),
    (AssertionError, lambda x: F.scale(x, x[0], 0)),
    (NotImplementedError, lambda x: F.hinge(x, np.array([0, 1]), "L3")),
    (TypeError, lambda x: F.connectionist_temporal_classification(1.0, np.zeros((1, 1), "i"), 0)),
    (InvalidType, lambda x: F.crf1d(np.zeros((3, 3), "f"), [x], [np.zeros(1, "i")]))])
def test_kinds_of_errors(kind, call):
    with pytest.raises(kind):
        call(Variable(np.ones((2, 3), "f")))


@pytest.mark.parametrize("x", [None, "one", object(), [None], {}])
def test_what_is_no_number_is_refused(x):
    for f in (hnn.as_variable, F.sum, F.max, F.cumsum, F.flatten, F.transpose, F.squeeze, F.relu, F.add):
        with pytest.raises(InvalidType, match=r"number|relu"):
            f(x)


@pytest.mark.parametrize("join", [F.hstack, F.vstack, F.dstack])
def test_arrays_to_join_have_as_many_axes(join):
    x = np.ones(1)
    for xs in ([x, x[:, None]], [x[0], x], [np.array(1.0), x]):
        with pytest.raises(InvalidType):
            join(xs)


@pytest.mark.parametrize("dtype", ["e", "f", "d", "i"])
def test_strided_views_of_memory(dtype):
    view, x = F.array.as_strided._stride_array, np.arange(8, dtype=dtype)
    for part in (x, x[::-1], x.reshape(2, 4).T):
        assert view(part, (3, 3), (-1, 2), 3).tolist() == [[3, 5, 7], [2, 4, 6], [1, 3, 5]]
    for offset in (1, 4):
        with pytest.raises(ValueError, match="leaves"):
            view(x, (3, 3), (-1, 2), offset)
    v = Variable(x)
    y = F.as_strided(v, (3,), (-1,), 3)
    y.grad = np.ones(3, dtype)
    if dtype == "i":
        with pytest.raises(TypeError):
            hnn.grad([y], [v])
    else:
        assert hnn.grad([y], [v])[0].array.tolist() == [0, 1, 1, 1, 0, 0, 0, 0]


def _overlapping():
    return F.array.as_strided._stride_array(np.arange(8, dtype="f"), (3, 3), (-1, 2), 3)      # [[3, 5, 7], [2, 4, 6], [1, 3, 5]]


@pytest.mark.parametrize("make, arguments, values, gradient", [
    (lambda: np.arange(12, dtype="f").reshape(3, 4)[::-1], ((12,), (1,), 0), np.arange(12), np.ones((3, 4))),
    (lambda: np.arange(6, dtype="f").reshape(2, 3).T, ((2, 2), (0, 1), 1), [[1, 2], [1, 2]], [[0, 0], [2, 0], [2, 0]]),
    (lambda: np.arange(6, dtype="f")[::-2], ((2,), (-2,), None), [5, 3], [1, 1, 0]),
    (_overlapping, ((3, 3), (1, 2), 0), [[0, 2, 4], [1, 3, 5], [2, 4, 6]], [[.5, .5, 0], [2, 2, 1], [1, .5, .5]])])
def test_strided_views_of_what_an_array_is_a_view_of(make, arguments, values, gradient):
    x = Variable(make())
    y = F.as_strided(x, *arguments)
    np.testing.assert_array_equal(y.array, values)
    y.grad = np.ones_like(y.array)
    y.backward(enable_double_backprop=True)
    np.testing.assert_array_equal(x.grad, gradient)
    gy = Variable(np.ones_like(y.array))
    gx, = hnn.grad([F.as_strided(x, *arguments)], [x], [gy], enable_double_backprop=True)
    ggy, = hnn.grad([F.sum(gx * x)], [gy])
    np.testing.assert_allclose(ggy.array, hnn.grad([gx], [gy], [x])[0].array)
    with pytest.raises(ValueError, match="leaves"):
        F.as_strided(x, (2,), (1,), 11)


def test_strided_views_in_traced_functions():
    def f(x):
        return F.as_strided(x, (2, 3), (1, 2), 0) * 2
    traced = hnn.trace(f)
    for i in range(12):
        memory = np.random.randn(4, 3 + i % 3)
        for x in (memory, memory[::-1], memory.T, memory[1:, ::-1]):
            np.testing.assert_array_equal(traced(Variable(x)).array, f(Variable(x)).array)


@pytest.mark.parametrize("function", [F.convolution_2d, F.convolution_nd, F.deconvolution_2d, F.deconvolution_nd])
@pytest.mark.parametrize("groups", [(1, 1), 0, -1, 1.0, "1"])
def test_groups_are_a_positive_int(function, groups):
    with pytest.raises(InvalidType):
        function(np.ones((1, 2, 4, 4), "f"), np.ones((2, 2, 3, 3), "f"), groups=groups)


def test_places_of_maxima_are_int64():
    x = np.random.randn(1, 2, 4, 4).astype("f")
    y, places = F.max_pooling_2d(x, 2, return_indices=True)
    assert places.dtype == np.int64 and places[0, 0, 0, 0] == x[0, 0, :2, :2].argmax()
    up = F.upsampling_2d(y, places, 2, cover_all=False).array
    np.testing.assert_array_equal(F.max_pooling_2d(np.where(up == 0, -np.inf, up), 2).array, y.array)


@pytest.mark.parametrize("call", [
    lambda b: F.linear(np.ones((2, 3), "f"), np.ones((2, 3), "f"), b), lambda b: F.layer_normalization(np.ones((3, 2), "f"), np.ones(2, "f"), b),
    lambda b: F.convolution_2d(np.ones((2, 3, 4, 4), "f"), np.ones((2, 3, 2, 2), "f"), b),
    lambda b: F.deconvolution_nd(np.ones((2, 3, 4), "f"), np.ones((3, 2, 2), "f"), b),
    lambda b: F.simplified_dropconnect(np.ones((3, 4), "f"), np.ones((2, 4), "f"), b)])
def test_biases_are_floats(call):
    call(np.ones(2, "f"))
    with pytest.raises(InvalidType):
        call(np.ones(2, "i"))


@pytest.mark.parametrize(("size", "good"), [(6, False), (7, True), (8, True), (9, True), (10, False)])
def test_sizes_of_a_deconvolution(size, good):
    x, w = Variable(np.arange(4.0).reshape(1, 1, 4)), np.array([[[1.0, 10]]])
    if good:
        y = F.deconvolution_nd(x, w, stride=2, outsize=(size,))
        assert y.array.ravel().tolist() == [0, 0, 1, 10, 2, 20, 3, 30, 0][:size]
        F.sum(y).backward()
        assert x.grad.ravel().tolist() == [11, 11, 11, 11 if size > 7 else 1]
    else:
        with pytest.raises(InvalidType):
            F.deconvolution_nd(x, w, stride=2, outsize=(size,))


@pytest.mark.parametrize("outsize", [(6, 10), (8, 8), (7, 10), (6, 9)])
def test_sizes_of_a_deconvolution_on_either_side(outsize):
    """Each axis as if the other had the middle size: cut off or with zeros behind."""
    x, w, b = np.random.randn(1, 2, 3, 4), np.random.randn(2, 3, 3, 3), np.random.randn(3)
    y = F.deconvolution_2d(x, w, b, stride=2, outsize=outsize).array
    rows, columns = [F.deconvolution_2d(x, w, b, stride=2, outsize=o).array for o in ((outsize[0], 9), (7, outsize[1]))]
    assert y.shape == (1, 3, *outsize)
    h, v = min(7, outsize[0]), min(9, outsize[1])
    np.testing.assert_allclose(y[..., :v], rows[..., :v])
    np.testing.assert_allclose(y[..., :h, :], columns[..., :h, :])
    testing.assert_allclose(y[..., h:, v:], np.broadcast_to(b.reshape(3, 1, 1), y[..., h:, v:].shape))
    f = functools.partial(F.deconvolution_2d, stride=2, outsize=outsize)
    hnn.gradient_check.check_double_backward(f, (x, w, b), np.random.randn(*y.shape), (x, w, b), atol=1e-4, rtol=1e-3)


def test_copies_for_the_dummy_device_and_repetitions_in_bools():
    x = np.arange(2.0)
    assert F.copy(x, hnn.backends.cuda.DummyDevice).array is not x
    assert F.repeat(x, (True, False)).array.tolist() == [0] and F.tile(x, True).shape == (2,)


def test_empty_indices_and_scalars():
    x = Variable(np.arange(6.0).reshape(2, 3))
    y = x[[]]
    assert y.shape == (0, 3) and x[:, []].shape == (2, 0) and x[[[]]].shape == (1, 0, 3)
    F.sum(y).backward()
    assert not x.grad.any()
    for f in (F.dropout, lambda x: F.zoneout(x, x)):
        assert f(Variable(np.array(2.0))).shape == ()


def test_a_convolution_of_no_images_has_gradients():
    x, w = Variable(np.zeros((0, 2, 5, 5), "f")), Variable(np.ones((4, 2, 3, 3), "f"))
    for traced in (lambda x, w: F.convolution_2d(x, w), hnn.trace(lambda x, w: F.convolution_2d(x, w))):
        x.cleargrad()
        w.cleargrad()
        F.sum(traced(x, w)).backward()
        assert x.grad.shape == x.shape and not w.grad.any()


@pytest.mark.parametrize("finetune", [False, True])
def test_a_renormalisation_that_is_computed_again_sees_the_statistics_of_the_first_time(finetune):
    x, seen = np.random.RandomState(0).randn(4, 3).astype("f"), []
    for again in (False, True):
        link, v = hnn.links.BatchRenormalization(3, 2, 1), Variable(x)
        f = functools.partial(link, finetune=finetune)
        y = F.forget(f, v) if again else f(v)
        y.grad = x[::-1].copy()
        y.backward()
        seen.append((v.grad, link.avg_mean, link.avg_var, link.N))
    for first, second in zip(*seen):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("shape", "size", "axis", "warns"), [
    ((1, 3), (3,), None, True), ((1, 3, 1), (1, 3), 2, True), ((1, 3, 2), (3,), None, False), ((1, 3, 2), (1, 3), 2, False), ((0, 0), (0,), None, False)])
def test_a_batch_of_one_element_draws_a_warning(shape, size, axis, warns):
    x, p = np.ones(shape, "f"), np.ones(size, "f")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        F.batch_normalization(x, p, p, axis=axis)
    assert [w.category for w in seen] == [UserWarning] * warns


# ------------------------------------------------------------------------------------------------- what a creator has to tell

@pytest.mark.parametrize("options", [{}, {"reduce": "no"}, {"class_weight": np.ones(4, "f")}, {"normalize": False}])
def test_a_loss_tells_its_probabilities(options):
    x, t = Variable(np.random.RandomState(0).randn(3, 4).astype("f")), np.array([0, 1, -1])
    np.testing.assert_allclose(F.softmax_cross_entropy(x, t, **options).creator.y, F.softmax(x).array, rtol=1e-5)
    assert F.softmax_cross_entropy(x, t, cache_score=False, **options).creator.y is None


def test_noise_tells_what_it_drew():
    x, h, w = Variable(np.ones((3, 4), "f")), Variable(np.full((3, 4), 2, "f")), Variable(np.ones((2, 4), "f"))
    y, z = F.dropout(x), F.zoneout(h, x)
    np.testing.assert_array_equal(y.array, y.creator.mask)
    np.testing.assert_array_equal(z.array, x.array * z.creator.flag_x + h.array * z.creator.flag_h)
    y = F.simplified_dropconnect(x, w, ratio=.5, use_batchwise_mask=False)
    np.testing.assert_array_equal(y.array, np.ones((3, 1)) * 2 * y.creator.mask.sum(1))
    assert not hasattr((x * h).creator, "mask")


def test_dropout_of_an_array_tells_its_mask():
    x, mask = np.ones((3, 4), "f"), np.float32([[0, 2, 0, 2]] * 3)
    y, given = F.dropout(x), F.dropout(x, mask=mask)
    np.testing.assert_array_equal(y.array, y.creator.mask)
    assert given.creator.mask is mask and not hasattr(given.creator, "y") and y.creator_node is None
    with hnn.no_backprop_mode():
        assert F.dropout(x).creator is None


@pytest.mark.parametrize("reduce", ["sum", "no"])
@pytest.mark.parametrize("as_table", [Variable, np.asarray])
def test_a_loss_tells_the_words_it_drew(reduce, as_table):
    x, t, drawn = Variable(np.ones((3, 4), "f")), np.array([1, -1, 2]), np.arange(9).reshape(3, 3) % 5
    y, samples = F.negative_sampling(x, t, as_table(np.ones((5, 4), "f")), lambda shape: drawn, 2, reduce=reduce, return_samples=True)
    for _ in range(2):
        assert y.creator.samples.tolist() == samples.tolist() == [[1, 1, 2], [-1, 4, 0], [2, 2, 3]]
        y.grad = np.ones_like(y.array)
        y.backward()


@pytest.mark.parametrize("kind", [Variable, np.asarray])
@pytest.mark.parametrize("inside", [False, True])
def test_a_traced_function_shows_creators_as_well(kind, inside):
    @hnn.trace
    def f(x):
        y = F.dropout(x)
        return y, float(y.creator.mask.sum()) if inside else 0.
    x = kind(np.ones((3, 4), "f"))
    for _ in range(12):
        y, total = f(x)
        np.testing.assert_array_equal(y.array, y.creator.mask)
        assert not inside or total == y.array.sum()
    assert inside or f.stats.python_skipped, f.explain()


_W, _LABELS, _ALIAS = hnn.Parameter(np.ones((2, 4), "f")), np.array([0, 1, -1]), utils.WalkerAlias([1., 3.])
_NOISY = {
    "dropout": lambda x: F.dropout(x), "zoneout": lambda x: F.zoneout(x, x * 2), "dropconnect": lambda x: F.simplified_dropconnect(x, _W, ratio=.5),
    "dropconnect_of_one_mask": lambda x: F.simplified_dropconnect(x, _W, hnn.Variable(np.ones(2, "f")), .5, use_batchwise_mask=False),
    "dropconnect_of_an_array": lambda x: F.simplified_dropconnect(x, _W.array, ratio=.5),
    "words": lambda x: F.negative_sampling(x, _LABELS, _W, _ALIAS.sample, 5),
    "word_losses": lambda x: F.negative_sampling(x, _LABELS, _W, _ALIAS.sample, 5, "no"),
    "words_of_an_array": lambda x: F.negative_sampling(x, _LABELS, _W.array, _ALIAS.sample, 5),
    "loss": lambda x: F.softmax_cross_entropy(x, _LABELS), "untold": lambda x: F.softmax_cross_entropy(x, _LABELS, cache_score=False),
    "losses": lambda x: F.softmax_cross_entropy(F.log_softmax(x) * 2, _LABELS, reduce="no"),
    "smoothed": lambda x: F.softmax_cross_entropy(x, _LABELS, label_smoothing=.1, normalize=False),
    "weighted": lambda x: F.softmax_cross_entropy(x, _LABELS, class_weight=np.ones(4, "f"))}


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("case", _NOISY)
def test_what_creators_tell_is_told_once_python_is_skipped(case, backward):
    def step(x):
        y = _NOISY[case](x)
        if backward:
            F.sum(y).backward()
        return y

    def told(y):
        return [getattr(y.creator, name, "nothing") for name in ("mask", "flag_x", "flag_h", "samples", "y")]
    traced, x = hnn.trace(step), Variable(np.random.RandomState(0).randn(3, 4).astype("f"))
    for seed in range(6):
        np.random.seed(seed)
        got = told(traced(x))
        np.random.seed(seed)
        for a, b in zip(got, told(step(x)), strict=True):
            assert type(a) is type(b)
            if isinstance(a, np.ndarray):
                np.testing.assert_allclose(a, b, rtol=1e-5)
            else:
                assert a is b or a == b
    assert traced.stats.python_skipped or case.endswith("_of_an_array")


@pytest.mark.parametrize("scalar", [np.float64, np.float32, np.array])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_settings_given_as_numpy_scalars_leave_the_dtype(dtype, scalar):
    x = np.linspace(.1, .9, 6).reshape(2, 3).astype(dtype)
    labels = np.array([0, 1])

    def of(h):
        np.random.seed(0)
        return [F.softplus(x, beta=h(1.5)), F.elu(-x, h(.5)), F.leaky_relu(-x, h(.25)), F.clipped_relu(x, h(.5)), F.selu(x, h(1.5), h(1.)),
                F.normalize(x, h(1e-3)), F.dropout(x, h(.25)), F.huber_loss(x, x[::-1].copy(), h(.25)), F.gumbel_softmax(x, tau=h(.5)),
                F.local_response_normalization(x.reshape(2, 3, 1), 5, h(2.), h(1e-3), h(.75)), F.contrastive(x, 2 * x, labels, h(1.5)),
                F.triplet(x, x, 2 * x, h(.25)),
                F.discriminative_margin_based_clustering_loss(x.reshape(1, 3, 2, 1), labels.reshape(1, 2, 1), h(.5), h(1.5), 3)[0],
                *([F.decorrelated_batch_normalization(x, groups=1, eps=h(.5))] if dtype == "float32" else [])]

    for got, expected in zip(of(scalar), of(float), strict=True):
        assert got.dtype == expected.dtype == dtype
        np.testing.assert_allclose(got.array, expected.array, rtol=1e-2 if dtype == "float16" else 1e-6)


def test_objects_of_normalization_and_local_convolution():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 5))
    node = importlib.import_module("hybridnn.functions.normalization.group_normalization")._MulInvStd(.1, None, None, None)
    got, = node.apply((x, y))
    np.testing.assert_allclose(got.array, y / np.sqrt(x.var(1, keepdims=True) + .1))
    x, W, b = x.reshape(1, 1, 3, 5), np.ones((2, 2, 4, 1, 2, 2)), np.ones((2, 2, 4))
    got, = F.connection.local_convolution_2d.LocalConvolution2DFunction(1).apply((x, W, b))
    np.testing.assert_allclose(got.array, F.local_convolution_2d(x, W, b).array)
    pool = F.pooling.max_pooling_nd.MaxPoolingND(2, 2, 1)
    got, = pool.apply((x,))
    for indexes in ((0,), (x,)):        # Chainer's nodes of one input take no notice of the indexes, and its tests give none
        gx, = pool.backward(indexes, (np.ones_like(got.array),))
        assert gx.array.sum() == got.size


def _former_arguments():
    x, n = np.ones((1, 1, 4, 4), "f"), np.ones(1, "f")
    yield F.dropout, (x,), "train"
    yield F.rrelu, (x,), "train"
    yield F.zoneout, (x, x), "train"
    yield F.batch_normalization, (x, n, n), "train"
    yield F.convolution_2d, (x, x), "deterministic"
    yield F.deconvolution_2d, (x, x), "deterministic"
    yield F.spatial_transformer_grid, (np.ones((1, 2, 3), "f"), (2, 2)), "use_cudnn"
    yield F.spatial_transformer_sampler, (x, np.ones((1, 2, 3, 3), "f")), "use_cudnn"
    yield from ((f, (1, 0., x, [], [], []), name) for f in (F.n_step_gru, F.n_step_bigru, F.n_step_rnn, F.n_step_birnn)
                for name in ("train", "use_cudnn"))
    yield from ((f, (1, 0., x, x, [], [], []), name) for f in (F.n_step_lstm, F.n_step_bilstm) for name in ("train", "use_cudnn"))
    yield L.Convolution2D, (1, 1, 3), "deterministic"
    yield L.Deconvolution2D, (1, 1, 3), "deterministic"
    yield L.StatefulZoneoutLSTM, (1, 1), "train"
    yield from ((L.NStepRNNTanh, (1, 1, 1, 0.), name) for name in ("use_cudnn", "use_bi_direction", "activation"))
    yield L.NStepGRU(1, 1, 1, 0.), (None, [n[None]]), "train"
    yield L.NStepLSTM(1, 1, 1, 0.), (None, None, [n[None]]), "train"
    yield testing.get_trainer_with_mock_updater((1, "epoch")).extend, (len, "len"), "invoke_before_training"


@pytest.mark.parametrize("function, args, name", list(_former_arguments()))
def test_former_keyword_arguments_are_refused_with_a_hint(function, args, name):
    with pytest.raises(ValueError, match=f"no argument {name}"):
        function(*args, **{name: True})
    with pytest.raises(TypeError, match=r"unexpected keyword argument.*'other'"):
        function(*args, other=True)


def test_only_the_memory_layout_of_numpy():
    assert hnn.Variable(np.ones((1, 2, 3, 3))).layout is hnn.memory_layouts.CUDNN_CHANNEL_FIRST_X
    assert hnn.memory_layouts.get_semantic_shape(hnn.Variable(np.ones((1, 2)))) == hnn.memory_layouts.get_raw_shape(np.ones((1, 2))) == (1, 2)
    for make in (lambda layout: hnn.Variable(np.ones((1, 2, 3, 3)), layout=layout), lambda layout: hnn.Parameter(0, (1, 2), layout=layout)):
        with pytest.raises(RuntimeError, match=r"(?s)CUDNN_CHANNEL_LAST_X.*channels first"):
            make(hnn.memory_layouts.CUDNN_CHANNEL_LAST_X)


def test_the_codes_of_a_hierarchical_softmax_can_be_cast():
    loss = L.BinaryHierarchicalSoftmax(3, ((0, 1), 2), dtype=np.float16)
    loss._func.codes = loss._func.codes.astype(np.float64)
    assert loss(np.ones((1, 3)), np.array([2], np.int32)).dtype == np.float64


def test_the_compute_mode_of_a_block():
    assert hnn.get_compute_mode() is None
    with hnn.using_config("compute_mode", "cudnn_fast"):
        assert hnn.get_compute_mode() == "cudnn_fast"


def test_link_hooks_are_shown_objects_of_chainers_names():
    seen = []

    class Look(hnn.LinkHook):
        def forward_preprocess(self, args):
            seen.append(type(args) is hnn.link_hook._ForwardPreprocessCallbackArgs)

        def forward_postprocess(self, args):
            seen.append(type(args) is hnn.link_hook._ForwardPostprocessCallbackArgs)
    with Look():
        L.Linear(2, 2)(np.ones((1, 2), "f"))
    assert seen == [True, True]


def test_backward_of_one_element_with_axes_is_deprecated():
    x = Variable(np.array([2.0]))
    with pytest.warns(DeprecationWarning, match="no axes"):
        (x * x).backward()
    assert x.grad.tolist() == [4]
    x.cleargrad()
    y = x * x
    y.grad = np.ones(1)
    y.backward()
    F.sum(x * x).backward()
    assert x.grad.tolist() == [8]


def test_a_traced_backward_of_one_element_with_axes_warns_in_every_call():
    @hnn.trace
    def step(x):
        x.cleargrad()
        (x * x).backward()

    for _ in range(20):
        x = Variable(np.array([2.0]))
        with pytest.warns(DeprecationWarning, match="no axes"):
            step(x)
        assert x.grad.tolist() == [4]


class Plain(hnn.Function):
    def forward(self, inputs):
        return inputs

    def backward(self, inputs, grad_outputs):
        return grad_outputs


def test_grad_of_what_an_old_style_function_gave_raises():
    x = Variable(np.array(2.0))
    for before in (lambda v: v, F.identity):
        x.cleargrad()
        y = Plain()(before(x))
        y.backward(enable_double_backprop=True)
        with pytest.raises(RuntimeError, match="Plain is a Function"):
            hnn.grad([x.grad_var], [x])
        with pytest.raises(RuntimeError, match="Plain is a Function"):
            hnn.grad([x.grad_var], [y.grad_var])
    with pytest.raises(TypeError, match="NoneType"):
        hnn.grad([x * 2], [None])


def test_a_node_says_that_its_gradient_is_not_wanted_any_more():
    identity = ACTIVATION_AND_MATH["math", "identity"]["Identity"]
    x = Variable(np.array(2.0))
    y, z = identity().apply((x, x))
    assert y.creator is z.creator
    (y + z).backward()
    assert x.grad == 2
    x.cleargrad()
    y, _ = identity().apply((x, x))
    x.node._requires_grad = False
    y.backward()
    assert x.grad is None and not x.requires_grad and not x.node._requires_grad


def test_arithmetic_as_objects_at_the_path_of_chainer():
    found = importlib.import_module("hybridnn.functions.math.basic_math")
    assert found.Mul is basic_math.Mul and found._convert_value_to_string(-2.0) == "(-2.0)"


def test_text_of_variables_as_functions():
    v = Variable(np.array([1.5, 2.0]), name="v")
    assert hnn.variable.variable_repr(v) == repr(v) == "variable v([1.5, 2. ])" and hnn.variable.variable_str(v) == str(v)


class Ninefold(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] * 9,

    def backward(self, indexes, grad_outputs):
        assert self.get_retained_inputs() == ()
        return grad_outputs[0] * 9,


def test_a_function_node_keeps_no_inputs_unless_it_says_so():
    x = Variable(np.ones(3)) + 1
    node = x.node
    y, = Ninefold().apply((x,))
    assert node.data is x.array
    del x
    assert node.data is None
    F.sum(y).backward()


class Cubed(hnn.FunctionNode):
    def forward(self, inputs):
        self.retain_inputs((0,))
        self.retain_outputs((0,))
        return inputs[0] ** 3,

    def backward(self, indexes, grad_outputs):
        (x,), (y,) = self.get_retained_inputs(), self.get_retained_outputs()
        return 3 * grad_outputs[0] * y / x,


def test_backward_of_a_function_of_arrays_is_there_for_who_calls_it():
    def f(x):
        cubed = Cubed()
        y, = cubed.apply((F.tanh(x) if isinstance(x, Variable) else x,))
        g, = cubed.backward((0,), (F.exp(y),))
        return y, g, cubed

    traced = hnn.trace(lambda x: f(x)[:2])
    for n in range(1, 8):
        x = np.array([0.1 * n, 0.2])
        constant = Variable(x, requires_grad=False)
        for a, (y, g) in ((x, traced(x)), (np.tanh(x), traced(constant)), (x, f(x)[:2]), (np.tanh(x), f(constant)[:2])):
            np.testing.assert_allclose(y.array, a ** 3)
            np.testing.assert_allclose(g.array, 3 * a ** 2 * np.exp(a ** 3))
            assert not y.requires_grad
    cubed = f(x)[2]
    assert cubed.inputs[0].data is x
    again, = cubed.apply((x * 2,))      # the same one: none has to be kept for a graph
    assert again.array.tolist() == ((x * 2) ** 3).tolist() and cubed.get_retained_inputs()[0].array.tolist() == (x * 2).tolist()
    with hnn.no_backprop_mode():
        cubed = Cubed()
        cubed.apply((x,))
    assert cubed.inputs is None

    unpooling = F.pooling.unpooling_nd.UnpoolingND(1, 2, 2)
    y, = unpooling.apply((np.ones((1, 1, 3), "f"),))
    g, = unpooling.backward((0,), (Variable(np.ones_like(y.array)),))
    assert g.array.tolist() == [[[2, 2, 1]]]


def test_only_arrays_go_to_the_cpu():
    with pytest.raises(TypeError, match=r"to_cpu takes arrays; got Variable"):
        hnn.cuda.to_cpu(Variable(np.ones(2)))
    with pytest.raises(TypeError, match="got object"):
        hnn.get_device("@numpy").send(object())
    a = np.ones(2)
    assert hnn.get_device("@numpy").send(Variable(a)) is a and hnn.cuda.to_cpu(a) is a and hnn.cuda.to_cpu(np.float32(1)).shape == ()


def test_modules_at_the_paths_of_chainer():
    assert importlib.import_module("hybridnn.utils.experimental").experimental is utils.experimental
    assert importlib.import_module("hybridnn.utils.nondeterministic").nondeterministic is utils.nondeterministic
    assert importlib.import_module("hybridnn.testing.unary_math_function_test").unary_math_function_unittest is testing.unary_math_function_unittest
    assert importlib.import_module("hybridnn.optimizer_hooks.gradient_noise").exponential_decay_noise is exponential_decay_noise
    assert issubclass(hnn.warnings.PerformanceWarning, RuntimeWarning)
    assert (hnn.backend.cuda, hnn.backend.intel64) == (hnn.backends.cuda, hnn.backends.intel64)
    assert hnn.backends.intel64.Intel64Device is hnn.backend.Intel64Device and not hnn.types.TYPE_CHECKING


@pytest.mark.parametrize("place", ["function_hooks.cuda_profile.CUDAProfileHook", "function_hooks.cupy_memory_profile.CupyMemoryProfileHook",
                                   "links.caffe.CaffeFunction", "links.caffe.caffe_function.CaffeFunction",
                                   "links.theano.theano_function.TheanoFunction", "exporters.caffe.export",
                                   "functions.pooling.pooling_nd_kernel.PoolingNDKernelForward", "utils.conv_nd_kernel.Im2colNDKernel"])
def test_what_is_not_taken_over_is_there_and_says_so(place):
    module, _, name = place.rpartition(".")
    with pytest.raises(RuntimeError, match=r"is not part of hybridnn\n  hint: "):
        getattr(importlib.import_module(f"hybridnn.{module}"), name)(None, None)


def test_nodes_along_axes_check_these_when_they_are_made():
    from hybridnn.functions.math import average, logsumexp, minmax, prod, sum
    for cls in (minmax.Max, minmax.Min, prod.Prod, sum.Sum, logsumexp.LogSumExp, average.Mean):
        for axis in ([0], (1, "x"), 1.5):
            with pytest.raises(TypeError, match=f"{cls.__name__}: expected axis"):
                cls(axis)
        with pytest.raises(ValueError, match="duplicate"):
            cls((0, 0))
    for cls in (minmax.ArgMax, minmax.ArgMin):
        assert cls(1).apply((np.array([[1., 3., 2.]]),))[0].array == (1 if cls is minmax.ArgMax else 0)
        with pytest.raises(TypeError, match=f"{cls.__name__}: expected axis"):
            cls((0, 1))
    y, = minmax.Max((0, 1), keepdims=True).apply((np.array([[1., 3., 2.]]),))
    assert y.array.tolist() == [[3.]]


def test_former_helpers_of_arrays_warn():
    for name, x, y in (("as_vec", np.ones((2, 3)), (6,)), ("as_mat", np.ones((2, 3, 4)), (2, 12)), ("empty_like", np.ones((2, 3)), (2, 3))):
        with pytest.warns(DeprecationWarning, match=name):
            assert getattr(utils.array, name)(x).shape == y


def test_places_of_other_libraries_do_not_exist():
    for x in (Variable(np.ones(2)), L.Linear(2, 2)):
        x.from_chx()
        for move in (x.to_chx, x.to_intel64):
            with pytest.raises(RuntimeError, match="is not part of hybridnn"):
                move()


class Ranks(hnn.FunctionHook):
    name = "Ranks"

    def __init__(self):
        self.seen = []

    def forward_postprocess(self, function, in_data):
        self.seen.append((function.label, function.rank, function.outputs))

    def backward_preprocess(self, function, in_data, out_grad):
        self.seen.append((function.label, function.rank, len(function.outputs)))


def test_hooks_see_ranks():
    x = Variable(np.arange(6.0))
    with Ranks() as hook:
        F.sum(F.exp(x)).backward()
    assert [seen for seen in hook.seen if seen[0] in ("exp", "Sum")] == [("exp", 0, None), ("Sum", 0, None), ("Sum", 1, 1), ("exp", 0, 1)]


def test_an_operation_knows_its_outputs():
    x = Variable(np.arange(6.0))
    y = F.exp(x)
    assert [ref() for ref in y.creator.outputs] == [y.node]
    a, b = F.split_axis(x, 2, 0)
    node = a.creator
    assert [ref() for ref in node.outputs] == [a.node, b.node]
    del b
    assert [ref() for ref in node.outputs] == [a.node, None]


def test_settings_that_are_numpy_scalars_keep_the_dtype():
    with hnn.using_config("train", False):
        assert F.rrelu(np.ones(2, "f"), np.float64(0.1), np.float64(0.2)).dtype == "f"


class Halved(hnn.FunctionNode):
    def backward(self, indexes, grad_outputs):
        return grad_outputs[0] * 0.5, None


def test_a_step_back_through_a_function_by_hand():
    f, x, w = Halved(), Variable(np.zeros(2)), Variable(np.zeros(2))
    assert f.inputs is None
    f.inputs = x.node, w.node
    assert f.inputs == (x.node, w.node)
    found = {x.node: [Variable(np.ones(2))], w.node: []}
    hnn._backprop_utils.backprop_step(f, (0, 1), (Variable(np.full(2, 4.0)),), found, False)
    assert [[g.array.tolist() for g in gs] for gs in found.values()] == [[[3, 3]], []]
    assert hnn._backprop_utils._reduce([]) is None
    with pytest.raises(RuntimeError, match="NaN"):
        hnn._backprop_utils.backprop_step(f, (0, 1), (Variable(np.full(2, np.nan)),), {x.node: [], w.node: []}, True)


def test_no_function_has_a_mutable_default():
    for module in list(sys.modules.values()):
        if module.__name__.startswith("hybridnn"):
            scopes = [vars(module), *[vars(c) for c in vars(module).values() if inspect.isclass(c) and c.__module__.startswith("hybridnn")]]
            functions = [f for scope in scopes for f in scope.values() if inspect.isfunction(f) and f.__module__.startswith("hybridnn")]
            for f in functions:
                assert not any(isinstance(p.default, list | dict) for p in inspect.signature(f).parameters.values()), f


@pytest.mark.parametrize(("path", "name", "settings", "shapes", "function"), [
    ("array.concat", "Concat", (0,), ((2, 3), (1, 3)), lambda x, y: F.concat((x, y), 0)),
    ("array.stack", "Stack", (1,), ((2, 3), (2, 3)), lambda x, y: F.stack((x, y), 1)),
    ("array.broadcast", "BroadcastTo", ((2, 3),), ((3,),), lambda x: F.broadcast_to(x, (2, 3))),
    ("array.split_axis", "SplitAxis", ([1], 0), ((3, 2),), lambda x: F.split_axis(x, [1], 0)),
    ("array.get_item", "GetItem", (slice(1, None),), ((3, 2),), lambda x: x[1:]),
    ("array.transpose", "Transpose", (), ((2, 3),), lambda x: x.T),
    ("array.pad", "Pad", (1, "constant"), ((2, 3),), lambda x: F.pad(x, 1, "constant")),
    ("math.sum", "Sum", (1,), ((2, 3),), lambda x: F.sum(x, 1)),
    ("math.minmax", "Max", (1, True), ((2, 3),), lambda x: F.max(x, 1, True)),
    ("math.matmul", "MatMul", (True,), ((2, 3), (2, 4)), lambda x, y: F.matmul(x, y, True)),
    ("connection.linear", "LinearFunction", (), ((2, 3), (4, 3), (4,)), F.linear),
    ("loss.mean_squared_error", "MeanSquaredError", (), ((2, 3), (2, 3)), F.mean_squared_error),
    ("loss.huber_loss", "HuberLoss", (0.5,), ((2, 3), (2, 3)), lambda x, y: F.huber_loss(x, y, 0.5)),
    ("normalization.layer_normalization", "LayerNormalization", (), ((2, 3), (3,), (3,)), F.layer_normalization),
    ("array.im2col", "Im2Col", (2, 1, 1, False, 1), ((1, 2, 4, 4),), lambda x: F.im2col(x, 2, 1, 1)),
    ("array.permutate", "Permutate", (np.array([1, 0]), 0, False), ((2, 3),), lambda x: F.permutate(x, np.array([1, 0]))),
    ("array.resize_images", "ResizeImages", ((3, 5), "nearest", True), ((1, 2, 4, 4),), lambda x: F.resize_images(x, (3, 5), mode="nearest")),
    ("array.scatter_add", "ScatterAdd", ((np.array([0, 0]),),), ((2, 3), (2, 3)), lambda x, y: F.scatter_add(x, (np.array([0, 0]),), y)),
    ("array.where", "Where", (np.array([True, False]),), ((2,), (2,)), lambda x, y: F.where(np.array([True, False]), x, y)),
    ("math.einsum", "EinSum", ("@ij,@jk", "@ik"), ((2, 2, 3), (2, 3, 2)), lambda x, y: F.einsum("...ij,...jk->...ik", x, y)),
    ("math.fft", "FFT", ("ifft",), ((4,), (4,)), lambda x, y: F.ifft((x, y))),
    ("normalization.group_normalization", "GroupNormalization", (2,), ((2, 4, 3), (4,), (4,)), lambda x, g, b: F.group_normalization(x, 2, g, b)),
    ("pooling.unpooling_nd", "UnpoolingND", (3, 2), ((1, 1, 2, 2, 2),), lambda x: F.unpooling_nd(x, 2)),
    ("rnn.lstm", "LSTM", (), ((2, 3), (2, 12)), F.lstm)])
def test_further_functions_as_nodes(path, name, settings, shapes, function):
    made = getattr(importlib.import_module(f"hybridnn.functions.{path}"), name)(*settings)
    rng = np.random.default_rng(0)
    xs = [Variable(rng.normal(size=s)) for s in shapes]
    ys = made.apply(tuple(xs))
    expected = function(*xs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert made.label == name and all(y.creator is made for y in ys)
    for y, e in zip(ys, expected, strict=True):
        np.testing.assert_allclose(y.array, e.array, rtol=1e-12)
    weights = [rng.normal(size=y.shape) for y in ys]
    mine, theirs = [hnn.grad([sum([F.sum(y * w) for y, w in zip(out, weights, strict=True)])], xs) for out in (ys, expected)]
    for g, e in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(g.array, e.array, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("path", "name", "settings", "shapes", "function"), [
    ("loss.hinge", "Hinge", ("L2", "no"), ((2, 3),), lambda x, t: F.hinge(x, t, "L2", "no")),
    ("evaluation.binary_accuracy", "BinaryAccuracy", (), ((2,),), F.binary_accuracy)])
def test_functions_that_are_called(path, name, settings, shapes, function):
    x, t = Variable(np.random.default_rng(0).normal(size=shapes[0])), np.array([0, 1], np.int32)
    made = getattr(importlib.import_module(f"hybridnn.functions.{path}"), name)(*settings)
    np.testing.assert_array_equal(made(x, t).array, function(x, t).array)


@pytest.mark.parametrize(("path", "name", "label"), [("math.cholesky", "Cholesky", "cholesky"), ("math.det", "BatchDet", "det"),
                                                     ("loss.hinge", "Hinge", "Hinge"), ("math.polygamma", "PolyGamma", "polygamma")])
def test_labels_of_functions_as_nodes(path, name, label):
    assert getattr(importlib.import_module(f"hybridnn.functions.{path}"), name)().label == label


def test_unpooling_as_a_node_counts_axes():
    from hybridnn.functions.pooling.unpooling_nd import UnpoolingND
    with pytest.raises(InvalidType, match="2 spatial axes"):
        UnpoolingND(2, 2).apply((np.ones((1, 1, 3)),))


def test_average_as_a_node_takes_axis_and_keepdims():
    from hybridnn.functions.math.average import Mean
    x = Variable(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(Mean((1,), True).apply((x,))[0].array, [[1], [4]])


@pytest.mark.parametrize("function", [lambda x, t: F.cast(t, "float64"), F.sigmoid_cross_entropy, lambda x, t: F.sigmoid_cross_entropy(x, t, reduce="no"),
                                      lambda x, t: x * F.cast(t, "float64")])
def test_integers_that_are_cast_have_no_gradient(function):
    x, t = Variable(np.ones((2, 3))), Variable(np.ones((2, 3), np.int32))
    y = function(x, t)
    y.grad = np.ones_like(y.array)
    y.backward()
    assert t.grad is None
    assert hnn.grad([function(x, t)], [t], [Variable(y.array)]) == [None]


@pytest.mark.parametrize(("function", "shapes"), [
    (lambda x: F.im2col(x, 3, 1, 1), [(0, 3, 4, 5)]), (lambda x: F.spatial_transformer_grid(x, (4, 5)), [(0, 2, 3)]),
    (F.local_convolution_2d, [(0, 2, 5, 4), (3, 3, 2, 2, 3, 3)]), (F.simplified_dropconnect, [(0, 4), (2, 4)]),
    (lambda W: F.embed_id(np.array([1, 2]), W), [(5, 0)]), (lambda x: F.unpooling_2d(x, 2), [(2, 3, 3, 0)])])
def test_gradients_of_nothing(function, shapes):
    xs = [Variable(np.zeros(s, np.float32)) for s in shapes]
    y = function(*xs)
    assert y.size == 0
    for x, g in zip(xs, hnn.grad([y], xs, [Variable(np.zeros(y.shape, y.dtype))]), strict=True):
        assert g.shape == x.shape and not g.array.any()


def test_scatter_add_keeps_the_dtype_of_floats():
    a, b = Variable(np.ones(3, np.float16)), Variable(np.ones(2, np.float32))
    y = F.scatter_add(a, [0, 0], b)
    np.testing.assert_array_equal(y.array, [3, 1, 1])
    assert y.dtype == np.float16 and [g.dtype for g in hnn.grad([y], [a, b], [Variable(np.ones(3, np.float16))])] == [np.float16, np.float32]


@pytest.mark.parametrize(("function", "shapes"), [
    (lambda x, y: F.stack((x, y)), [(), ()]), (lambda x: F.pad(x, 1, mode="constant"), [()]), (lambda x, y: F.scatter_add(x, (0, 1), y), [(2, 3), ()]),
    (lambda x: F.get_item(x, (0, 1)) * 2, [(2, 3)])])
def test_traced_functions_put_single_elements_in_place(function, shapes):
    def f(*xs):
        y = function(*xs)
        F.sum(y * y).backward()
        return y
    traced = hnn.trace(f)
    for k in range(4):
        mine, theirs = [[Variable(np.random.default_rng(k).normal(size=s)) for s in shapes] for _ in range(2)]
        np.testing.assert_allclose(traced(*mine).array, f(*theirs).array)
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a.grad, b.grad)


def test_traced_separation_into_nothing():
    traced = hnn.trace(lambda x: F.separate(x, axis=1))
    for _ in range(3):
        assert traced(Variable(np.zeros((2, 0)))) == ()


def test_unpooling_needs_padding_of_zero_or_more():
    with pytest.raises(InvalidType, match="pad of 0 or more"):
        F.unpooling_2d(np.zeros((1, 1, 2, 2)), 3, 2, -1)


def test_traced_einsum_sums_in_the_dtype_of_the_result():
    traced = hnn.trace(lambda a, b: F.einsum("ij,k->i", a, b))
    rng = np.random.default_rng(0)
    for _ in range(5):
        a, b = rng.normal(size=(2, 30)).astype(np.float16), rng.normal(size=4).astype(np.float32)
        np.testing.assert_allclose(traced(Variable(a), Variable(b)).array, np.einsum("ij,k->i", a, b), rtol=1e-5)


def test_a_type_check_of_ones_own_says_what_it_expected_and_saw():
    class Even(hnn.FunctionNode):
        def check_type_forward(self, in_types):
            if type_check.eval(in_types[0].shape[0]) % 2:
                raise type_check.InvalidType("an even length", "an odd one")

        def forward(self, inputs):
            return inputs
    Even().apply((np.ones(2),))
    with pytest.raises(type_check.InvalidType, match=r"(?s)an even length.*an odd one") as error:
        Even().apply((np.ones(3),))
    assert (error.value.expect, error.value.actual) == ("an even length", "an odd one")
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_a_forward_says_what_it_is_to_return():
    class Wrong(hnn.FunctionNode):
        def forward(self, inputs):
            return (object(),)

    with pytest.raises(TypeError, match="forward output must be a tuple of ndarrays"):
        Wrong().apply((hnn.Variable(np.zeros(2, np.float32)),))


class Weighted(hnn.FunctionNode):
    """2 a + 3 b of what is there of a and b."""
    weights = 2, 3

    def forward(self, inputs):
        return sum(w * x for w, x in zip(self.weights, inputs, strict=True) if x is not None),

    def backward(self, target_input_indexes, grad_outputs):
        return tuple(grad_outputs[0] * self.weights[i] for i in target_input_indexes)


class Forked(hnn.FunctionNode):
    """2 x and 3 x; the gradient is another function of the outputs' gradients, of which one may be missing."""

    def forward(self, inputs):
        return inputs[0] * 2, inputs[0] * 3

    def backward(self, target_input_indexes, grad_outputs):
        return Weighted().apply(grad_outputs)


class OldWeighted(hnn.Function):
    def forward(self, inputs):
        return Weighted().forward(inputs)

    def backward(self, inputs, grad_outputs):
        return 2 * grad_outputs[0], None


def test_a_function_of_ones_own_may_be_applied_to_none():
    x = Variable(np.ones(3))
    y, = Weighted().apply((x, None))
    y.grad = np.ones(3)
    assert [node.shape for node in y.creator.inputs] == [(3,), None] and y.creator.inputs[1].data is None
    y.backward()
    np.testing.assert_array_equal(x.grad, np.full(3, 2.0))
    np.testing.assert_array_equal(Weighted().apply((None, np.ones(2)))[0].array, [3, 3])
    x.cleargrad()
    y = OldWeighted()(x, None)
    y.grad = np.ones(3)
    y.backward()
    np.testing.assert_array_equal(x.grad, np.full(3, 2.0))


@pytest.mark.parametrize("wrap", [lambda f: f, hnn.trace])
def test_a_gradient_of_ones_own_may_be_a_function_of_missing_gradients(wrap):
    def step(x):
        x.cleargrad()
        doubled, tripled = Forked().apply((x,))
        loss = F.sum(tripled * tripled)
        gx, = hnn.grad([loss], [x], enable_double_backprop=True)
        F.sum(gx * gx).backward()
        return gx

    step = wrap(step)
    for k in range(4):
        x = Variable(np.array([1.0, 2.0 + k]))
        np.testing.assert_allclose(step(x).array, 18 * x.array)
        np.testing.assert_allclose(x.grad, 2 * 18 ** 2 * x.array)


def test_functions_of_ones_own_tell_memory_layouts_as_in_chainer():
    class Laid(hnn.FunctionNode):
        def check_layout_forward(self, inputs):
            self.seen = [x.layout for x in inputs]

        def forward(self, inputs):
            layout, = self.input_layouts
            self.output_layouts = (layout,)
            return inputs

    f = Laid()
    with pytest.raises(AssertionError, match="has not been applied"):
        f.input_layouts
    f.apply((Variable(np.ones((1, 2, 3, 4))),))
    assert f.input_layouts == f.output_layouts == (None,) and f.seen == [None]
    with pytest.raises(hnn.errors.BackendError, match="memory layout"):
        f.output_layouts = (hnn.memory_layouts.CUDNN_CHANNEL_LAST_X,)
    layouts = hnn.memory_layouts
    last = layouts.CUDNN_CHANNEL_LAST_X
    assert layouts._transpose_shape((1, 2, 3, 4), None, None) == (1, 2, 3, 4)
    assert layouts._transpose_shape((1, 2, 3, 4), None, last) == (1, 3, 4, 2)
    assert layouts._transpose_array(np.ones((1, 3, 4, 2)), last, None).shape == (1, 2, 3, 4)
    for there, back in ((None, last), (last, None)):
        axes = [layouts._get_layout_transpose_axes(4, there, back, inverse) for inverse in (False, True)]
        assert [axes[0][i] for i in axes[1]] == [0, 1, 2, 3]


@pytest.mark.parametrize("reduce", ["mean", "no"])
def test_connectionist_temporal_classification_as_an_object(reduce):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=(2, 4)) for _ in range(5)]
    t, n_inputs, n_labels = np.array([[1, 2], [2, 3]], np.int32), np.array([5, 4], np.int32), np.array([2, 1], np.int32)
    f = F.loss.ctc.ConnectionistTemporalClassification(0, reduce)
    expected = F.connectionist_temporal_classification(xs, t, 0, n_inputs, n_labels, reduce)
    y = f(n_inputs, n_labels, t, *xs)
    np.testing.assert_allclose(y.array, expected.array)
    inputs = (n_inputs, n_labels, t, *xs)
    gradient_check.check_backward(F.loss.ctc.ConnectionistTemporalClassification(blank_symbol=0, reduce=reduce), inputs, np.ones(y.shape), atol=1e-4)


def test_a_function_node_is_applied_to_a_tuple():
    x = Variable(np.ones((2, 2)))
    with pytest.raises(RuntimeError, match=r"Weighted is a FunctionNode.*\n.*apply\(\(x,\)\)"):
        Weighted()(x, x)
    for inputs in (x, x.array):     # not its rows
        with pytest.raises(TypeError, match=r"(?s)expected a tuple of inputs.*apply\(\(x,\)\)"):
            Weighted().apply(inputs)


def test_what_is_retained_is_counted_from_the_end_too():
    class Product(hnn.FunctionNode):
        def forward(self, inputs):
            self.retain_inputs((-1, -2))
            self.retain_outputs((-1,))
            return inputs[0] * inputs[1],

        def backward(self, target_input_indexes, grad_outputs):
            second, first = self.get_retained_inputs()
            product, = self.get_retained_outputs()
            np.testing.assert_array_equal(product.array, first.array * second.array)
            gradients = grad_outputs[0] * second, grad_outputs[0] * first
            return tuple(gradients[i] for i in target_input_indexes)

    xs = [Variable(np.array([1.0, 2.0])), Variable(np.array([3.0, 4.0]))]
    F.sum(Product().apply(xs)[0]).backward()
    np.testing.assert_array_equal([x.grad for x in xs], [[3, 4], [1, 2]])
    with pytest.raises(IndexError):
        class_with = type("Beyond", (Product,), {"forward": lambda self, inputs: (self.retain_inputs((2,)), inputs[:1])[1]})
        F.sum(class_with().apply(xs)[0]).backward()


def test_outputs_of_an_elementwise_function_have_one_shape():
    class Uneven(hnn.FunctionNode):
        is_elementwise = True

        def forward(self, inputs):
            return inputs[0], inputs[0][:1]

    with pytest.raises(RuntimeError, match=r"(?s)elementwise function.*\(3,\), \(1,\)"):
        Uneven().apply((np.ones(3),))


def test_type_checks_take_arrays_that_are_no_inputs():
    class Chosen(hnn.FunctionNode):
        def __init__(self, condition):
            self.condition = condition

        def check_type_forward(self, in_types):
            condition = type_check._make_variable_from_array(self.condition, "condition")
            type_check.expect(condition.dtype == np.bool_, condition.shape == in_types[0].shape)

        def forward(self, inputs):
            return np.where(self.condition, *inputs),

    x = np.arange(4.0)
    np.testing.assert_array_equal(Chosen(x > 1).apply((x, -x))[0].array, [0, -1, 2, 3])
    with pytest.raises(type_check.InvalidType, match=r"condition.dtype == .*bool"):
        Chosen(x).apply((x, -x))
    with pytest.raises(type_check.InvalidType, match="condition as an array"):
        Chosen([True]).apply((x, -x))


def test_backward_of_several_elements_needs_a_gradient_only_where_one_is_wanted():
    x = hnn.Variable(np.zeros(10, np.float32))
    y = F.identity(x)
    with pytest.raises(TypeError, match=r"set y\.grad"):
        y.backward()
    x.node._requires_grad = False
    y.backward()
    assert x.grad is None


@pytest.mark.parametrize("wrap", [lambda f: f, hnn.trace])
def test_an_array_of_another_dtype_decides_the_dtype_of_gradients(wrap):
    model = L.Linear(3, 2)

    def step(x):
        model.cleargrads()
        F.sum(model(x) ** 2).backward()

    step, x = wrap(step), np.ones((2, 3), np.float32)
    step(x)
    model.W.array = model.W.array.astype(np.float64)
    model.b.array = model.b.array.astype(np.float64)
    assert model.W.node.dtype == np.float64
    for _ in range(3):
        step(x.astype(np.float64))
        assert model.W.grad.dtype == model.b.grad.dtype == np.float64


# ------------------------------------------------------------------------------------------------ configuration while backpropagating

class Asking(hnn.FunctionNode):
    """Doubles; ``inside`` is called in the middle of the backward pass."""

    def __init__(self, inside):
        self.inside = inside

    def forward(self, inputs):
        return inputs[0] * 2,

    def backward(self, target_input_indexes, grad_outputs):
        self.inside()
        return grad_outputs[0] * 2,


def test_the_configuration_says_whether_a_backward_pass_is_differentiated():
    seen = []
    for double in (False, True):
        x = Variable(np.array(1.0))
        y, = Asking(lambda: seen.append(hnn.config.enable_backprop)).apply((x,))
        y.backward(enable_double_backprop=double)
        hnn.grad([y], [x], enable_double_backprop=double)
    assert seen == [False, False, True, True] and hnn.config.enable_backprop


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_blocks_inside_a_backward_pass_end_where_they_end(inner, double):
    def inside():
        with hnn.using_config("enable_backprop", inner):
            assert hnn.config.enable_backprop is inner
        assert hnn.config.enable_backprop is double
    x, g = Variable(np.array(2.0)), Variable(np.array(3.0))
    y, = Asking(inside).apply((x * x,))
    y.grad_var = g
    y.backward(enable_double_backprop=double)
    assert x.grad == 24 and (x.grad_var.creator is not None) == double
    if double:
        first = x.grad_var
        x.cleargrad()
        first.backward()
        assert x.grad == 12 and g.grad == 8


def test_calls_that_read_whether_graphs_are_kept_skip_python():
    @hnn.trace
    def scaled(x):
        return F.sum(F.tanh(x) * (2 if hnn.config.enable_backprop else 3))
    x = Variable(np.ones(3))
    for _ in range(20):
        kept = scaled(x)
    with hnn.no_backprop_mode():
        cut = scaled(x)
    assert scaled.stats.python_skipped
    assert kept.creator is not None and cut.creator is None and np.isclose(float(cut) / float(kept), 1.5)


@pytest.mark.parametrize(("node", "shape"), [
    (F.activation.relu.ReLU, (2, 3)), (lambda: F.pooling.unpooling_2d.Unpooling2D(2, outsize=(4, 2), cover_all=False), (2, 3, 2, 1))])
def test_functions_as_nodes_are_differentiated_twice(node, shape):
    x = np.random.uniform(0.5, 1, shape)
    f = lambda v: node().apply((v,))
    gy = np.random.uniform(-1, 1, f(x)[0].shape)
    gradient_check.check_double_backward(f, x, gy, x, dtype="d")


# ---------------------------------------------------------------------------------------------------------------- odds and ends

def test_several_arrays_are_not_tiled():
    x = np.ones(2)
    for pair in ((x, x), [x, x]):
        with pytest.raises(InvalidType, match="stack"):
            F.tile(pair, 2)


def test_errors_of_test_cases():
    for error in (testing.FunctionTestError, testing.LinkTestError):
        error.check(True, "not shown")
        with pytest.raises(error, match=r"^shown$"):
            error.check(False, "shown")
        with pytest.raises(error, match=r"front\n.*behind"), error.raise_if_fail("front", KeyError):
            raise KeyError("behind")
        with pytest.raises(ValueError, match="behind"), error.raise_if_fail("front"):
            raise ValueError("behind")
        with pytest.raises(error) as caught:
            error.fail("front", ValueError())
        assert isinstance(caught.value.__cause__, ValueError)


def test_a_graph_is_drawn_with_the_usual_styles():
    y = F.exp(Variable(np.ones(1), name="first"))
    built = hnn.computational_graph.build_computational_graph([y])
    again = hnn.computational_graph.ComputationalGraph(built.nodes, built.edges)
    assert again.dump() == built.dump() and "octagon" in again.dump()
    with pytest.raises(ValueError, match="rankdir"):
        hnn.computational_graph.ComputationalGraph([], [], rankdir="XY")


def test_the_only_layout_of_memory():
    x = Variable(np.ones(1))
    assert x.layout is None and x.as_layout(None) is x
    with pytest.raises(RuntimeError, match="cuDNN"):
        x.as_layout("CUDNN_CHANNEL_LAST_X")


def test_graphs_are_dropped_after_iterations_that_kept_them():
    unchain = hnn.training.extensions.unchain_variables()
    with hnn.using_config("keep_graph_on_report", True):
        unchain.initialize(None)
    assert unchain.trigger(None) and not unchain.trigger(None)
    with hnn.using_config("keep_graph_on_report", True):
        assert not unchain.trigger(None)
    assert unchain.trigger(None)


def test_states_by_name():
    c, h = Variable(np.ones((1, 2), "f")), Variable(np.zeros((1, 2), "f"))
    link = L.LSTM(1, 2)
    link.set_state(h=h, c=c)
    assert link.c is c and link.h is h
    gru = L.StatefulGRU(1, 2)
    gru.set_state(h=h)
    assert gru.h is h
    with pytest.raises(TypeError):
        gru.set_state(c, h)
