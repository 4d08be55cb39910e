"""Tools for testing functions, links and optimizers: those of Chainer v7, under its names."""
from hybridnn.testing import array, attr, backend, bundle, condition, distribution_test, function_link, helper, random
from hybridnn.testing.array import assert_allclose
from hybridnn.testing.backend import BackendConfig, inject_backend_tests
from hybridnn.testing.cases import FunctionTestError, LinkTestError
from hybridnn.testing.distribution_test import distribution_unittest
from hybridnn.testing.function_case import FunctionTestCase
from hybridnn.testing.helper import assert_warns, patch, with_requires, without_requires
from hybridnn.testing.link_case import InitializerArgument, LinkInitializersTestCase, LinkTestCase
from hybridnn.testing.matrix import generate_matrix
from hybridnn.testing.parameterized import (
    from_pytest_parameterize,
    parameterize,
    parameterize_pytest,
    product,
    product_dict,
)
from hybridnn.testing.random import fix_random, generate_seed
from hybridnn.testing.serializer import save_and_load, save_and_load_hdf5, save_and_load_npz
from hybridnn.testing.training import get_trainer_with_mock_updater
from hybridnn.testing.unary_math import unary_math_function_unittest
from hybridnn.utils.paths import open_paths as _open_paths

_open_paths(__name__, {"unary_math_function_test": "unary_math_function_unittest", "_bundle": bundle})

__all__ = ["BackendConfig", "FunctionTestCase", "FunctionTestError", "InitializerArgument",
           "LinkInitializersTestCase", "LinkTestCase", "LinkTestError", "assert_allclose", "assert_warns", "distribution_unittest",
           "fix_random", "from_pytest_parameterize", "generate_matrix", "generate_seed",
           "get_trainer_with_mock_updater", "inject_backend_tests", "parameterize", "parameterize_pytest", "patch",
           "product", "product_dict", "run_module", "save_and_load", "save_and_load_hdf5", "save_and_load_npz",
           "unary_math_function_unittest", "with_requires", "without_requires"]


def run_module(name, file):
    """Run the tests of a file that is started as a script: ``run_module(__name__, __file__)`` at its end."""
    if name == "__main__":
        import pytest
        pytest.main([file, "-vvs", "-x"])
