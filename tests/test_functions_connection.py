"""Linear, embedding, convolution and their relatives against direct loops, and what they say about arguments that do not fit."""

from itertools import product

import numpy as np
import pytest
from directional import check_gradients
from formulas import normals

import hybridnn.functions as F
from hybridnn import Variable
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)
normal = normals(rng)


def close(y, expected, rtol=1e-10, atol=1e-12):
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(y.array, expected, rtol=rtol, atol=atol)


# ------------------------------------------------------------------------------------------------------- linear and embedding

@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_linear(dtype, bias):
    x, W, b = normal(4, 3, dtype=dtype), normal(2, 3, dtype=dtype), normal(2, dtype=dtype) if bias else None
    y = F.linear(x, W, b)
    assert y.dtype == dtype
    np.testing.assert_allclose(y.array, x @ W.T + (b if bias else 0), rtol={"float16": 1e-2}.get(dtype, 1e-5), atol=1e-3)


@pytest.mark.parametrize("x", [None, [[1.0, 2.0, 3.0]]])
def test_linear_of_what_is_no_array(x):
    with pytest.raises(InvalidType, match=f"linear: expected arrays or Variables\n  got: x: {type(x).__name__}, W: ndarray"):
        F.linear(x, normal(2, 3))


def test_linear_over_more_axes():
    x, W, b = normal(2, 3, 4), normal(5, 4), normal(5)
    close(F.linear(x, W, b, n_batch_axes=2), x @ W.T + b)
    close(F.linear(x, normal(5, 12) * 0 + 1), np.repeat(x.sum((1, 2))[:, None], 5, 1))
    close(F.linear(np.zeros((0, 4)), W, b), np.zeros((0, 5)))


def test_linear_gradients_accumulate_into_variables():
    x, W, b = Variable(normal(4, 3)), Variable(normal(2, 3)), Variable(normal(2))
    for _ in range(2):
        F.sum(F.linear(x, W, b) * np.arange(8.).reshape(4, 2)).backward()
    g = np.arange(8.).reshape(4, 2)
    np.testing.assert_allclose(x.grad, 2 * g @ W.array)
    np.testing.assert_allclose(W.grad, 2 * g.T @ x.array)
    np.testing.assert_allclose(b.grad, 2 * g.sum(0))


def test_embed_id():
    W, ids = normal(5, 3), np.array([[0, -1], [4, 0]])
    expected = np.where((ids == -1)[..., None], 0, W[ids])
    close(F.embed_id(ids, W, ignore_label=-1), expected)
    close(F.embed_id(Variable(np.array([3, 1], "i")), W), W[[3, 1]])
    W = Variable(W)
    F.sum(F.embed_id(ids, W, ignore_label=-1)).backward()
    np.testing.assert_array_equal(W.grad[:, 0], [2, 0, 0, 0, 1])


def test_bilinear():
    e1, e2, W, V1, V2, b = normal(4, 2), normal(4, 3), normal(2, 3, 5), normal(2, 5), normal(3, 5), normal(5)
    expected = np.einsum("ij,ik,jkl->il", e1, e2, W)
    close(F.bilinear(e1, e2, W), expected)
    close(F.bilinear(e1, e2, W, V1, V2, b), expected + e1 @ V1 + e2 @ V2 + b)
    close(F.bilinear(e1.reshape(4, 1, 2), e2, W), expected)
    check_gradients(F.bilinear, e1, e2, W, V1, V2, b)


@pytest.mark.parametrize("call, part", [
    (lambda: F.linear(normal(4, 3), normal(2, 4)), "W (out, in)"),
    (lambda: F.linear(normal(4, 3), normal(2, 3), normal(3)), "b (out,)"),
    (lambda: F.linear(np.ones((4, 3), int), normal(2, 3)), "floating"),
    (lambda: F.linear(normal(4, 3), normal(2, 3), n_batch_axes=2), "n_batch_axes"),
    (lambda: F.embed_id(np.array([0, 5]), normal(5, 3)), "ids from 0 to 4"),
    (lambda: F.embed_id(np.array([-1]), normal(5, 3)), "id -1"),
    (lambda: F.embed_id(np.array([0.5]), normal(5, 3)), "integer"),
    (lambda: F.bilinear(normal(4, 2), normal(4, 3), normal(2, 3, 5), V1=normal(2, 5)), "together"),
    (lambda: F.bilinear(normal(4, 2), normal(3, 3), normal(2, 3, 5)), "e1 (n, J)"),
    (lambda: F.convolution_2d(normal(1, 3, 5, 5), normal(4, 2, 3, 3)), "c_in / groups"),
    (lambda: F.convolution_2d(normal(1, 3, 2, 2), normal(4, 3, 3, 3)), "fit into the padded image"),
    (lambda: F.convolution_2d(normal(3, 5, 5), normal(4, 3, 3)), "4 axes"),
    (lambda: F.convolution_2d(normal(1, 3, 5, 5), normal(4, 3, 3, 3), normal(3)), "b (4,)"),
    (lambda: F.convolution_2d(normal(1, 3, 5, 5), normal(4, 3, 3, 3), stride=0), "positive stride"),
    (lambda: F.deconvolution_2d(normal(1, 4, 5, 5), normal(4, 3, 2, 2), stride=0), "positive stride"),
    (lambda: F.deconvolution_2d(normal(1, 4, 5, 5), normal(4, 3, 2, 2), pad=-1), "pad of 0 or more"),
    (lambda: F.local_convolution_2d(normal(1, 3, 3, 3), normal(2, 2, 2, 3, 2, 2), stride=0), "positive stride"),
    (lambda: F.im2col(normal(1, 3, 5, 5), (2,)), "ksize as one int or 2 of them"),
    (lambda: F.im2col(normal(1, 3, 5, 5), 2, pad=-1), "pad of 0 or more"),
    (lambda: F.convolution_2d(normal(1, 3, 5, 5), normal(4, 3, 3, 3), pad=(1, 2, 3)), "pad as one int or 2"),
    (lambda: F.convolution_3d(normal(1, 3, 5, 5), normal(4, 3, 3, 3)), "5 axes"),
    (lambda: F.deconvolution_2d(normal(1, 3, 4, 4), normal(3, 2, 3, 3), stride=2, outsize=(20, 9)), "outsize"),
    (lambda: F.deconvolution_2d(normal(1, 3, 4, 4), normal(2, 2, 3, 3)), "c_in"),
    (lambda: F.depthwise_convolution_2d(normal(1, 3, 4, 4), normal(2, 2, 3, 3)), "multiplier"),
    (lambda: F.local_convolution_2d(normal(1, 3, 4, 4), normal(2, 9, 9, 3, 2, 2)), "windows"),
    (lambda: F.shift(normal(1, 3, 4, 4)), "9 channels"),
    (lambda: F.shift(normal(1, 9, 4, 4), ksize=2), "odd"),
    (lambda: F.deformable_convolution_2d_sampler(normal(1, 2, 4, 4), normal(1, 3, 2, 2), normal(2, 2, 3, 3)), "18 channels"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType, match="expected") as caught:
        call()
    assert part in str(caught.value)
    assert "test_functions_connection.py" in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------- convolution

def direct(x, W, stride, pad, dilate, groups, cover_all=False):
    """The definition, element by element."""
    n, size, ksize = len(x), x.shape[2:], W.shape[2:]
    x = np.pad(x, [(0, 0), (0, 0)] + [(p, p + s) for p, s in zip(pad, stride)])
    geometry = zip(size, ksize, stride, pad, dilate)
    out = [(m + 2 * p - d * (k - 1) - 1 + (s - 1) * cover_all) // s + 1 for m, k, s, p, d in geometry]
    y = np.zeros((n, len(W), *out))
    per_in, per_out = W.shape[1], len(W) // groups
    for o, place in product(range(len(W)), np.ndindex(*out)):
        first = o // per_out * per_in
        for offset in np.ndindex(*ksize):
            at = tuple(a * s + b * d for a, s, b, d in zip(place, stride, offset, dilate))
            y[(slice(None), o, *place)] += x[(slice(None), slice(first, first + per_in), *at)] @ W[(o, slice(None), *offset)]
    return y


CONVOLUTIONS = [
    ((2, 3, 5, 4), (2, 3, 3, 2), (1, 1), (0, 0), (1, 1), 1, False), ((2, 3, 5, 4), (2, 3, 3, 2), (2, 1), (1, 2), (1, 1), 1,
    False), ((1, 4, 7, 6), (6, 2, 2, 3), (1, 2), (0, 1), (3, 1), 2, False), ((2, 2, 6, 7), (3, 2, 2, 2), (3, 3), (0, 0), (1, 1),
    1, True), ((2, 3, 6), (2, 3, 3), (2,), (1,), (1,), 1, False), ((1, 2, 3, 4, 3), (2, 2, 2, 2, 2), (1, 2, 1), (1, 0, 0), (1,
    1, 2), 1, False), ((2, 3, 4, 4), (2, 3, 1, 1), (1, 1), (0, 0), (1, 1), 1, False), ((2, 3, 4, 4), (2, 3, 1, 1), (2, 2), (0,
    0), (1, 1), 1, False)]


@pytest.mark.parametrize("x_shape, w_shape, stride, pad, dilate, groups, cover_all", CONVOLUTIONS)
def test_convolution_is_its_definition(x_shape, w_shape, stride, pad, dilate, groups, cover_all):
    x, W, b = normal(*x_shape), normal(*w_shape), normal(w_shape[0])
    expected = direct(x, W, stride, pad, dilate, groups, cover_all)
    y = F.convolution_nd(x, W, b, stride, pad, cover_all, dilate, groups)
    close(y, expected + b.reshape(-1, *[1] * (x.ndim - 2)))
    y32 = F.convolution_nd(x.astype("f"), W.astype("f"), None, stride, pad, cover_all, dilate, groups)
    assert y32.dtype == np.float32
    np.testing.assert_allclose(y32.array, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("x_shape, w_shape, stride, pad, dilate, groups, cover_all", [c for c in CONVOLUTIONS if not c[-1]])
def test_deconvolution_is_the_adjoint(x_shape, w_shape, stride, pad, dilate, groups, cover_all):
    x, W = normal(*x_shape), normal(*w_shape)
    y = direct(x, W, stride, pad, dilate, groups)
    g, b = normal(*y.shape), normal(x_shape[1])
    back = F.deconvolution_nd(g, W, None, stride, pad, x_shape[2:], dilate, groups)
    assert back.shape == x.shape
    np.testing.assert_allclose(np.vdot(back.array, x), np.vdot(g, y))
    with_bias = F.deconvolution_nd(g, W, b, stride, pad, x_shape[2:], dilate, groups)
    close(with_bias, back.array + b.reshape(-1, *[1] * (x.ndim - 2)))


def test_the_fixed_numbers_of_axes_agree_with_nd():
    for n, convolve, transposed in ((1, F.convolution_1d, F.deconvolution_1d), (2, F.convolution_2d, F.deconvolution_2d),
                                    (3, F.convolution_3d, F.deconvolution_3d)):
        x, W, b = normal(2, 3, *[5] * n), normal(4, 3, *[2] * n), normal(4)
        close(convolve(x, W, b, 2, 1), F.convolution_nd(x, W, b, 2, 1).array)
        close(transposed(x, W.swapaxes(0, 1), b, 2, 1), F.deconvolution_nd(x, W.swapaxes(0, 1), b, 2, 1).array)
    x, W = normal(2, 3, 6, 6), normal(4, 3, 2, 2)
    close(F.dilated_convolution_2d(x, W, None, 1, 1, 2), F.convolution_2d(x, W, pad=1, dilate=2).array)


def test_depthwise_convolution_by_channel():
    x, W, b = normal(2, 3, 5, 5), normal(2, 3, 3, 3), normal(6)
    parts = [direct(x[:, c:c + 1], W[m:m + 1, c:c + 1], (2, 2), (1, 1), (1, 1), 1) for c in range(3) for m in range(2)]
    close(F.depthwise_convolution_2d(x, W, b, 2, 1), np.concatenate(parts, 1) + b[:, None, None])


def test_local_convolution_by_place():
    x, W, b = normal(2, 3, 5, 5), normal(4, 2, 2, 3, 3, 2), normal(4, 2, 2)
    expected = np.zeros((2, 4, 2, 2)) + b
    for i, j in np.ndindex(2, 2):
        expected[:, :, i, j] += np.einsum("nchw,ochw->no", x[:, :, 2 * i:2 * i + 3, 2 * j:2 * j + 2], W[:, i, j])
    close(F.local_convolution_2d(x, W, b, stride=2), expected)
    check_gradients(lambda x, W, b: F.local_convolution_2d(x, W, b, 2), x, W, b)


def test_shift_by_group():
    x = normal(2, 20, 4, 5)
    y = F.shift(x, 3).array
    places = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    places[4], places[8] = places[8], places[4]
    for k, (dy, dx) in enumerate(places):
        group = slice(2 * k, None if k == 8 else 2 * k + 2)
        moved = np.zeros_like(x[:, group])
        for i, j in np.ndindex(4, 5):
            if 0 <= i - dy < 4 and 0 <= j - dx < 5:
                moved[..., i, j] = x[:, group, i - dy, j - dx]
        np.testing.assert_array_equal(y[:, group], moved)
    check_gradients(lambda x: F.shift(x, 3), x, second=False)


def test_deformable_convolution_without_offsets_is_a_convolution():
    x, W, b = normal(2, 3, 6, 5), normal(4, 3, 3, 2), normal(4)
    for stride, pad in ((1, 0), ((2, 1), (1, 2))):
        expected = F.convolution_2d(x, W, b, stride, pad).array
        close(F.deformable_convolution_2d_sampler(x, np.zeros((2, 12, *expected.shape[2:])), W, b, stride, pad), expected)


def test_deformable_convolution_moves_by_whole_pixels():
    x, W = normal(1, 1, 6, 6), np.ones((1, 1, 1, 1))
    offset = np.zeros((1, 2, 6, 6))
    offset[:, 0], offset[:, 1] = 1, -2
    moved = np.zeros((6, 6))
    moved[2:, :5] = x[0, 0, :4, 1:]
    np.testing.assert_allclose(F.deformable_convolution_2d_sampler(x, offset, W).array[0, 0][2:, :5], moved[2:, :5])
    check_gradients(lambda x, o, W: F.deformable_convolution_2d_sampler(x, o, W), x, offset + .3, W)


@pytest.mark.parametrize(("x_dtype", "w_dtype"), [("float16", "float32"), ("float32", "float64"), ("float64", "float16")])
def test_layers_give_their_inputs_dtype(x_dtype, w_dtype):
    def draw(dtype, *shape):
        return np.random.RandomState(0).uniform(-1, 1, shape).astype(dtype)
    image, filters = draw(x_dtype, 1, 2, 4, 4), draw(w_dtype, 2, 2, 3, 3)
    results = [F.linear(draw(x_dtype, 2, 3), draw(w_dtype, 4, 3)),
               F.linear(draw(x_dtype, 2, 3), draw(w_dtype, 4, 3), draw(w_dtype, 4)),
               F.convolution_2d(image, filters), F.deconvolution_2d(image, filters, draw(w_dtype, 2)),
               F.depthwise_convolution_2d(image, filters), F.local_convolution_2d(image, draw(w_dtype, 2, 2, 2, 2, 3, 3))]
    assert {y.dtype for y in results} == {np.dtype(x_dtype)}
