"""The gradient checks accept right gradients, and tell wrong ones."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import gradient_check


def draw(*shape, dtype="float64"):
    return np.asarray(np.random.uniform(0.5, 1.5, shape)).astype(dtype)


class Scaled(hnn.FunctionNode):
    """x^3, whose first or second gradient can be made wrong."""

    def __init__(self, first=1.0, second=1.0):
        self.first, self.second = first, second

    def forward(self, inputs):
        self.retain_inputs((0,))
        x, = inputs
        return x ** 3,

    def backward(self, indexes, gys):
        x, = self.get_retained_inputs()
        right = 3 * x * x * gys[0]
        return right * self.first if self.second == 1 else right + F.cast(x, "float64") * 0 + _zero_valued(x, self.second),


def _zero_valued(x, factor):
    """Zero in value, but not in gradient."""
    return factor * (x - x.array)


def test_numerical_grad_of_a_matrix_product():
    a, b, g = draw(2, 3), draw(3, 2), draw(2, 2)
    ga, gb = gradient_check.numerical_grad(lambda: (a @ b,), (a, b), (g,))
    np.testing.assert_allclose(ga, g @ b.T, rtol=1e-8)
    np.testing.assert_allclose(gb, a.T @ g, rtol=1e-8)


def test_numerical_grad_leaves_inputs_and_handles_none():
    x = draw(3, dtype="float32")
    before = x.copy()
    gx, = gradient_check.numerical_grad(lambda: (x * 2, None, x), (x,), (np.ones(3), None, 0.5))
    np.testing.assert_array_equal(x, before)
    assert gx.dtype == "float32"
    np.testing.assert_allclose(gx, 2.5, rtol=1e-3)


def test_five_points_are_exact_for_fourth_order():
    x = np.array(0.7)
    gx, = gradient_check.numerical_grad(lambda: (x ** 4,), (x,), (1.0,), eps=0.1, detect_nondifferentiable=True, diff_rtol=1)
    assert gx == pytest.approx(4 * 0.7 ** 3, rel=1e-12)


@pytest.mark.parametrize("f", [np.abs, np.floor, lambda x: np.where(x > 0, np.inf, x)])
def test_kinks_and_jumps_are_detected(f):
    x = np.zeros(3)
    with pytest.raises(gradient_check.NondifferentiableError):
        gradient_check.numerical_grad(lambda: (f(x),), (x,), (1.0,), detect_nondifferentiable=True)


def test_smooth_and_constant_functions_are_no_kinks():
    x = draw(3)
    gx, = gradient_check.numerical_grad(lambda: (np.exp(x), np.ones(2)), (x,), (1.0, 1.0), detect_nondifferentiable=True)
    np.testing.assert_allclose(gx, np.exp(x), rtol=1e-6)


def test_numerical_grad_refuses_integers_and_bad_steps():
    with pytest.raises(RuntimeError, match="int64"):
        gradient_check.numerical_grad(lambda: (1,), (np.arange(3),), (1.0,))
    with pytest.raises(AssertionError, match="eps"):
        gradient_check.numerical_grad(lambda: (1,), (), (), eps=0)


def test_right_gradients_pass():
    x, y, g = draw(2, 3), draw(3), draw(2, 3)
    f = lambda a, b: F.tanh(a * b)
    gradient_check.check_backward(f, (x, y), g)
    gradient_check.check_double_backward(f, (x, y), g, (draw(2, 3), draw(3)))
    gradient_check.check_backward(lambda a: Scaled().apply((a,)), x, g)
    gradient_check.check_double_backward(lambda a: Scaled().apply((a,)), x, g, draw(2, 3))


def test_inputs_that_share_a_gradient_pass_twice():
    gradient_check.check_double_backward(F.add, (draw(2, 3), draw(2, 3), draw(2, 3)), draw(2, 3), (draw(2, 3), draw(2, 3), draw(2, 3)))
    gradient_check.check_backward(lambda x: [F.exp(x)] * 2, draw(2), (draw(2), draw(2)))


def test_a_wrong_first_gradient_fails():
    with pytest.raises(AssertionError, match="check_backward failed"):
        gradient_check.check_backward(lambda a: Scaled(first=1.01).apply((a,)), draw(2, 3), draw(2, 3))


def test_a_wrong_second_gradient_fails_only_the_second_check():
    f = lambda a: Scaled(second=1.1).apply((a,))
    x, g = draw(2, 3), draw(2, 3)
    gradient_check.check_backward(f, x, g)
    with pytest.raises(AssertionError, match="check_double_backward failed"):
        gradient_check.check_double_backward(f, x, g, draw(2, 3))


def test_one_wrong_element_among_a_thousand_fails():
    def f(x):
        return F.where(np.arange(1000) == 517, x.array * x, x * x)
    with pytest.raises(AssertionError):
        gradient_check.check_backward(f, draw(1000), draw(1000))


def test_parameters_are_checked_and_restored():
    w = hnn.Parameter(draw(3))
    before = w.array
    f = lambda x: F.sum(x * w, axis=1)
    gradient_check.check_backward(f, draw(2, 3), draw(2), params=(w,))
    gradient_check.check_double_backward(f, draw(2, 3), draw(2), draw(2, 3), params=(w,), params_grad_grad=(draw(3),))
    assert w.array is before
    with pytest.raises(AssertionError):
        gradient_check.check_backward(lambda x: F.sum(x * w * w.array, axis=1), draw(2, 3), draw(2), params=(w,))


def test_parameters_as_arrays():
    gradient_check._check_backward_with_params(lambda xs, ps: xs[0] * ps[0], draw(2), draw(2), params=(draw(2),))
    with pytest.raises(ValueError, match="arrays"):
        gradient_check._check_backward_with_params(lambda xs, ps: xs[0], draw(2), draw(2), params=(hnn.Parameter(draw(2)),))


def test_float32_functions_are_checked_in_float64():
    gradient_check.check_backward(lambda x: F.exp(x), draw(3, dtype="float32"), draw(3, dtype="float32"), dtype="float64")


def test_integer_inputs_and_missing_inputs_are_left_out():
    gradient_check.check_backward(lambda x, i, n: x * i, (draw(3), np.arange(3), None), draw(3), no_grads=(False, True, True))
    gradient_check.check_backward(lambda x, i: x * i, (draw(3), np.arange(3)), draw(3))


def test_losses_need_no_output_gradient():
    gradient_check.check_backward(lambda x: F.sum(x * x), draw(3), None)
    with pytest.raises(ValueError, match="one output of shape"):
        gradient_check.check_backward(lambda x: x * x, draw(3), None)


@pytest.mark.parametrize("gy", [draw(2), draw(3, dtype="float32"), (draw(3), draw(3))])
def test_output_gradients_have_to_fit(gy):
    with pytest.raises(ValueError, match="output gradients"):
        gradient_check.check_backward(lambda x: x * x, draw(3), gy)


def test_dtype_is_floating_point_and_no_grads_complete():
    with pytest.raises(ValueError, match="floating-point"):
        gradient_check.check_backward(lambda x: x, draw(3), draw(3), dtype="int32")
    with pytest.raises(ValueError, match="one entry per input"):
        gradient_check.check_backward(lambda x: x, draw(3), draw(3), no_grads=(False, False))


def test_the_old_assert_allclose_warns():
    with pytest.warns(DeprecationWarning):
        gradient_check.assert_allclose(np.ones(2), np.ones(2))
