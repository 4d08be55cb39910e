"""Small helpers: type checks that explain themselves, arguments, windows of images, the alias sampler."""
import os

import numpy as np
import pytest

import hybridnn as hnn
from hybridnn import utils
from hybridnn.utils import argument, conv, conv_nd, type_check

# ----------------------------------------------------------------------------------------------------------- type checks

def types(*shapes, dtype="f"):
    return type_check.get_types(tuple(np.zeros(s, dtype) for s in shapes), "in_types", False)


@pytest.mark.parametrize("make, text, value", [
    (lambda t: t[0].shape[0] + 1, "in_types[0].shape[0] + 1", 3),
    (lambda t: (t[0].ndim - 3) * 2, "(in_types[0].ndim - 3) * 2", -2),
    (lambda t: 2 * t[0].size // 4 % 2, "2 * in_types[0].size // 4 % 2", 1),
    (lambda t: -t[0].ndim, "-in_types[0].ndim", -2),
    (lambda t: 2 ** t[0].ndim ** 2, "2 ** in_types[0].ndim ** 2", 16),
    (lambda t: (2 ** t[0].ndim) ** 2, "(2 ** in_types[0].ndim) ** 2", 16),
    (lambda t: t[0].shape[:1], "in_types[0].shape[:1]", (2,)),
    (lambda t: t[0].ndim << 1 | 1, "in_types[0].ndim << 1 | 1", 5),
    (lambda t: type_check.prod(t[0].shape[1:]), "prod(in_types[0].shape[1:])", 3),
    (lambda t: t.size() + 0, "in_types.size + 0", 1),
    (lambda t: type_check.make_variable(7, "n") - (t[0].ndim - 1), "n - (in_types[0].ndim - 1)", 6)])
def test_expressions_print_as_written(make, text, value):
    expression = make(types((2, 3)))
    assert str(expression) == text
    assert type_check.eval(expression) == value


def test_what_holds_passes_and_what_fails_explains_itself():
    t = types((2, 3), (3,))
    type_check.expect(t.size() == 2, t[0].dtype == np.float32, t[0].dtype.kind == "f", t[0].shape[1] == t[1].shape[0], True)
    for check, expected, actual in ((t[0].ndim == 3, "in_types[0].ndim == 3", "2 != 3"),
                                    (t[1].ndim >= t[0].ndim, ">= in_types[0].ndim", "1 < 2"),
                                    (t[0].shape == (1,), "in_types[0].shape == (1,)", "(2, 3) != (1,)")):
        with pytest.raises(type_check.InvalidType) as caught:
            type_check.expect(check)
        assert expected in str(caught.value) and actual in str(caught.value)
    with pytest.raises(hnn.errors.InvalidType, match="condition 2"):
        type_check.expect(True, 1 > 2)
    with pytest.raises(RuntimeError, match="no truth value"):
        bool(t[0].ndim == 2)


def test_light_mode_checks_values():
    arrays = (np.zeros((2, 3)),)
    with type_check.light_mode:
        t = type_check.get_light_types(arrays)
        assert type_check.in_light_mode() and type_check.make_variable(3, "n") == 3
        type_check.expect(t.size() == 1, t[0].ndim == 2)
        with pytest.raises(type_check.InvalidType):
            type_check.expect(t[0].ndim == 1)
        assert type_check.prod((2, 3)) == 6
    assert not type_check.in_light_mode()
    assert type_check.prod((2, 3)).eval() == 6 and str(type_check.prod([])) == "prod([])"


def test_kinds_and_shapes():
    x = np.zeros(1)
    assert type_check.same_types(x, x) and not type_check.same_types(x, 1)
    type_check.expect_broadcast_shapes((2, 1), (3,))
    with pytest.raises(type_check.InvalidType, match="broadcast"):
        type_check.expect_broadcast_shapes((2,), (3,))
    with pytest.raises(type_check.InvalidType, match="as an array"):
        type_check.get_types((1,))
    assert type_check.get_types((None,), "x", True)[0].dtype.eval() is None


class Checked(hnn.FunctionNode):
    def check_type_forward(self, in_types):
        type_check.expect(in_types.size() == 1, in_types[0].dtype.kind == "f", in_types[0].ndim == 2)

    def forward(self, inputs):
        return inputs[0] * 2,


def test_a_function_checks_its_inputs():
    assert Checked().apply((np.ones((1, 2)),))[0].shape == (1, 2)
    with pytest.raises(type_check.InvalidType, match=r"(?s)Checked \(Forward\)\n\nExpect: in_types\[0\]\.ndim == 2\nActual: 1 != 2"):
        Checked().apply((np.ones(2),))
    with hnn.using_config("type_check", False):
        assert Checked().apply((np.ones(2),))[0].shape == (2,)


# ------------------------------------------------------------------------------------------------------------- arguments

def test_keyword_arguments():
    kwargs = {"a": 1}
    assert argument.parse_kwargs(kwargs, ("a", 0), ("b", 2)) == (1, 2) and kwargs == {}

    def caller(**kwargs):
        argument.assert_kwargs_empty(kwargs)
        argument.parse_kwargs(kwargs, ("a", 0), old="old is gone")
    for kwargs, error, text in ((dict(z=1, y=2), TypeError, "unexpected keyword argument"), ):
        with pytest.raises(error, match=text):
            caller(**kwargs)
    with pytest.raises(TypeError, match=r"test_keyword_arguments\(\) got unexpected keyword argument\(s\) 'y', 'z'"):
        argument.parse_kwargs(dict(z=1, y=2), ("a", 0))
    with pytest.raises(ValueError, match="old is gone"):
        argument.parse_kwargs(dict(old=1), ("a", 0), old="old is gone")


def test_arrays_and_scalars():
    assert utils.force_array(np.float32(2)).dtype == "float32" and utils.force_array(2.0, "f").shape == ()
    x = np.ones((2, 3))
    assert utils.force_array(x) is x and utils.force_array(x, "f").dtype == "float32"
    assert utils.force_type(np.dtype("f"), 2.0).dtype == "float32" and utils.force_type("f", x).dtype == "float32"
    assert utils.size_of_shape((2, 3)) == 6 and utils.size_of_shape(()) == 1
    assert utils.sum_to(x, (2, 3)) is x and utils.sum_to(x, (1, 3)).tolist() == [[2, 2, 2]] and utils.sum_to(x, ()) == 6


def test_warnings_and_folders():
    with pytest.warns(FutureWarning, match="thing is experimental"):
        utils.experimental("thing")
    utils.nondeterministic("f")
    with hnn.using_config("warn_nondeterministic", True), pytest.warns(UserWarning, match="f may give other results"):
        utils.nondeterministic("f")
    with utils.tempdir(prefix="x") as path:
        assert os.path.isdir(path)
    assert not os.path.exists(path)


# --------------------------------------------------------------------------------------------------------------- windows

@pytest.mark.parametrize("size, k, s, p, d, cover_all", [
    (7, 3, 2, 1, 1, False), (6, 3, 2, 0, 1, True), (9, 2, 3, 1, 2, False), (8, 3, 2, 1, 2, True)])
def test_sizes_count_windows(size, k, s, p, d, cover_all):
    reach = (k - 1) * d + 1
    starts = list(range(-p, size + p - reach + 1, s))
    if cover_all and starts[-1] + reach < size + p:
        starts.append(starts[-1] + s)
    out = utils.get_conv_outsize(size, k, s, p, cover_all, d)
    assert out == len(starts)
    assert utils.get_conv_outsize(utils.get_deconv_outsize(out, k, s, p, cover_all, d), k, s, p, cover_all, d) == out


@pytest.mark.parametrize("cover_all", [False, True])
def test_windows_and_their_adjoint(cover_all):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 7, 6))
    args = dict(kh=3, kw=2, sy=2, sx=1, ph=1, pw=0, cover_all=cover_all, dy=1, dx=2)
    col = conv.im2col_cpu(x, **args)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 2), (0, 0)))
    for (i, j, a, b), _ in np.ndenumerate(col[0, 0]):
        np.testing.assert_array_equal(col[:, :, i, j, a, b], padded[:, :, 2 * a + i, b + 2 * j])
    g = rng.normal(size=col.shape)
    back = conv.col2im(g, 2, 1, 1, 0, 7, 6, dx=2)
    assert (col * g).sum() == pytest.approx((x * back).sum())
    np.testing.assert_array_equal(conv_nd.im2col_nd(x, (3, 2), (2, 1), (1, 0), cover_all, (1, 2)), col)
    np.testing.assert_array_equal(conv.im2col(x, 3, 2, 2, 1, 1, 0, cover_all, 1, 2, 2, 3), col[..., :2, :3])
    for ones in (conv.im2col_cpu(x, **args, pval=1), conv_nd.im2col_nd_cpu(x, (3, 2), (2, 1), (1, 0), 1, cover_all, (1, 2))):
        assert (ones[:, :, 0, :, 0] == 1).all()


def test_windows_that_do_not_fit():
    with pytest.raises(hnn.errors.InvalidType, match="windows that fit"):
        conv.im2col(np.zeros((1, 1, 2, 2)), 3, 3, 1, 1, 0, 0)
    assert conv_nd.as_tuple(3, 2) == (3, 3) and conv_nd.as_tuple([1, 2], 2) == (1, 2)
    with pytest.raises(AssertionError, match="one number or 2"):
        conv_nd.as_tuple((1, 2, 3), 2)
    with pytest.raises(AssertionError, match="stride"):
        conv_nd.im2col_nd(np.zeros((1, 1, 4, 4)), (2, 2), (1,), (0, 0))
    with pytest.raises(AssertionError, match="6 axes"):
        conv_nd.col2im_nd(np.zeros((1, 1, 2, 3, 3)), (1, 1), (0, 0), (4, 4))


# --------------------------------------------------------------------------------------------------------- alias sampler

def test_samples_have_their_probabilities():
    weights = [1, 2, 3, 4, 0]
    sampler = utils.WalkerAlias(weights)
    np.random.seed(0)
    drawn = sampler.sample((100, 500))
    assert drawn.shape == (100, 500) and drawn.dtype == "int32" and not sampler.use_gpu
    np.testing.assert_allclose(np.bincount(drawn.ravel(), minlength=5) / drawn.size, np.array(weights) / 10, atol=0.01)
    # The cells themselves: the measure of each outcome is its probability.
    share = np.zeros(5)
    for cell, threshold in enumerate(np.clip(sampler.threshold, 0, 1)):
        share[sampler.values[2 * cell]] += threshold / 5
        share[sampler.values[2 * cell + 1]] += (1 - threshold) / 5
    np.testing.assert_allclose(share, np.array(weights) / 10, atol=1e-6)
    assert sampler.to_device(hnn.get_device(-1)) is sampler


def test_the_draws_of_chainer():
    np.random.seed(0)
    assert utils.WalkerAlias([1, 2, 3, 4, 0]).sample(12).tolist() == [2, 3, 3, 2, 2, 3, 2, 3, 3, 2, 3, 2]


@pytest.mark.parametrize("weights", [[], [1, -1], [0, 0], [[1, 2]]])
def test_weights_that_are_none(weights):
    with pytest.raises(hnn.errors.InvalidType, match="WalkerAlias"):
        utils.WalkerAlias(weights)
