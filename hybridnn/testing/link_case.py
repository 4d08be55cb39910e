"""``LinkTestCase`` and ``LinkInitializersTestCase``: values and gradients of a link, and how its parameters begin."""
import unittest

import numpy as np

from hybridnn.backend import CpuDevice
from hybridnn.core import Variable
from hybridnn.gradient_check import _check_backward_with_params
from hybridnn.initializer import Initializer
from hybridnn.initializers.conversion import get_initializer
from hybridnn.link import Link
from hybridnn.testing.cases import (
    LinkTestError,
    check_array_types,
    check_equal,
    check_variables,
    random_like,
    until_differentiable,
    with_layout,
)

__all__ = ["InitializerArgument", "LinkInitializersTestCase", "LinkTestCase"]


class InitializerArgument:
    """An argument for a link's initializer, such as None, and the initializer that it should stand for."""

    def __init__(self, argument_value, expected_initializer):
        if expected_initializer is None:
            raise ValueError("expected_initializer is an initializer, not None")
        _check_initializer(expected_initializer)
        self.argument_value, self.expected_initializer = argument_value, expected_initializer


def _check_initializer(value):
    value = value.expected_initializer if isinstance(value, InitializerArgument) else value
    if value is None:
        raise ValueError("an initializer None is wrapped in InitializerArgument, with the initializer that it stands for")
    if not (callable(value) or isinstance(value, (np.ndarray, Initializer)) or np.isscalar(value)):
        raise TypeError(f"an initializer is an Initializer, a callable, an array or a number, not {type(value).__name__}")


def _argument(value):
    return value.argument_value if isinstance(value, InitializerArgument) else value


def _expected(value):
    value = value.expected_initializer if isinstance(value, InitializerArgument) else value
    return value if isinstance(value, Initializer) else get_initializer(value)


class _LinkCase(unittest.TestCase):
    """What both cases need: ``generate_params``, ``generate_inputs``, ``create_link(initializers)``, and ``param_names``."""
    backend_config = None
    contiguous = None
    param_names = ()

    def before_test(self, test_name):
        """Called first, with the name of the test."""

    def generate_params(self):
        raise NotImplementedError("generate_params() is not defined")

    def generate_inputs(self):
        raise NotImplementedError("generate_inputs() is not defined")

    def create_link(self, initializers):
        raise NotImplementedError("create_link() is not defined")

    def forward(self, link, inputs, device):
        outputs = link(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    def _begin(self, name, backend_config, skip=False):
        if skip:
            raise unittest.SkipTest(f"this case leaves {name} out")
        self.backend_config = backend_config
        self.before_test(name)

    def _params(self):
        values = self.generate_params()
        if not isinstance(values, (tuple, list)):
            raise TypeError(f"generate_params() returns a tuple or a list, not {type(values).__name__}")
        for value in values:
            _check_initializer(value)
        return values

    def _inputs(self):
        return check_array_types(self.generate_inputs(), "generate_inputs")

    def _send(self, arrays):
        return with_layout(self.backend_config.get_array(arrays), self.contiguous)

    def _link(self, initializers):
        link = self.create_link([_argument(i) for i in initializers])
        if not isinstance(link, Link):
            raise TypeError(f"create_link() returns a Link, not {type(link).__name__}")
        link.to_device(self.backend_config.device)
        return link

    def _forward(self, link, inputs):
        with self.backend_config as config:
            outputs = self.forward(link, tuple(inputs), config.device)
        return check_variables(outputs, self.backend_config.device, LinkTestError)

    def _initialised(self, initializers):
        """A link that has seen inputs, so that all parameters exist; the inputs; the outputs."""
        link, inputs = self._link(initializers), self._send(self._inputs())
        outputs = [y.array for y in self._forward(link, [Variable(x) for x in inputs])]
        link.cleargrads()
        return link, inputs, outputs

    def _parameters_of(self, link):
        found = [getattr(link, name, None) for name in self.param_names]
        for name, param in zip(self.param_names, found):
            if param is None:
                raise LinkTestError(f"the link has no parameter called {name!r}")
        return found


class LinkTestCase(_LinkCase):
    """Base of tests of links; use it under ``inject_backend_tests(None, [...])``.

    Besides the methods of its base, a subclass defines ``forward_expected(link, inputs)`` (arrays to a tuple of arrays).
    Attributes are those of ``FunctionTestCase`` without second gradients.
    """
    skip_forward_test = skip_backward_test = False
    dodge_nondifferentiable = False
    numerical_grad_dtype = np.float64

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.check_forward_options = {}
        self.check_backward_options = {}

    def forward_expected(self, link, inputs):
        raise NotImplementedError("forward_expected() is not defined")

    def generate_grad_outputs(self, outputs_template):
        return random_like(outputs_template)

    def check_forward_outputs(self, outputs, expected_outputs):
        check_equal(outputs, expected_outputs, LinkTestError, **self.check_forward_options)

    def test_forward(self, backend_config):
        self._begin("test_forward", backend_config, self.skip_forward_test)
        link, arrays = self._link(self._params()), self._inputs()
        outputs = tuple([y.array for y in self._forward(link, [Variable(x) for x in self._send(arrays)])])
        link.to_device(CpuDevice())
        expected = check_array_types(self.forward_expected(link, arrays), "forward_expected")
        self.check_forward_outputs(outputs, expected)

    def test_backward(self, backend_config):
        self._begin("test_backward", backend_config, self.skip_backward_test)
        until_differentiable(self._check_backward, self.dodge_nondifferentiable)

    def _check_backward(self):
        initializers = self._params()
        link, inputs, outputs = self._initialised(initializers)
        params = with_layout([p.array for p in self._parameters_of(link)], self.contiguous)
        outputs = tuple([CpuDevice().send(y) for y in outputs])
        grad_outputs = check_array_types(self.generate_grad_outputs(outputs), "generate_grad_outputs")
        target, _, _ = self._initialised(initializers)

        def forward(xs, ps):
            with target.init_scope():
                for name, p in zip(self.param_names, ps):
                    setattr(target, name, p)
            return self._forward(target, xs)
        with LinkTestError.raise_if_fail("backward is not right"):
            _check_backward_with_params(forward, inputs, self._send(grad_outputs), params=params, dtype=self.numerical_grad_dtype,
                                        detect_nondifferentiable=self.dodge_nondifferentiable, **self.check_backward_options)


class LinkInitializersTestCase(_LinkCase):
    """Base of tests of a link's initializers: ``get_initializers()`` returns, for each parameter, the initializers to try."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.check_initializers_options = {}

    def get_initializers(self):
        raise NotImplementedError("get_initializers() is not defined")

    def test_initializers(self, backend_config):
        self._begin("test_initializers", backend_config)
        choices = self.get_initializers()
        if not isinstance(choices, (tuple, list)) or not all(isinstance(c, (tuple, list)) for c in choices):
            raise TypeError("get_initializers() returns a tuple or list of tuples or lists")
        for i, values in enumerate(choices):
            initializers = list(self._params())
            for value in values:
                _check_initializer(value)
                initializers[i] = value
                self._check_one(i, initializers)

    def _check_one(self, i, initializers):
        link, _, _ = self._initialised(initializers)
        actual = CpuDevice().send(self._parameters_of(link)[i].array)
        expected = np.empty_like(actual)
        _expected(initializers[i])(expected)
        check_equal((actual,), (expected,), LinkTestError, **self.check_initializers_options)
