"""Distributions against SciPy's: densities, moments, draws, gradients, divergences, and traced against eager."""
import numpy as np
import pytest
from scipy import stats

import hybridnn as hnn
import hybridnn.distributions as D
import hybridnn.functions as F
from hybridnn import testing
from hybridnn.gradient_check import check_backward

SHAPE = (3, 2)


def uniform(low, high, shape=SHAPE, dtype=np.float32):
    return np.random.uniform(low, high, shape).astype(dtype)


def triangles(shape, dtype):
    return np.tril(uniform(-1, 1, shape, dtype), -1) + uniform(.5, 1.5, shape[:-1], dtype)[..., None] * np.eye(shape[-1], dtype=dtype)


def shares(shape, dtype):
    p = uniform(.2, 1, shape, dtype)
    return p / p.sum(-1, keepdims=True)


# name: (range of each parameter, SciPy's frozen distribution)
SCALARS = {
    "Bernoulli": ({"p": (.1, .9)}, lambda p: stats.bernoulli(p)),
    "Beta": ({"a": (.5, 5), "b": (.5, 5)}, lambda a, b: stats.beta(a, b)),
    "Cauchy": ({"loc": (-1, 1), "scale": (.5, 2)}, lambda loc, scale: stats.cauchy(loc, scale)),
    "Chisquare": ({"k": (1, 9)}, lambda k: stats.chi2(k)),
    "Exponential": ({"lam": (.5, 2)}, lambda lam: stats.expon(scale=1 / lam)),
    "Gamma": ({"k": (.5, 5), "theta": (.5, 2)}, lambda k, theta: stats.gamma(k, scale=theta)),
    "Geometric": ({"p": (.2, .9)}, lambda p: stats.geom(p)),
    "Gumbel": ({"loc": (-1, 1), "scale": (.5, 2)}, lambda loc, scale: stats.gumbel_r(loc, scale)),
    "Laplace": ({"loc": (-1, 1), "scale": (.5, 2)}, lambda loc, scale: stats.laplace(loc, scale)),
    "LogNormal": ({"mu": (-1, 1), "sigma": (.2, .6)}, lambda mu, sigma: stats.lognorm(sigma, scale=np.exp(mu))),
    "Normal": ({"loc": (-1, 1), "scale": (.5, 2)}, lambda loc, scale: stats.norm(loc, scale)),
    "Pareto": ({"scale": (.5, 2), "alpha": (5, 9)}, lambda scale, alpha: stats.pareto(alpha, scale=scale)),
    "Poisson": ({"lam": (.5, 9)}, lambda lam: stats.poisson(lam)),
    "Uniform": ({"loc": (-3, 0), "scale": (1, 4)}, lambda loc, scale: stats.uniform(loc, scale)),
}
DISCRETE = {"Bernoulli", "Geometric", "Poisson"}
VECTORS = {
    "Categorical": {"p": lambda dtype: shares((*SHAPE, 3), dtype)},
    "Dirichlet": {"alpha": lambda dtype: uniform(.5, 5, (*SHAPE, 3), dtype)},
    "MultivariateNormal": {"loc": lambda dtype: uniform(-1, 1, (*SHAPE, 3), dtype),
                           "scale_tril": lambda dtype: triangles((*SHAPE, 3, 3), dtype)},
    "OneHotCategorical": {"p": lambda dtype: shares((*SHAPE, 3), dtype)},
}
ALL = sorted({*SCALARS, *VECTORS})
SCIPY = {"cdf": "cdf", "log_cdf": "logcdf", "survival_function": "sf", "log_survival_function": "logsf"}


def parameters(name, dtype=np.float32):
    if name in VECTORS:
        return {key: make(dtype) for key, make in VECTORS[name].items()}
    return {key: uniform(low, high, dtype=dtype) for key, (low, high) in SCALARS[name][0].items()}


def pair(name):
    """A distribution and SciPy's."""
    given = parameters(name)
    return getattr(D, name)(**given), SCALARS[name][1](**{k: v.astype(np.float64) for k, v in given.items()})


@pytest.mark.parametrize("name", SCALARS)
def test_densities(name):
    dist, expected = pair(name)
    x = expected.rvs(size=(4, *SHAPE)).astype(np.int32 if name in DISCRETE else np.float32)
    logs = expected.logpmf(x) if name in DISCRETE else expected.logpdf(x)
    assert dist.log_prob(x).dtype == np.float32
    for given in (x, hnn.Variable(x)):
        testing.assert_allclose(dist.log_prob(given), logs)
    testing.assert_allclose(dist.prob(x), np.exp(logs))


@pytest.mark.parametrize("name", SCALARS)
def test_distribution_functions(name):
    dist, expected = pair(name)
    x, q = expected.rvs(size=(4, *SHAPE)).astype(np.float32), uniform(.01, .99, (4, *SHAPE))
    for own, theirs in SCIPY.items():
        if getattr(type(dist), own) is not getattr(hnn.Distribution, own):
            testing.assert_allclose(getattr(dist, own)(x), getattr(expected, theirs)(x))
    if type(dist).icdf is not hnn.Distribution.icdf:
        testing.assert_allclose(dist.icdf(q), expected.ppf(q), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", sorted({*SCALARS} - {"Cauchy"}))
def test_moments(name):
    dist, expected = pair(name)
    testing.assert_allclose(dist.mean, expected.mean())
    testing.assert_allclose(dist.variance, expected.var())
    testing.assert_allclose(dist.stddev, expected.std())
    if name not in ("Geometric", "Poisson"):
        testing.assert_allclose(dist.entropy, expected.entropy())


@pytest.mark.parametrize("name", sorted({*SCALARS} - {"Cauchy"}))
def test_draws_have_the_moments(name):
    dist, expected = pair(name)
    x = dist.sample(30000).array
    assert x.shape == (30000, *SHAPE)
    spread = expected.std()
    assert (abs(x.mean(0) - expected.mean()) < 6 * spread / np.sqrt(len(x))).all()
    testing.assert_allclose(x.std(0), spread, rtol=.2)


def test_a_cauchy_distribution_has_quantiles_but_no_moments():
    dist, expected = pair("Cauchy")
    testing.assert_allclose(dist.entropy, expected.entropy())
    testing.assert_allclose(np.median(dist.sample(30000).array, 0), expected.median(), atol=.1)
    for name in ("mean", "variance"):
        with pytest.warns(RuntimeWarning, match=f"{name} of a Cauchy distribution is undefined"):
            assert np.isnan(getattr(dist, name).array).all()


def test_categorical():
    logit = uniform(-2, 2, (*SHAPE, 3))
    p = np.exp(logit) / np.exp(logit).sum(-1, keepdims=True)
    for dist in (D.Categorical(p), D.Categorical(logit=logit)):
        x = np.random.randint(0, 3, (4, *SHAPE))
        testing.assert_allclose(dist.log_prob(x), np.log(np.take_along_axis(np.broadcast_to(p, (4, *p.shape)), x[..., None], -1)[..., 0]))
        testing.assert_allclose(dist.log_prob(x.astype(np.float32)), dist.log_prob(x))
        testing.assert_allclose(dist.entropy, stats.entropy(p, axis=-1))
        drawn = dist.sample((100, 300)).array
        assert drawn.shape == (100, 300, *SHAPE)
        testing.assert_allclose([(drawn == k).mean((0, 1)) for k in range(3)], np.moveaxis(p, -1, 0), atol=.02)


def test_categories_without_probability_are_never_drawn():
    dist = D.Categorical(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]], np.float32))
    assert (dist.sample(1000).array == [1, 0, 2]).all()


def test_one_hot_categorical():
    p = shares((*SHAPE, 3), np.float32)
    dist = D.OneHotCategorical(p)
    drawn = dist.sample(20000).array
    assert drawn.dtype == np.float32 and (drawn.sum(-1) == 1).all()
    testing.assert_allclose(drawn.mean(0), p, atol=.02)
    testing.assert_allclose(drawn.var(0), dist.variance, atol=.02)
    testing.assert_allclose(dist.log_prob(drawn[:4]), np.log((p * drawn[:4]).sum(-1)))


def test_dirichlet():
    alpha = uniform(.5, 5, (*SHAPE, 3))
    dist = D.Dirichlet(alpha)
    expected = [stats.dirichlet(a.astype(np.float64)) for a in alpha.reshape(-1, 3)]
    x = dist.sample(20000).array
    testing.assert_allclose(x.sum(-1), 1)
    testing.assert_allclose(x.mean(0), dist.mean, atol=.02)
    testing.assert_allclose(x.var(0), dist.variance, atol=.02)
    testing.assert_allclose(dist.entropy, np.reshape([e.entropy() for e in expected], SHAPE))
    point = shares((3,), np.float64)
    testing.assert_allclose(dist.log_prob(np.broadcast_to(point, (*SHAPE, 3))), np.reshape([e.logpdf(point) for e in expected], SHAPE))


def test_multivariate_normal():
    loc, scale = uniform(-1, 1, (*SHAPE, 3)), triangles((*SHAPE, 3, 3), np.float32)
    dist, x = D.MultivariateNormal(loc, scale_tril=scale), uniform(-2, 2, (4, *SHAPE, 3))
    expected = [stats.multivariate_normal(m, c) for m, c in zip(loc.reshape(-1, 3), (scale @ scale.swapaxes(-1, -2)).reshape(-1, 3, 3))]
    testing.assert_allclose(dist.entropy, np.reshape([e.entropy() for e in expected], SHAPE))
    logs = np.stack([e.logpdf(points) for e, points in zip(expected, np.moveaxis(x.reshape(4, -1, 3), 1, 0))], 1)
    testing.assert_allclose(dist.log_prob(x), logs.reshape(4, *SHAPE), atol=1e-4, rtol=1e-4)
    drawn = dist.sample(20000).array
    testing.assert_allclose(drawn.mean(0), loc, atol=.1)
    centred = drawn - loc
    testing.assert_allclose(np.einsum("n...i,n...j->...ij", centred, centred) / len(drawn), dist.covariance, atol=.15)
    testing.assert_allclose(np.diagonal(dist.covariance.array, axis1=-2, axis2=-1), dist.variance)


# ------------------------------------------------------------------------------------------------------------------ gradients

def point_of(name, dist):
    """A sample, of which no element lies where a density has a kink or ends."""
    x = dist.sample(2).array
    return x if x.dtype.kind == "i" or name == "OneHotCategorical" else np.clip(x, .05, .95) if name == "Beta" else x


@pytest.mark.parametrize("name", ALL)
def test_gradients_of_log_prob(name):
    given = parameters(name, np.float64)
    make = getattr(D, name)
    x = point_of(name, make(**given))

    def f(*values):
        return make(**dict(zip(given, values))).log_prob(x)
    gy = uniform(-1, 1, (2, *SHAPE), np.float64)
    check_backward(f, tuple(given.values()), gy, atol=1e-4, rtol=1e-4, dtype=np.float64)


@pytest.mark.parametrize("name", ["Cauchy", "Exponential", "Gumbel", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "Pareto",
                                  "Uniform"])
def test_gradients_pass_through_draws(name):
    given = {key: hnn.Variable(value) for key, value in parameters(name).items()}
    F.sum(getattr(D, name)(**given).sample(3)).backward()
    assert any(v.grad is not None and abs(v.grad).sum() > 0 for v in given.values())


def test_bernoulli_beyond_its_bounds():
    y = D.Bernoulli(logit=np.array([np.inf, np.inf, -np.inf, -np.inf, 2], np.float32)).log_prob(np.array([1, .5, 0, .5, 1], np.float32))
    testing.assert_allclose(y, [0, np.log(.5), 0, np.log(.5), -np.log1p(np.exp(-2))])
    checked = D.Bernoulli(p=np.array([.3, .3, .3], np.float32), binary_check=True)
    x = np.array([0, .5, 1], np.float32)
    testing.assert_allclose(checked.log_prob(x), [np.log(.7), -np.inf, np.log(.3)])
    testing.assert_allclose(checked.prob(x), [.7, 0, .3])


def test_entropy_where_a_probability_is_0():
    p = hnn.Variable(np.array([0, .25, .75], np.float32))
    y = D.Categorical(p).entropy
    testing.assert_allclose(y, stats.entropy([.25, .75]))
    with pytest.warns(RuntimeWarning, match="divide by zero"):
        y.backward()
    testing.assert_allclose(p.grad, [0, -1 - np.log(.25), -1 - np.log(.75)])


@pytest.mark.parametrize(("dist", "outside"), [
    (D.Beta(2., 3.), [-1, 2]), (D.Exponential(2.), [-1]), (D.Gamma(2., 1.), [-1]), (D.Pareto(2., 3.), [1]),
    (D.Uniform(low=-1., high=1.), [-2, 2])])
def test_outside_the_support_the_density_is_0(dist, outside):
    assert (dist.log_prob(np.array(outside, np.float32)).array == -np.inf).all()


def test_at_the_ends_of_the_support():
    assert float(D.Beta(1., 2.).log_prob(np.float32(0))) == pytest.approx(np.log(2))
    assert float(D.Gamma(1., 1.).log_prob(np.float32(0))) == 0
    assert float(D.Chisquare(2.).log_prob(np.float32(0))) == pytest.approx(-np.log(2))
    with np.errstate(divide="ignore"):
        assert float(D.Geometric(1.).log_prob(np.int32(1))) == 0


# ------------------------------------------------------------------------------------------------------- shapes and arguments

@pytest.mark.parametrize("name", ALL)
def test_shapes(name):
    dist = getattr(D, name)(**parameters(name))
    assert dist.batch_shape == SHAPE
    assert dist.sample().shape == SHAPE + dist.event_shape
    assert dist.sample(5).shape == (5, *SHAPE) + dist.event_shape
    assert dist.sample((5, 2)).shape == (5, 2, *SHAPE) + dist.event_shape
    assert dist.log_prob(dist.sample((5, 2))).shape == (5, 2, *SHAPE)
    assert dist.xp is np and all(isinstance(p, hnn.Variable) for p in dist.params.values())


def test_parameters_broadcast_and_may_be_numbers():
    dist = D.Normal(np.zeros(3, np.float32), np.ones((2, 1), np.float32))
    assert dist.batch_shape == (2, 3) and dist.sample(4).shape == (4, 2, 3)
    assert D.Normal(0, 1.).sample(4).dtype == np.float32


@pytest.mark.parametrize("make", [
    lambda: D.Normal(0.), lambda: D.Normal(0., 1., log_scale=0.), lambda: D.Bernoulli(), lambda: D.Bernoulli(.5, 0.),
    lambda: D.Categorical(), lambda: D.Uniform(low=0.), lambda: D.Uniform(low=0., high=1., loc=0., scale=1.),
    lambda: D.MultivariateNormal(np.zeros(2, np.float32)), lambda: D.Independent(D.Normal(np.zeros(2), np.ones(2)), 2)])
def test_wrong_arguments(make):
    with pytest.raises(ValueError, match="expected"):
        make()


def test_what_is_not_defined_says_so():
    with pytest.raises(NotImplementedError, match="Gamma does not define cdf"):
        D.Gamma(1., 1.).cdf(np.float32(1))
    with pytest.raises(NotImplementedError, match="no rule for Normal and Gamma"):
        hnn.kl_divergence(D.Normal(0., 1.), D.Gamma(1., 1.))


def test_computed_parameters_are_computed_once_with_and_once_without_a_graph():
    dist = D.Normal(hnn.Variable(np.zeros(2)), log_scale=hnn.Variable(np.zeros(2)))
    with hnn.no_backprop_mode():
        bare = dist.scale
        assert dist.scale is bare and bare.creator is None
    assert dist.scale is dist.scale and dist.scale is not bare and dist.scale.creator is not None
    with pytest.raises(AttributeError, match="cannot be set"):
        dist.scale = bare


# ---------------------------------------------------------------------------------------------------------------- divergences

@pytest.mark.parametrize("name", sorted({*ALL} - {"Cauchy", "Chisquare"}))
def test_kl_divergence_is_the_mean_of_the_difference(name):
    p, q = (getattr(D, name)(**parameters(name)) for _ in range(2))
    if name in ("Pareto", "Uniform"):       # the support of p has to lie in that of q
        q = D.Pareto(p.scale * .5, q.alpha) if name == "Pareto" else D.Uniform(low=p.low - 1, high=p.high + 1)
    x = p.sample(40000).array
    if name in ("Beta", "Dirichlet"):
        x = np.clip(x, 1e-6, 1 - 1e-6)
    difference = p.log_prob(x).array - q.log_prob(x).array
    expected, error = difference.mean(0), difference.std(0) / np.sqrt(len(x))
    assert (abs(hnn.kl_divergence(p, q).array - expected) < 6 * error + 1e-3).all()
    assert (abs(hnn.kl_divergence(p, p).array) < 1e-5).all()


def test_kl_divergence_is_infinite_where_the_support_is_larger():
    assert float(hnn.kl_divergence(D.Uniform(low=0., high=2.), D.Uniform(low=0., high=1.))) == np.inf
    assert float(hnn.kl_divergence(D.Pareto(1., 2.), D.Pareto(2., 2.))) == np.inf


def test_cross_entropy_and_rules_of_ones_own():
    p, q = D.Normal(0., 1.), D.Normal(1., 2.)
    x = p.sample(100000).array
    assert float(hnn.cross_entropy(p, q)) == pytest.approx(-q.log_prob(x).array.mean(), abs=.02)

    class Narrow(D.Normal):
        pass

    assert float(hnn.kl_divergence(Narrow(0., 1.), q)) == float(hnn.kl_divergence(p, q))
    rule = hnn.register_kl(Narrow, D.Gamma)(lambda dist1, dist2: 7)
    assert hnn.kl_divergence(Narrow(0., 1.), D.Gamma(1., 1.)) == rule(None, None) == 7


# ---------------------------------------------------------------------------------------------------------------- independent

@pytest.mark.parametrize("taken", [0, 1, 2, None])
def test_independent(taken):
    inner = D.Normal(**parameters("Normal"))
    dist, axes = D.Independent(inner, taken), tuple(range(-(1 if taken is None else taken), 0))
    split = 2 - len(axes)
    assert (dist.batch_shape, dist.event_shape) == (SHAPE[:split], SHAPE[split:])
    x = inner.sample(4).array
    testing.assert_allclose(dist.log_prob(x), inner.log_prob(x).array.sum(axes))
    testing.assert_allclose(dist.prob(x), inner.prob(x).array.prod(axes))
    testing.assert_allclose(dist.cdf(x), inner.cdf(x).array.prod(axes))
    testing.assert_allclose(dist.entropy, inner.entropy.array.sum(axes))
    testing.assert_allclose(hnn.kl_divergence(dist, D.Independent(inner, taken)), 0, atol=1e-6)
    size = int(np.prod(dist.event_shape))
    variances = inner.variance.array.reshape((*dist.batch_shape, size))
    testing.assert_allclose(dist.covariance, variances[..., None] * np.eye(size))


def test_independent_vectors():
    inner = D.MultivariateNormal(**parameters("MultivariateNormal"))
    dist = D.Independent(inner)
    assert (dist.batch_shape, dist.event_shape) == ((3,), (2, 3))
    covariance = np.zeros((3, 6, 6), np.float32)
    covariance[:, :3, :3], covariance[:, 3:, 3:] = inner.covariance.array[:, 0], inner.covariance.array[:, 1]
    testing.assert_allclose(dist.covariance, covariance)
    with pytest.raises(RuntimeError, match="has no inverse"):
        dist.icdf(np.zeros(6))


# --------------------------------------------------------------------------------------------------------------------- traced

@pytest.mark.parametrize("mode", ["auto", "verify"])
@pytest.mark.parametrize("name", ALL)
def test_traced_equals_eager(name, mode):
    make = getattr(D, name)
    keys = list(parameters(name))

    def step(x, *values):
        variables = [hnn.Variable(v) for v in values]
        dist = make(**dict(zip(keys, variables)))
        drawn = dist.sample(2)
        loss = -F.sum(dist.log_prob(x))
        loss.backward()
        return loss, drawn, *[v.grad for v in variables]

    traced = hnn.trace(step, mode=mode)
    with hnn.using_config("trace_compile", "sync"):
        for seed in range(10):
            np.random.seed(seed)
            given = parameters(name)
            x = make(**given).sample(2).array
            results = []
            for f in (step, traced):
                np.random.seed(seed)
                results.append([getattr(y, "array", y) for y in f(x, *given.values())] + [np.random.rand()])
            for eager, other in zip(*results):
                assert (other is None) == (eager is None)
                if eager is not None:
                    testing.assert_allclose(other, eager, atol=1e-5, rtol=2e-5)
    assert traced.stats.hits > 0
