"""Initializers: statistics, exact structure, streams, dtypes, and what they refuse. (Values against Chainer:
test_links_chainer.py.)"""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.links as L
from hybridnn import initializers
from hybridnn.errors import InvalidType
from hybridnn.initializers import generate_array, get_fans, get_initializer

# name: variance by (fan_in, fan_out), for scale 1
NORMALS = {"LeCunNormal": lambda i, o: 1 / i, "GlorotNormal": lambda i, o: 2 / (i + o), "HeNormal": lambda i, o: 2 / i}
UNIFORMS = {"LeCunUniform": lambda i, o: 1 / i, "GlorotUniform": lambda i, o: 2 / (i + o), "HeUniform": lambda i, o: 2 / i}
RANDOM = ["Normal", "Uniform", "Orthogonal", *NORMALS, *UNIFORMS]


def filled(initializer, shape, dtype="f"):
    a = np.full(shape, 99, dtype)
    initializer(a)
    return a


@pytest.mark.parametrize("name", [*NORMALS, *UNIFORMS])
@pytest.mark.parametrize("scale", [1., .5])
def test_variance_by_fans(name, scale):
    shape = (40, 60, 3, 3)
    variance = {**NORMALS, **UNIFORMS}[name](60 * 9, 40 * 9) * scale ** 2
    a = filled(getattr(initializers, name)(scale=scale), shape, "d")
    assert abs(a.mean()) < 5 * (variance / a.size) ** .5
    assert a.var() == pytest.approx(variance, rel=.05)
    if name in UNIFORMS:
        assert np.abs(a).max() <= (3 * variance) ** .5 and np.abs(a).max() > .99 * (3 * variance) ** .5


def test_plain_distributions():
    assert filled(initializers.Normal(2.), (300, 300), "d").std() == pytest.approx(2, rel=.02)
    a = filled(initializers.Uniform(2.), (300, 300), "d")
    assert -2 <= a.min() < -1.99 and 1.99 < a.max() < 2
    assert initializers.Normal().scale == initializers.Uniform().scale == .05
    assert filled(initializers.HeNormal(fan_option="fan_out"), (400, 100), "d").std() == pytest.approx((2 / 400) ** .5, rel=.03)


@pytest.mark.parametrize("name", RANDOM)
def test_streams(name):
    make = getattr(initializers, name)
    np.random.seed(3)
    a = filled(make(), (4, 3))
    state = np.random.get_state()[2]
    b = filled(make(rng=np.random.RandomState(3)), (4, 3))
    np.testing.assert_array_equal(a, b)
    assert np.random.get_state()[2] == state
    np.testing.assert_array_equal(filled(make(rng=np.random.default_rng(1)), (4, 3)),
                                  filled(make(rng=np.random.default_rng(1)), (4, 3)))


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (4, 3, 2), (5,), (1, 1)])
def test_orthogonal(shape):
    a = filled(initializers.Orthogonal(scale=2.), shape, "d").reshape(shape[0], -1)
    product = a @ a.T if a.shape[0] <= a.shape[1] else a.T @ a
    np.testing.assert_allclose(product, 4 * np.eye(min(a.shape)), atol=1e-12)


def test_orthogonal_of_a_number_is_a_sign():
    assert {float(filled(initializers.Orthogonal(), ())) for _ in range(20)} == {float(np.float32(s * 1.1)) for s in (1, -1)}


@pytest.mark.parametrize("mode, shape", [("projection", (4, 3)), ("embedding", (3, 4)), ("basis", (4, 3)), ("basis", (3, 4))])
def test_orthogonal_modes(mode, shape):
    with pytest.raises(ValueError, match=mode):
        filled(initializers.Orthogonal(mode=mode), shape)
    filled(initializers.Orthogonal(mode=mode), (3, 3))
    filled(initializers.Orthogonal(mode=mode), shape if mode == "auto" else shape[::-1] if mode != "basis" else (2, 2))


def test_constants():
    assert (filled(initializers.Constant(3), (2, 2)) == 3).all()
    np.testing.assert_array_equal(filled(initializers.Constant(np.arange(3.)), (2, 3)), [[0, 1, 2]] * 2)
    np.testing.assert_array_equal(filled(initializers.Identity(2.), (3, 3)), 2 * np.eye(3))
    assert np.isnan(filled(initializers.NaN(), 3)).all() and not filled(initializers.Zero(),
                                                                        3).any() and filled(initializers.One(), 3).all()


def test_sampling_filters():
    up = filled(initializers.UpsamplingDeconvFilter(), (2, 2, 4, 4))
    line = np.array([.25, .75, .75, .25])
    np.testing.assert_allclose(up, np.einsum("ab,i,j->abij", np.eye(2), line, line))
    down = filled(initializers.DownsamplingConvFilter(), (3, 1, 3, 3))
    assert down.sum() == pytest.approx(3) and down[0, 0, 1, 1] == down[0].max()


@pytest.mark.parametrize("shape", [(3,), (2, 3), (1, 1, 3)])
def test_an_initial_array_fits_as_numpy_assigns_it(shape):
    np.testing.assert_array_equal(filled(initializers.Constant(np.arange(3.).reshape(1, 1, 3)), shape), np.broadcast_to(np.arange(3.), shape))


@pytest.mark.parametrize("make, shape, text", [
    (initializers.LeCunNormal, (3,), "two axes"), (initializers.HeUniform, (), "two axes"),
    (initializers.Identity, (2, 3), "square"),
    (initializers.Identity, (2, 2, 2), "square"), (initializers.Orthogonal, (0, 3), "empty"),
    (initializers.UpsamplingDeconvFilter, (2, 3, 2, 2), "weight of shape"),
    (initializers.UpsamplingDeconvFilter, (2, 2, 2, 3), "one length"),
    (lambda: initializers.Constant(np.ones(3)), (2, 2), "an initial array of shape"),
    (lambda: initializers.Constant(np.ones((2, 1, 3))), (3,), "an initial array of shape")])
def test_shapes_that_are_refused(make, shape, text):
    with pytest.raises(ValueError, match=text):
        filled(make(), shape)


@pytest.mark.parametrize("make", [lambda: initializers.Constant("x"), lambda: initializers.Constant(None),
                                  lambda: initializers.Orthogonal(mode="x"),
                                  lambda: initializers.HeNormal(fan_option="x"),
                                  lambda: initializers.UpsamplingDeconvFilter("cubic")])
def test_arguments_that_are_refused(make):
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize("name", [n for n in initializers.__all__ if isinstance(getattr(initializers, n), type)])
def test_dtype_is_kept_to(name):
    make = getattr(initializers, name)
    initializer = make(3, dtype="d") if name == "Constant" else make(dtype="d")
    with pytest.raises(NotImplementedError if name == "Initializer" else InvalidType):
        initializer(np.empty((2, 2), "f"))


def test_fans():
    assert get_fans((3, 4)) == (4, 3) and get_fans((3, 4, 5, 6)) == (120, 90)
    for wrong in ([3, 4], (3,), ()):
        with pytest.raises(ValueError):
            get_fans(wrong)


def test_what_counts_as_an_initializer():
    assert isinstance(get_initializer(None), initializers.LeCunNormal)
    assert get_initializer(3).fill_value == 3 and get_initializer(fill := np.ones(3)).fill_value is fill
    assert get_initializer(filled) is filled
    for wrong in ("zeros", [1, 2], object()):
        with pytest.raises(TypeError, match="an initializer is"):
            get_initializer(wrong)


def test_generated_arrays():
    assert generate_array(initializers.Zero(), (2, 3)).dtype == np.float32
    assert generate_array(initializers.Zero("d"), 3, np).dtype == generate_array(initializers.Zero(), 3, np,
                                                                                 "d").dtype == np.float64
    with hnn.using_config("dtype", "float16"):
        assert generate_array(initializers.Zero(), ()).dtype == np.float16
    with pytest.raises(ValueError, match="float64"):
        generate_array(initializers.Zero("d"), 3, np, "f")
    assert generate_array(initializers.Zero(), 3, np, device="@numpy").shape == (3,)


def test_a_users_function_initializes():
    def ones(a):
        a[...] = 1
    assert (L.Linear(3, 2, initialW=ones, initial_bias=ones).W.array == 1).all()
    gamma = initializers.Constant(2)
    bn = L.BatchNormalization(3, dtype="d", initial_gamma=gamma, initial_beta=ones)
    assert bn.gamma.dtype == bn.beta.dtype == np.float64 and (bn.gamma.array == 2).all() and (bn.beta.array == 1).all()
    assert gamma.dtype is None


def test_initial_arrays_are_copied():
    W = np.ones((2, 3), "f")
    link = L.Linear(3, 2, initialW=W)
    link.W.array[...] = 5
    assert (W == 1).all()
    with pytest.raises(ValueError):
        L.Linear(3, 2, initialW=np.ones((2, 4), "f"))
