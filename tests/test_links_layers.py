"""What links promise beyond Chainer's numbers: lazy shapes, states, references for the links that Chainer lacks, errors."""
import copy

import link_cases
import numpy as np
import pytest
from link_cases import floats, ints

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import initializers, links, serializers, testing
from hybridnn.errors import InvalidType, UninitializedParameterError
from hybridnn.links.vision import BottleneckA, BuildingBlock, VGGLayers
from hybridnn.utils.imgproc import oversample

CASES = link_cases.cases(hnn, links, initializers)
LINKS = [name for name in CASES if name not in link_cases.INITIALIZED]


def arrays(x):
    return [np.asarray(getattr(y, "array", y)) for y in link_cases.leaves(x)]


@pytest.mark.parametrize("name", LINKS)
def test_a_saved_link_computes_the_same(name, tmp_path):
    make, call = CASES[name]
    first, second = make(), make()
    call(first)
    serializers.save_npz(tmp_path / "link", first)
    serializers.load_npz(tmp_path / "link", second)
    for link in (first, second):
        if hasattr(link, "reset_state"):
            link.reset_state()
    outputs = []
    with hnn.using_config("train", False):
        for link in (first, second):
            np.random.seed(1)
            outputs.append(arrays(call(link)))
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", LINKS)
def test_a_copied_link_computes_the_same(name):
    make, call = CASES[name]
    link = make()
    call(link)
    outputs = []
    for mode in ("share", "copy"):
        copied = link.copy(mode)
        if mode == "share":
            assert all(p.array is q.array for p, q in zip(link.params(), copied.params(), strict=True))
        if hasattr(copied, "reset_state"):
            copied.reset_state()
        np.random.seed(1)
        with hnn.using_config("train", False):
            outputs.append(arrays(call(copied)))
    for a, b in zip(*outputs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert str(link).startswith(type(link).__name__ + "(")


@pytest.mark.parametrize("make, shape, W", [
    (lambda: L.Linear(3), (2, 4, 5), (3, 20)), (lambda: L.Linear(None, 3), (2, 4), (3, 4)),
    (lambda: L.Convolution2D(4, 3), (2, 5, 6, 6), (4, 5, 3, 3)),
    (lambda: L.Convolution2D(None, 4, (1, 3), groups=2), (2, 6, 6, 6), (4, 3, 1, 3)),
    (lambda: L.Convolution1D(4, 3), (2, 5, 6), (4, 5, 3)),
    (lambda: L.ConvolutionND(3, None, 4, 2), (2, 3, 4, 4, 4), (4, 3, 2, 2, 2)),
    (lambda: L.Deconvolution2D(4, 3), (2, 5, 6, 6), (5, 4, 3, 3)),
    (lambda: L.DeconvolutionND(1, None, 4, 3), (2, 5, 6), (5, 4, 3)),
    (lambda: L.DilatedConvolution2D(4, 3), (2, 5, 6, 6), (4, 5, 3, 3)),
    (lambda: L.DepthwiseConvolution2D(None, 2, 3), (2, 5, 6, 6), (2, 5, 3, 3)),
    (lambda: L.LocalConvolution2D(None, 2, ksize=3), (1, 2, 5, 4), (2, 3, 2, 2, 3, 3))])
def test_the_first_call_gives_the_shape(make, shape, W):
    link = make()
    assert not link.W.is_initialized
    with pytest.raises(UninitializedParameterError, match="W has no array yet"):
        _ = link.W.shape
    link(floats(*shape))
    assert link.W.shape == W


@pytest.mark.parametrize("make, shape, text", [
    (lambda: L.Convolution2D(None, 4, 3), (2, 5), "input with 4 axes"),
    (lambda: L.ConvolutionND(3, None, 4, 3), (2, 3, 5, 5), "input with 5 axes"),
    (lambda: L.Convolution2D(None, 4, 3, groups=3), (2, 6, 5, 5), "output channels divisible"),
    (lambda: L.GroupNormalization(2), (3,), "at least two axes"),
    (lambda: L.Convolution2D(None, 4, 3, groups=4), (2, 6, 5, 5), "input channels divisible"),
    (lambda: L.Linear(3, 2), (2, 4), "linear"),
    (lambda: L.BatchNormalization(3), (2, 4), "gamma"), (lambda: L.MultiHeadAttention(4, 2), (2, 4), "three axes"),
    (lambda: L.Bias(1), (2, 3), "two arguments")])
def test_inputs_that_do_not_fit(make, shape, text):
    with pytest.raises(InvalidType, match=text):
        make()(floats(*shape))


@pytest.mark.parametrize("make", [
    lambda: L.Bilinear(2, 3, 4, initial_bias=1), lambda: L.Scale(1, None, True), lambda: L.InceptionBN(3, 2, 3, 4, 2, 3, "avg"),
    lambda: L.MLPConvolution2D(3, (), 3), lambda: L.NaryTreeLSTM(2, 2, 0), lambda: L.DecorrelatedBatchNormalization(5, 2),
    lambda: L.MultiHeadAttention(5, 2), lambda: L.ConvolutionND(3, 2, 2, (3, 3)),
    lambda: L.Linear.from_params(floats(2, 3), floats(3)),
    lambda: L.Maxout(3, 2, 2, initialW=floats(4, 3)), lambda: L.WeightNorm(hnn.Chain()), lambda: L.VGG16Layers("auto"),
    lambda: VGGLayers(None, 17),
    lambda: L.BinaryHierarchicalSoftmax.create_huffman_tree({}), lambda: L.BinaryHierarchicalSoftmax(3, (0, (1, 2, 3)))])
def test_arguments_that_do_not_fit(make):
    with pytest.raises(ValueError):
        make()


def test_other_misuse():
    with pytest.raises(NotImplementedError, match="'max' or 'avg'"):
        L.InceptionBN(3, 0, 3, 4, 2, 3, "sum")
    with pytest.raises(RuntimeError, match="size or axis"):
        L.BatchNormalization()
    with pytest.raises(NotImplementedError, match="no from_params"):
        L.PReLU.from_params(1)
    with pytest.raises(hnn.errors.InvalidType, match="as integers"):
        L.BinaryHierarchicalSoftmax(3, ((0, 1), 2))(floats(2, 3), floats(2))


class TestFromParams:
    def test_linear_and_embedding(self):
        W, b = floats(2, 3), floats(2)
        link = L.Linear.from_params(W, b)
        np.testing.assert_array_equal(link(floats(1, 3)).array, F.linear(floats(1, 3), W, b).array)
        assert L.Linear.from_params(hnn.Variable(W), nobias=True).b is None
        assert L.EmbedID.from_params(W, ignore_label=-1).ignore_label == -1

    def test_convolutions(self):
        W, b = floats(4, 2, 3, 3), floats(4)
        link = L.Convolution2D.from_params(W, b, stride=2, groups=2)
        x = floats(1, 4, 7, 7)
        np.testing.assert_array_equal(link(x).array, F.convolution_2d(x, W, b, stride=2, groups=2).array)
        nd = L.ConvolutionND.from_params(W, b, pad=1)
        assert nd.ndim == 2 and nd(floats(1, 2, 5, 5)).shape == (1, 4, 5, 5)


class TestBatchNormalization:
    def test_running_statistics(self):
        bn, x = L.BatchNormalization(3, decay=.8), floats(5, 3, 4)
        mean, var = bn.avg_mean, bn.avg_var
        bn(x)
        assert bn.avg_mean is mean and bn.avg_var is var
        np.testing.assert_allclose(mean, .2 * x.mean(axis=(0, 2)), rtol=1e-5)
        np.testing.assert_allclose(var, .8 + .2 * x.var(axis=(0, 2), ddof=1), rtol=1e-5)
        with hnn.using_config("train", False):
            y = bn(x).array
        np.testing.assert_allclose(y, (x - mean[:, None]) / np.sqrt(var[:, None] + bn.eps), rtol=1e-4, atol=1e-6)

    def test_finetuning_averages(self):
        bn = L.BatchNormalization(2)
        batches = [floats(6, 2) + i for i in range(3)]
        bn.start_finetuning()
        for x in batches:
            bn(x, finetune=True)
        assert bn.N == 3
        np.testing.assert_allclose(bn.avg_mean, np.mean([x.mean(0) for x in batches], axis=0), rtol=1e-5)

    def test_recomputation_leaves_the_statistics(self):
        bn = L.BatchNormalization(2)
        with hnn.using_config("in_recomputing", True):
            bn(floats(4, 2))
        assert (bn.avg_mean == 0).all()

    def test_float16_keeps_float32_statistics(self):
        with hnn.using_config("dtype", hnn.mixed16):
            bn = L.BatchNormalization(2)
        assert bn(floats(4, 2).astype("float16")).dtype == np.float16 and bn.avg_mean.dtype == bn.gamma.dtype == np.float32

    def test_initial_statistics(self):
        bn = L.BatchNormalization(axis=(0, -1), initial_avg_mean=2, initial_avg_var=initializers.Constant(3))
        assert bn.avg_mean is None and str(bn).startswith("BatchNormalization(size=None")
        with hnn.using_config("train", False):
            bn(floats(4, 2, 3))
        assert (bn.avg_mean == 2).all() and bn.avg_var.shape == (2,) and (bn.avg_var == 3).all()


class TestWrongArguments:
    """What Chainer asserts fails as an assertion too, with a text."""

    @pytest.mark.parametrize("make", [
        lambda: L.Bias(1, (2,))(floats(3, 2), floats(2)), lambda: L.Scale(1, None)(floats(3, 2)),
        lambda: L.Bilinear(2, 3, 4, initialW=floats(3, 3, 4)), lambda: L.Bilinear(2, 3, 4, initial_bias=(floats(2, 4), floats(3, 4), floats(5))),
        lambda: L.InceptionBN(3, 3, 2, 3, 2, 3, "max", None), lambda: L.InceptionBN(3, 3, 2, 3, 2, 3, "avg", 3, stride=2)])
    def test_assertions(self, make):
        for error in (AssertionError, ValueError):
            with pytest.raises(error, match="expected"):
                make()

    def test_arguments_of_the_past(self):
        with pytest.raises(ValueError, match="using_config"):
            L.BatchNormalization(2)(floats(3, 2), test=True)
        with pytest.raises(ValueError, match="conv_init"):
            L.MLPConvolution2D(3, (2, 2), 1, wscale=1)
        for make in (lambda: L.BatchNormalization(2)(floats(3, 2), tset=True), lambda: L.MLPConvolution2D(3, (2, 2), 1, scale=1)):
            with pytest.raises(TypeError, match="unexpected"):
                make()


class TestStates:
    @pytest.mark.parametrize("make, names", [
        (lambda: L.LSTM(3, 2), "ch"), (lambda: L.GRU(3, 2), "h"), (lambda: L.StatefulGRU(3, 2), "h"),
        (lambda: L.StatefulMGU(3, 2), "h"),
        (lambda: L.StatefulPeepholeLSTM(3, 2), "ch"), (lambda: L.StatefulZoneoutLSTM(3, 2), "ch")])
    def test_set_and_reset(self, make, names):
        link, x = make(), floats(4, 3)
        with hnn.using_config("train", False):
            first = link(x).array
            second = link(x).array
            assert all(getattr(link, n).shape == (4, 2) for n in names)
            link.reset_state()
            assert all(getattr(link, n) is None for n in names)
            np.testing.assert_array_equal(link(x).array, first)
            state = [getattr(link, n) for n in names]
            link.reset_state()
            link.set_state(*state)
            np.testing.assert_array_equal(link(x).array, second)
        with pytest.raises(TypeError, match="should be a Variable"):
            link.set_state(*[floats(4, 2)] * len(names))
        with pytest.raises(TypeError, match="set_state"):
            link.set_state()

    def test_truncated_backpropagation(self):
        link, x = L.LSTM(3, 2), floats(4, 3)
        first = hnn.Variable(x)
        link(first)
        link.h.unchain_backward()
        link.c.unchain_backward()
        F.sum(link(x)).backward()
        assert first.grad is None

    def test_sequences_that_end(self):
        link, x = L.LSTM(3, 2), floats(4, 3)
        link(x)
        before = link.h.array
        assert link(x[:2]).shape == (2, 2) and link.h.shape == (4, 2)
        np.testing.assert_array_equal(link.h.array[2:], before[2:])
        assert link(x[:0]).shape == (0, 2) and link.h.shape == (4, 2)
        with pytest.raises(InvalidType, match="at most 4 rows"):
            link(floats(5, 3))

    def test_gru_takes_one_argument(self):
        with pytest.raises(ValueError, match="StatelessGRU"):
            L.GRU(3, 2)(floats(1, 2), floats(1, 3))

    def test_forget_bias(self):
        link = L.LSTM(3, 2, bias_init=5, forget_bias_init=7)
        np.testing.assert_array_equal(link.upward.b.array, [5, 5, 7, 5, 5, 5, 7, 5])
        assert link.lateral.b is None


def test_attention_over_an_empty_batch():
    assert L.MultiHeadAttention(4, 2)(np.zeros((0, 3, 4), "f")).shape == (0, 3, 4)


class TestSequences:
    @pytest.mark.parametrize("name", ["NStepLSTM", "NStepBiLSTM", "NStepGRU", "NStepBiGRU", "NStepRNNTanh", "NStepBiRNNReLU"])
    def test_order_and_batch_do_not_matter(self, name):
        link = getattr(L, name)(2, 4, 3, 0.)
        xs = [floats(3, 4), floats(5, 4) + 1, floats(1, 4)]
        states = 2 if "LSTM" in name else 1
        together = link(*[None] * states, xs)
        for i, x in enumerate(xs):
            alone = link(*[None] * states, [x])
            np.testing.assert_allclose(together[-1][i].array, alone[-1][0].array, rtol=1e-5, atol=1e-6)
            for a, b in zip(together[:-1], alone[:-1], strict=True):
                np.testing.assert_allclose(a.array[:, i], b.array[:, 0], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("name", ["NStepLSTM", "NStepBiLSTM", "NStepGRU", "NStepBiRNNTanh"])
    def test_a_sequence_without_steps_keeps_its_state(self, name):
        link = getattr(L, name)(2, 4, 3, 0.)
        directions, states = 1 + ("Bi" in name), 1 + ("LSTM" in name)
        xs, first = [floats(3, 4), floats(0, 4), floats(5, 4)], floats(2 * directions, 3, 3)
        *lasts, ys = link(*[first] * states, xs)
        *others, zs = link(*[first[:, [0, 2]]] * states, [xs[0], xs[2]])
        assert ys[1].shape == (0, 3 * directions) and ys[1].dtype == np.float32
        for a, b in zip([ys[0], ys[2]], zs, strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-6)
        for a, b in zip(lasts, others, strict=True):
            np.testing.assert_allclose(a.array[:, [0, 2]], b.array, rtol=1e-6)
            np.testing.assert_array_equal(a.array[:, 1], first[:, 1])
        link.cleargrads()
        F.sum(F.concat(ys, 0)).backward()
        assert all(np.isfinite(p.grad).all() for p in link.params())

    def test_shared_copies_use_their_own_parameters(self):
        link = L.NStepLSTM(1, 4, 3, 0.)
        copied = link.copy()
        assert copied.ws[0][0] is copied[0].w0 and copied.ws[0][0] is not link.ws[0][0]

    def test_wrong_input(self):
        for xs in (floats(3, 4), [], None):
            with pytest.raises(InvalidType, match="NStepGRU: expected sequences"):
                L.NStepGRU(1, 4, 3, 0.)(None, xs)


class TestTrees:
    def test_missing_children_are_zeros(self):
        link, c, h, x = L.NaryTreeLSTM(4, 3), floats(2, 3), floats(2, 3) + 1, floats(2, 4)
        zero = np.zeros((2, 3), "f")
        for a, b in zip(link(c, None, h, None, x), link(c, zero, h, zero, x), strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-6)
        child = L.ChildSumTreeLSTM(4, 3)
        for a, b in zip(child(c, None, h, None, x), child(c, zero, h, zero, x), strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-6)

    def test_any_number_of_children_in_any_order(self):
        link, x = L.ChildSumTreeLSTM(4, 3), floats(1, 4)
        cs, hs = [floats(1, 3) + i for i in range(3)], [floats(1, 3) - i for i in range(3)]
        for a, b in zip(link(*cs, *hs, x), link(*cs[::-1], *hs[::-1], x), strict=True):
            np.testing.assert_allclose(a.array, b.array, rtol=1e-5)

    def test_wrong_arguments(self):
        with pytest.raises(InvalidType, match="odd number"):
            L.ChildSumTreeLSTM(4, 3)(floats(1, 3), floats(1, 4))
        with pytest.raises(InvalidType, match="5 arguments"):
            L.NaryTreeLSTM(4, 3)(floats(1, 4))
        with pytest.raises(InvalidType, match="None for all"):
            L.NaryTreeLSTM(4, 3)(None, None, None, None, None)


class TestClassifier:
    def test_reports(self):
        model = L.Classifier(L.Linear(4, 3))
        with hnn.Reporter() as reporter:
            reporter.add_observer("main", model)
            loss = model(floats(3, 4), ints(0, 2, 1))
        assert set(reporter.observation) == {"main/loss", "main/accuracy"} and model.loss is loss
        assert float(reporter.observation["main/loss"]) == float(loss) and reporter.observation["main/loss"].creator is None
        model.compute_accuracy = False
        model(floats(3, 4), ints(0, 2, 1))
        assert model.accuracy is None

    def test_where_the_label_is(self):
        x, t = floats(3, 4), ints(0, 2, 1)
        predictor = L.Linear(4, 3)
        losses = [L.Classifier(predictor)(x, t), L.Classifier(predictor, label_key=0)(t, x),
                  L.Classifier(predictor, label_key=-2)(t, x),
                  L.Classifier(predictor, label_key="t")(x=x, t=t)]
        assert len({float(loss) for loss in losses}) == 1
        with pytest.raises(ValueError, match="Label key 2 is no position among 2"):
            L.Classifier(predictor, label_key=2)(x, t)
        with pytest.raises(ValueError, match="'t'"):
            L.Classifier(predictor, label_key="t")(x)
        with pytest.raises(TypeError, match="label_key"):
            L.Classifier(predictor, label_key=1.5)

    def test_own_functions(self):
        model = L.Classifier(L.Linear(4, 1), lossfun=F.mean_squared_error, accfun=lambda y, t: 7)
        model(floats(3, 4), floats(3, 1))
        assert model.accuracy == 7


class TestReporter:
    def test_scopes_and_unknown_observers(self):
        reporter, model = hnn.Reporter(), hnn.Chain(a=L.Linear(1, 1))
        reporter.add_observers("model", model.namedlinks())
        hnn.report({"nobody": 1})
        with reporter:
            hnn.report({"x": 1})
            hnn.report({"y": 2}, model.a)
            inner = {}
            with hnn.report_scope(inner):
                hnn.report({"z": 3})
            with pytest.raises(KeyError, match="Linear reports"):
                hnn.report({"w": 1}, L.Linear(1, 1))
        assert reporter.observation == {"x": 1, "model/a/y": 2} and inner == {"z": 3}
        with reporter.scope(inner):
            assert hnn.get_current_reporter() is reporter
            hnn.report({"more": 4})
        assert inner == {"z": 3, "more": 4} and "more" not in reporter.observation
        with pytest.raises(RuntimeError, match="no Reporter"):
            hnn.get_current_reporter()

    def test_graphs_are_dropped_unless_asked_for(self):
        x = hnn.Variable(floats(3))
        with hnn.Reporter() as reporter:
            hnn.report({"a": F.sum(x)})
            with hnn.using_config("keep_graph_on_report", True):
                hnn.report({"b": F.sum(x)})
        assert reporter.observation["a"].creator is None and reporter.observation["b"].creator is not None

    def test_weights(self):
        summary = hnn.DictSummary()
        summary.add({"x": (hnn.Variable(np.array(2.)), np.array(3)), "y": np.float32(1)})
        summary.add({"x": 6., "text": "no number"})
        assert summary.compute_mean() == {"x": 3., "y": 1.}
        with pytest.raises(ValueError, match="weight of 'x'"):
            summary.add({"x": (1., np.ones(2))})


def attention(link, q, k, v, mask):
    """Attention head by head, in NumPy."""
    heads = []
    size = link.n_units // link.n_heads
    for i in range(link.n_heads):
        rows = slice(i * size, (i + 1) * size)
        a, b, c = (x @ m.W.array[rows].T + m.b.array[rows] for x, m in ((q, link.query), (k, link.key), (v, link.value)))
        scores = np.where(mask, a @ b.swapaxes(1, 2) / size ** .5, -np.inf)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        heads.append(weights / weights.sum(-1, keepdims=True) @ c)
    return np.concatenate(heads, -1) @ link.out.W.array.T + link.out.b.array


class TestAttention:
    def test_heads(self):
        link = L.MultiHeadAttention(6, 3, initial_bias=initializers.Normal(), key_size=5, value_size=4)
        q, k, v = floats(2, 3, 6), floats(2, 7, 5), floats(2, 7, 4)
        np.testing.assert_allclose(link(q, k, v).array, attention(link, q, k, v, True), rtol=1e-4, atol=1e-5)
        mask = np.random.random((2, 3, 7)) > .4
        mask[..., 0] = True
        np.testing.assert_allclose(link(q, k, v, mask=mask).array, attention(link, q, k, v, mask), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(link(q, k, v, mask=np.where(mask, 0, -1e9).astype("f")).array,
                                   link(q, k, v, mask=mask).array, atol=1e-5)

    def test_causal_self_attention(self):
        link, x = L.MultiHeadAttention(4, 2), floats(2, 5, 4)
        np.testing.assert_allclose(link(x, causal=True).array, attention(link, x, x, x, np.tri(5, dtype=bool)), rtol=1e-4,
                                   atol=1e-5)

    @pytest.mark.parametrize("norm_first", [False, True])
    def test_encoder(self, norm_first):
        layer = L.TransformerEncoderLayer(4, 2, 6, dropout=0, norm_first=norm_first)
        x = floats(2, 5, 4)
        y = layer(x).array
        flip = layer(x[:, ::-1].copy()).array[:, ::-1]
        np.testing.assert_allclose(y, flip, rtol=1e-4, atol=1e-5)          # without positions, order does not matter
        if not norm_first:
            np.testing.assert_allclose(y.mean(-1), 0, atol=1e-5)
        before = layer(x, causal=True).array
        x[:, 3:] += 1
        np.testing.assert_allclose(layer(x, causal=True).array[:, :3], before[:, :3], rtol=1e-5)

    def test_decoder(self):
        layer = L.TransformerDecoderLayer(4, 2, dropout=.5, activation=F.gelu)
        x, memory = floats(2, 3, 4), floats(2, 6, 4)
        layer.cleargrads()
        F.sum(layer(x, memory) ** 2).backward()
        assert all(p.grad is not None for p in layer.params())
        with hnn.using_config("train", False):
            y = layer(x, memory).array
            assert not np.allclose(layer(x, memory + floats(2, 6, 4)).array, y)
            x[:, 2] += 1
            np.testing.assert_allclose(layer(x, memory).array[:, :2], y[:, :2], rtol=1e-5)


class TestNormalizedWeights:
    @pytest.mark.parametrize("make, shape, g", [
        (lambda: L.Linear(4, 3), (2, 4), (3, 1)), (lambda: L.Linear(None, 3), (2, 4), (3, 1)),
        (lambda: L.Convolution2D(None, 4, 3), (2, 3, 5, 5), (4, 1, 1, 1)),
        (lambda: L.Deconvolution2D(3, 4, 3), (2, 3, 5, 5), (1, 4, 1, 1))])
    def test_weight_norm(self, make, shape, g):
        plain, x = make(), floats(*shape)
        expected = plain(x).array
        link = L.WeightNorm(plain)
        np.testing.assert_allclose(link(x).array, expected, rtol=1e-5, atol=1e-6)
        assert link.g.shape == g and {path for path, _ in link.namedparams()} == {"/g", "/link/W", "/link/b"}
        plain.W.array[...] *= 3                                            # the length of W does not matter
        np.testing.assert_allclose(link(x).array, expected, rtol=1e-4, atol=1e-5)
        link.cleargrads()
        F.sum(link(x) ** 2).backward()
        along = plain.W.grad * plain.W.array
        assert link.g.grad.any() and abs(along.sum()) < 1e-3 * np.abs(along).sum() + 1e-6
        assert type(plain.W) is hnn.Parameter

    def test_lazy_weight_norm(self):
        link = L.WeightNorm(L.Linear(None, 3))
        assert not link.g.is_initialized
        assert link(floats(2, 4)).shape == (2, 3) and link.g.is_initialized

    def test_rms(self):
        link, x = L.RMSNormalization(initial_gamma=2), floats(3, 4, 5)
        np.testing.assert_allclose(link(x).array, 2 * x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-6), rtol=1e-5)


def test_the_sampler_of_negative_sampling_can_be_replaced():
    link, x, t = L.NegativeSampling(3, [4, 1, 2], 2), floats(2, 3), np.array([0, 2], np.int32)
    link.W.array[:] = floats(3, 3)
    loss, samples = link(x, t, return_samples=True)

    def with_the_same_samples(x, t, W, sampler, *args, **kwargs):
        return F.negative_sampling(x, t, W, lambda shape: samples.copy(), *args, **kwargs)
    with testing.patch("hybridnn.functions.loss.negative_sampling.negative_sampling", wraps=with_the_same_samples) as mock:
        np.testing.assert_array_equal(link(x, t).array, loss.array)
    assert mock.call_count == 1


class TestParsedTrees:
    def test_paths_and_codes(self):
        parser = L.loss.TreeParser("f")
        parser.parse(((0, (1, 2)), (3, 4)))
        assert parser.size() == 4
        assert [parser.get_paths()[i].tolist() for i in range(5)] == [[0, 1], [0, 1, 2], [0, 1, 2], [0, 3], [0, 3]]
        assert [parser.get_codes()[i].tolist() for i in range(5)] == [[1, 1], [1, -1, 1], [1, -1, -1], [-1, 1], [-1, -1]]
        assert parser.get_codes()[0].dtype == np.float32


class TestVision:
    @pytest.mark.parametrize("shape", [(3, 20, 30), (20, 30, 3), (1, 20, 30), (20, 30)])
    def test_images_are_prepared(self, shape):
        for module, blue in ((L.vision.resnet, 103.063), (L.vision.vgg, 103.939), (L.vision.googlenet, 104)):
            assert module.available
            x = module.prepare(np.full(shape, 110, np.uint8), size=None)
            assert (x.shape, x.dtype) == ((3, 20, 30), np.float32)
            np.testing.assert_allclose(x[0], 110 - blue, rtol=1e-5)

    """The architectures are large, so most of this runs on thin copies of them."""

    def test_building_block(self):
        block = BuildingBlock(3, 4, 2, 6, 2)
        assert block(floats(1, 4, 8, 8)).shape == (1, 6, 4, 4) and sorted(block._children) == ["a", "b1", "b2"]
        first = BottleneckA(4, 2, 6, stride=2, downsample_fb=True)
        assert first.conv1.stride == (1, 1) and first.conv2.stride == (2, 2)

    def test_googlenet(self):
        net = L.GoogLeNet()
        assert sum(1 for link in net.links() if isinstance(link, L.Convolution2D)) == 59
        with hnn.no_backprop_mode(), hnn.using_config("train", False):
            y = net(floats(1, 3, 224, 224), layers=["inception_4a", "loss1_fc2", "pool5", "prob"])
        assert {k: v.shape for k, v in y.items()} == {"inception_4a": (1, 512, 14, 14), "loss1_fc2": (1, 1000),
                                                      "pool5": (1, 1024, 1, 1),
                                                      "prob": (1, 1000)}
        assert float(F.sum(y["prob"])) == pytest.approx(1, rel=1e-5)
        assert net.available_layers[-3:] == ["prob", "loss1_fc2", "loss2_fc2"]
        with pytest.raises(ValueError, match="has no stage pool9"):
            net(floats(1, 3, 8, 8), layers=["pool9"])

    def test_layers_of_resnet_and_vgg(self, monkeypatch):
        monkeypatch.setattr(hnn.Parameter, "initialize", lambda self, shape: None)     # hundreds of megabytes otherwise
        for n, cls in ((50, L.ResNet50Layers), (101, L.ResNet101Layers), (152, L.ResNet152Layers)):
            net = cls()
            assert sum(isinstance(link, (L.Convolution2D, L.Linear)) for link in net.links()) == n + 4    # and four projections
            assert net.available_layers == ["conv1", "pool1", "res2", "res3", "res4", "res5", "pool5", "fc6", "prob"]
        for n, cls in ((16, L.VGG16Layers), (19, L.VGG19Layers)):
            net = cls()
            assert sum(isinstance(link, (L.Convolution2D, L.Linear)) for link in net.links()) == n
            assert net.available_layers[-4:] == ["fc6", "fc7", "fc8", "prob"] and net.available_layers.count("pool5") == 1

    @pytest.mark.nightly
    @pytest.mark.parametrize("cls", [L.ResNet50Layers, L.VGG16Layers])
    def test_whole_networks(self, cls, tmp_path):
        net = cls()
        with hnn.no_backprop_mode(), hnn.using_config("train", False):
            assert net(floats(1, 3, 224, 224))["prob"].shape == (1, 1000)
        serializers.save_npz(tmp_path / "net", net, compression=False)
        loaded = cls(str(tmp_path / "net"))
        np.testing.assert_array_equal(loaded.conv1.W.array if cls is L.ResNet50Layers else loaded.fc8.W.array,
                                      net.conv1.W.array if cls is L.ResNet50Layers else net.fc8.W.array)

    def test_ten_crops(self):
        x = np.arange(2 * 1 * 4 * 4).reshape(2, 1, 4, 4)
        crops = oversample(x, (2, 2))
        assert crops.shape == (20, 1, 2, 2)
        np.testing.assert_array_equal(crops[4, 0], x[0, 0, 1:3, 1:3])
        np.testing.assert_array_equal(crops[5, 0], x[0, 0, :2, 1::-1])
        np.testing.assert_array_equal(crops[10, 0], x[1, 0, :2, :2])


class TestSummary:
    def test_rows(self):
        model = hnn.Sequential(L.Convolution2D(None, 4, 3), L.BatchNormalization(4), F.relu, L.Linear(10))
        state = np.random.get_state()[1].copy()
        report = hnn.summary(model, floats(2, 3, 6, 6))
        assert not model[0].W.is_initialized and (np.random.get_state()[1] == state).all()
        rows = {r.name: r for r in report.rows}
        # Rows in the order of calls; names are Chainer's, whose Sequential puts every further link behind its first one.
        assert list(rows) == ["/", "/0", "/2", "/1"] and [r.depth for r in report.rows] == [0, 1, 1, 1]
        assert rows["/0"].output_shape == (2, 4, 4, 4) and rows["/0"].parameters == 4 * 3 * 9 + 4
        assert rows["/1"].parameters == 64 * 10 + 10 and rows["/2"].parameters == 2 * 4
        assert report.total_parameters == sum(r.parameters for r in report.rows[1:])
        assert rows["/0"].memory == 4 * (112 + 128) and 0 < rows["/0"].seconds < report.total_seconds
        text = str(report).splitlines()
        assert text[0].split() == ["name", "link", "output", "shape", "parameters", "memory", "time"] and len(text) == 6
        assert "(2, 4, 4, 4)" in text[3] and "ms" in text[3]

    def test_repeated_and_unused_links_and_odd_outputs(self):
        class Net(hnn.Chain):
            def forward(self, xs, *, times):
                for _ in range(times):
                    xs = [self.a(x) for x in xs]
                return {"ys": xs, "n": 3}
        report = hnn.summary(Net(a=L.Linear(3, 3), b=L.Linear(None, 3)), [floats(2, 3)] * 2, times=3)
        assert [r.calls for r in report.rows] == [1, 6, 0] and report.rows[0].output_shape == {"ys": [(2, 3), (2, 3)], "n": None}
        assert "(6 calls)" in str(report) and report.rows[2].output_shape is None and report.rows[2].parameters == 3

    def test_the_state_stays(self):
        link = L.LSTM(3, 2)
        hnn.summary(link, floats(2, 3))
        assert link.h is None
        copied = copy.deepcopy(link)
        assert copied.h is None


def test_own_recurrent_layers_over_sequences():
    from hybridnn.links.rnn.n_step_rnn import NStepRNNBase, NStepRNNReLU

    class Own(NStepRNNBase):
        n_weights = 2
        use_bi_direction = False

        def rnn(self, n_layers, dropout, hx, ws, bs, xs):
            return F.n_step_rnn(n_layers, dropout, hx, ws, bs, xs, activation="relu")

    own, known = Own(2, 3, 4, 0.0), NStepRNNReLU(2, 3, 4, 0.0)
    own.copyparams(known)
    xs = [np.random.rand(length, 3).astype("f") for length in (2, 4, 3)]
    (h, ys), (h_known, ys_known) = own(None, xs), known(None, xs)
    assert (h.array == h_known.array).all() and all((y.array == y_known.array).all() for y, y_known in zip(ys, ys_known, strict=True))


@pytest.mark.parametrize(("module", "base", "kinds"), [
    ("lstm", "LSTMBase", "LSTM StatelessLSTM"), ("gru", "GRUBase", "StatefulGRU StatelessGRU"), ("mgu", "MGUBase", "StatefulMGU StatelessMGU"),
    ("n_step_lstm", "NStepLSTMBase", "NStepLSTM NStepBiLSTM"), ("n_step_gru", "NStepGRUBase", "NStepGRU NStepBiGRU"),
    ("n_step_rnn", "NStepRNNBase", "NStepRNNTanh NStepBiRNNTanh NStepRNNReLU NStepBiRNNReLU"),
])
def test_the_kinds_of_a_recurrent_link_share_a_base_and_no_more(module, base, kinds):
    held = getattr(L.rnn, module)
    classes = [getattr(held, kind) for kind in kinds.split()]
    assert all(issubclass(kind, getattr(held, base)) for kind in classes)
    assert not any(issubclass(a, b) for a in classes for b in classes if a is not b)
