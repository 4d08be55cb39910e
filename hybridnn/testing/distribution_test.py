"""``distribution_unittest``: a test case that compares a distribution with SciPy's."""
import unittest

import numpy as np

from hybridnn.backend import get_device
from hybridnn.core import Variable
from hybridnn.testing import attr
from hybridnn.testing.array import assert_allclose
from hybridnn.utils.array import size_of_shape

__all__ = ["distribution_unittest"]

# What can be tested: the name here, of the method or property, and of SciPy's ("pdf" is "pmf" for a discrete distribution).
_AT_POINTS = {"cdf": ("cdf", "cdf"), "icdf": ("icdf", "ppf"), "log_cdf": ("log_cdf", "logcdf"), "log_prob": ("log_prob", "logpdf"),
              "log_survival": ("log_survival_function", "logsf"), "prob": ("prob", "pdf"), "survival": ("survival_function", "sf")}
_OF_PARAMETERS = {"entropy": "entropy", "mean": "mean", "stddev": "std", "variance": "var"}
_OWN = ("batch_shape", "event_shape", "support")
_TARGETS = {*_AT_POINTS, *_OF_PARAMETERS, *_OWN, "sample"}


class distribution_unittest(unittest.TestCase):
    """Base of tests of a distribution. A subclass sets in ``setUp_configure``:

    ``dist`` and ``params`` (name to array), ``scipy_dist`` and ``scipy_params``, ``test_targets`` (what to test), and where they
    differ from the defaults ``support``, ``event_shape``, ``continuous``, ``options`` (more keywords of ``dist``). It defines
    ``sample_for_test()``. The attributes ``shape``, ``sample_shape`` and ``is_variable`` come from ``parameterize``.
    With ``scipy_onebyone`` SciPy is asked about each event of the batch by itself.
    """
    scipy_onebyone = False
    event_shape: tuple = ()

    def setUp(self):
        self.support, self.continuous = "real", True
        self.test_targets, self.options = set(), {}
        self.setUp_configure()
        if unknown := set(self.test_targets) - _TARGETS:
            raise ValueError(f"test_targets: expected some of {sorted(_TARGETS)}, found {sorted(unknown)}")
        if self.is_variable:
            self.params = {name: Variable(value) for name, value in self.params.items()}

    def setUp_configure(self):
        """To be overridden."""
        raise NotImplementedError(f"{type(self).__name__} does not define setUp_configure")

    def scipy_onebyone_params_iter(self):
        """SciPy's parameters for each event of the batch."""
        for index in np.ndindex(self.shape):
            yield {name: value[index] for name, value in self.scipy_params.items()}

    @property
    def cpu_dist(self):
        """The distribution."""
        return self.dist(**self.params, **self.options)

    @property
    def gpu_dist(self):
        """The distribution with its parameters on the GPU."""
        send = get_device("@cupy:0").send
        params = {name: Variable(send(p.array)) if self.is_variable else send(p) for name, p in self.params.items()}
        return self.dist(**params, **self.options)

    def _dist(self, is_gpu):
        return self.gpu_dist if is_gpu else self.cpu_dist

    def _scipy(self, name, *args):
        name = name if self.continuous else name.replace("pdf", "pmf")
        return getattr(self.scipy_dist, name)(*args, **self.scipy_params)

    def _scipy_each(self, name, *args, points=()):
        """SciPy's results for the events one by one, stacked in front. ``points`` holds an array of arguments for each."""
        method = getattr(self.scipy_dist, name if self.continuous else name.replace("pdf", "pmf"))
        each = [method(*point, *args, **params) for point, params in zip(points or [()] * size_of_shape(self.shape),
                                                                         self.scipy_onebyone_params_iter(), strict=True)]
        return np.stack(each)

    def _check_at_points(self, target, is_gpu):
        own, scipys = _AT_POINTS[target]
        if target == "icdf":
            x = np.random.uniform(1e-5, 1 - 1e-5, self.sample_shape + self.shape).astype(np.float32)
        else:
            x = self.sample_for_test()
        given = get_device("@cupy:0").send(x) if is_gpu else x
        actual = getattr(self._dist(is_gpu), own)(given)
        if not (self.scipy_onebyone and target == "log_prob"):
            return assert_allclose(actual, self._scipy(scipys, x))
        samples, events = size_of_shape(self.sample_shape), size_of_shape(self.shape)
        points = np.moveaxis(x.reshape((samples, events, *self.event_shape)), 1, 0)
        points = [(p.reshape(self.sample_shape + self.event_shape),) for p in points]
        expected = self._scipy_each(scipys, points=points).reshape(events, samples).T
        return assert_allclose(actual, expected.reshape(self.sample_shape + self.shape))

    def _check_of_parameters(self, target, is_gpu):
        dist = self._dist(is_gpu)
        scipys = _OF_PARAMETERS[target]
        if not self.scipy_onebyone or target == "stddev":
            return assert_allclose(getattr(dist, target), self._scipy(scipys))
        shape = self.shape + (() if target == "entropy" else dist.event_shape)
        return assert_allclose(getattr(dist, target), self._scipy_each(scipys).reshape(shape))

    def _check_sample(self, target, is_gpu):
        n = (100000, *self.sample_shape)
        dist = self._dist(is_gpu)
        actual = np.asarray(get_device("@numpy").send(dist.sample(sample_shape=n).array))
        if self.scipy_onebyone:
            events = tuple(range(len(n), len(n) + 1))
            each = np.stack([self.scipy_dist.rvs(size=n, **p).reshape(n + dist.event_shape) for p in self.scipy_onebyone_params_iter()])
            expected = np.moveaxis(each, (0,), events).reshape(n + self.shape + dist.event_shape)
        else:
            expected = self.scipy_dist.rvs(size=n + self.shape, **self.scipy_params)
        for statistic in (np.mean, np.std):
            assert_allclose(statistic(actual, axis=0), statistic(expected, axis=0), atol=3e-2, rtol=3e-2)

    def _check_own(self, target, is_gpu):
        expected = self.shape if target == "batch_shape" else getattr(self, target)
        self.assertEqual(getattr(self._dist(is_gpu), target), expected)


def _add_tests(target, check):
    """``check_<target>(is_gpu)``, which a subclass may override, and a test of it on each device."""
    def check_target(self, is_gpu):
        check(self, target, is_gpu)

    def test(is_gpu):
        def method(self):
            if target not in self.test_targets:
                self.skipTest(f"{target!r} is not among test_targets")
            getattr(self, f"check_{target}")(is_gpu)
        return method
    setattr(distribution_unittest, f"check_{target}", check_target)
    setattr(distribution_unittest, f"test_{target}_cpu", test(False))
    setattr(distribution_unittest, f"test_{target}_gpu", attr.gpu(test(True)))


for _target in sorted(_TARGETS):
    _add_tests(_target, distribution_unittest._check_at_points if _target in _AT_POINTS
               else distribution_unittest._check_of_parameters if _target in _OF_PARAMETERS
               else distribution_unittest._check_sample if _target == "sample" else distribution_unittest._check_own)
