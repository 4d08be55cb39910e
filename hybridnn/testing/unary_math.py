"""``unary_math_function_unittest``: a whole test class for a function of one array that works element by element."""
import unittest

import numpy as np

from hybridnn.core import Variable
from hybridnn.gradient_check import check_backward, check_double_backward
from hybridnn.testing.array import assert_allclose
from hybridnn.testing.parameterized import parameterize, product

__all__ = ["unary_math_function_unittest"]


def _uniform(shape, dtype):
    return tuple([np.asarray(np.random.uniform(-1, 1, shape)).astype(dtype) for _ in range(3)])


def _of_numpy(name):
    """NumPy's function of that name, with the result in a dtype; None if there is none."""
    function = getattr(np, name, None)
    return None if function is None else lambda x, dtype: np.asarray(function(x)).astype(dtype)


def unary_math_function_unittest(func, func_expected=None, label_expected=None, make_data=None, is_linear=None,
                                 forward_options=None, backward_options=None, double_backward_options=None):
    """Class decorator: tests of values, gradients and second gradients of ``func`` for two shapes and three dtypes.

    Args:
        func: function of a Variable.
        func_expected: ``func_expected(x, dtype=...)`` on arrays; default: NumPy's function of the same name.
        label_expected: accepted for Chainer's signature, where it is what a class of the function is called; here functions are no classes.
        make_data: ``make_data(shape, dtype)`` returns input, output gradient, gradient of the input gradient.
        is_linear: squares the output in the second-order test, since a linear function has no second gradient.
        forward_options, backward_options, double_backward_options: keywords of the comparisons.
    """
    expected = func_expected or _of_numpy(func.__name__)
    if expected is None:
        raise ValueError(f"NumPy has no function {func.__name__!r}\n  hint: pass func_expected")
    second = (lambda x: func(x) ** 2) if is_linear else func
    given = (forward_options or {}, backward_options or {}, double_backward_options or {})

    def decorate(cls):
        if not issubclass(cls, unittest.TestCase):
            raise TypeError(f"{cls.__name__} is not a unittest.TestCase")
        members = _members(func, second, expected, make_data or _uniform, given)
        for name, method in members.items():
            setattr(cls, name, method)
        return parameterize(*product({"shape": [(3, 2), ()], "dtype": [np.float16, np.float32, np.float64]}))(cls)
    return decorate


def _options(dtype, given):
    """Tolerances of values, gradients and second gradients."""
    if dtype == np.float16:
        eps, coarse = float(np.finfo("float16").eps), 2.0 ** -4
        own = ({"atol": eps, "rtol": eps}, *[{"eps": coarse, "atol": coarse, "rtol": coarse, "dtype": np.float64}] * 2)
    else:
        own = ({"atol": 1e-4, "rtol": 1e-4}, *[{"dtype": np.float64, "atol": 1e-4, "rtol": 1e-4}] * 2)
    return [{**a, **b} for a, b in zip(own, given)]


def _members(func, second, expected, make_data, given):
    def setUp(self):
        self.x, self.gy, self.ggx = make_data(self.shape, self.dtype)
        self.forward_options, self.backward_options, self.double_backward_options = _options(self.dtype, given)

    def test_forward_cpu(self):
        y = func(Variable(self.x))
        self.assertEqual(y.dtype, self.x.dtype)
        assert_allclose(expected(self.x, dtype=self.x.dtype), y, **self.forward_options)

    def test_backward_cpu(self):
        check_backward(func, self.x, self.gy, **self.backward_options)

    def test_double_backward_cpu(self):
        check_double_backward(second, self.x, self.gy, self.ggx, **self.double_backward_options)
    return {f.__name__: f for f in (setUp, test_forward_cpu, test_backward_cpu, test_double_backward_cpu)}
