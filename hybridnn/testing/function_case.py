"""``FunctionTestCase``: values, gradients and second gradients of a function."""
import unittest

import numpy as np

from hybridnn.core import Variable
from hybridnn.gradient_check import check_backward, check_double_backward
from hybridnn.testing.cases import (
    FunctionTestError,
    check_array_types,
    check_equal,
    check_variables,
    random_like,
    until_differentiable,
    with_layout,
)

__all__ = ["FunctionTestCase"]


class FunctionTestCase(unittest.TestCase):
    """Base of tests of functions; use it under ``inject_backend_tests(None, [...])``.

    A subclass defines ``generate_inputs()`` (tuple of NumPy arrays), ``forward(inputs, device)`` (Variables to a tuple of
    Variables) and ``forward_expected(inputs)`` (arrays to a tuple of arrays); it may override ``generate_grad_outputs(outputs)``,
    ``generate_grad_grad_inputs(inputs)``, ``before_test(name)`` and ``check_forward_outputs(outputs, expected)``.

    Attributes:
        check_forward_options, check_backward_options, check_double_backward_options: keywords of the comparisons.
        skip_forward_test, skip_backward_test, skip_double_backward_test: leave a part out.
        dodge_nondifferentiable: draw inputs anew when they hit a kink.
        contiguous: ``"C"``, or None for layouts that are not contiguous.
        numerical_grad_dtype: dtype of the numerical side.
    """
    backend_config = None
    skip_forward_test = skip_backward_test = skip_double_backward_test = False
    dodge_nondifferentiable = False
    contiguous = None
    numerical_grad_dtype = np.float64

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.check_forward_options = {}
        self.check_backward_options = {}
        self.check_double_backward_options = {}

    # ---- to define

    def before_test(self, test_name):
        """Called first, with ``"test_forward"``, ``"test_backward"`` or ``"test_double_backward"``."""

    def forward(self, inputs, device):
        raise NotImplementedError("forward() is not defined")

    def forward_expected(self, inputs):
        raise NotImplementedError("forward_expected() is not defined")

    def generate_inputs(self):
        raise NotImplementedError("generate_inputs() is not defined")

    def generate_grad_outputs(self, outputs_template):
        return random_like(outputs_template)

    def generate_grad_grad_inputs(self, inputs_template):
        return random_like(inputs_template)

    def check_forward_outputs(self, outputs, expected_outputs):
        check_equal(outputs, expected_outputs, FunctionTestError, **self.check_forward_options)

    # ---- the tests

    def test_forward(self, backend_config):
        self.run_test_forward(backend_config)

    def test_backward(self, backend_config):
        self.run_test_backward(backend_config)

    def test_double_backward(self, backend_config):
        self.run_test_double_backward(backend_config)

    def run_test_forward(self, backend_config):
        self._begin("test_forward", backend_config, self.skip_forward_test)
        arrays = self._layout(check_array_types(self.generate_inputs(), "generate_inputs"))
        copies = [a.copy() for a in arrays]
        expected = check_array_types(self.forward_expected(arrays), "forward_expected")
        inputs = self._send(arrays)
        outputs = self._forward([Variable(a, requires_grad=a.dtype.kind == "f") for a in inputs])
        changed = [i for i, (a, b) in enumerate(zip(inputs, copies)) if not _same(backend_config.device, a, b)]
        if changed:
            raise FunctionTestError(f"forward changed its inputs {changed}")
        self.check_forward_outputs(tuple([y.array for y in outputs]), expected)

    def run_test_backward(self, backend_config):
        self._begin("test_backward", backend_config, self.skip_backward_test)

        def check():
            inputs, grad_outputs = self._inputs_and_gradients()
            with FunctionTestError.raise_if_fail("backward is not right"):
                check_backward(lambda *xs: self._forward(xs), self._send(inputs), self._send(grad_outputs),
                               dtype=self.numerical_grad_dtype, detect_nondifferentiable=self.dodge_nondifferentiable,
                               **self.check_backward_options)
        until_differentiable(check, self.dodge_nondifferentiable)

    def run_test_double_backward(self, backend_config):
        self._begin("test_double_backward", backend_config, self.skip_double_backward_test)

        def check():
            inputs, grad_outputs = self._inputs_and_gradients()
            grad_grads = check_array_types(self.generate_grad_grad_inputs(inputs), "generate_grad_grad_inputs")
            grad_grads = tuple([g for g in grad_grads if g is None or g.dtype.kind == "f"])
            with FunctionTestError.raise_if_fail("double backward is not right"), backend_config:
                check_double_backward(lambda *xs: self._forward(xs), self._send(inputs), self._send(grad_outputs),
                                      self._send(grad_grads), dtype=self.numerical_grad_dtype,
                                      detect_nondifferentiable=self.dodge_nondifferentiable,
                                      **self.check_double_backward_options)
        until_differentiable(check, self.dodge_nondifferentiable)

    # ---- steps

    def _begin(self, name, backend_config, skip):
        if skip:
            raise unittest.SkipTest(f"this case leaves {name} out")
        self.backend_config, self.test_name = backend_config, name
        self.before_test(name)

    def _layout(self, arrays):
        return with_layout(arrays, self.contiguous)

    def _send(self, arrays):
        return self._layout(self.backend_config.get_array(arrays))

    def _forward(self, inputs):
        with self.backend_config as config:
            outputs = self.forward(tuple(inputs), config.device)
        return check_variables(outputs, self.backend_config.device, FunctionTestError)

    def _inputs_and_gradients(self):
        inputs = check_array_types(self.generate_inputs(), "generate_inputs")
        outputs = check_array_types(self.forward_expected(inputs), "forward_expected")
        return inputs, check_array_types(self.generate_grad_outputs(outputs), "generate_grad_outputs")


def _same(device, a, b):
    return np.array_equal(a if device.xp is np else a.get(), b, equal_nan=b.dtype.kind in "fc")
