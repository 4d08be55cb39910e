"""The test cases of functions and of links, where Chainer has them."""
from hybridnn.testing.cases import FunctionTestError, LinkTestError
from hybridnn.testing.function_case import FunctionTestCase
from hybridnn.testing.link_case import InitializerArgument, LinkInitializersTestCase, LinkTestCase

__all__ = ["FunctionTestCase", "FunctionTestError", "InitializerArgument", "LinkInitializersTestCase", "LinkTestCase", "LinkTestError"]
