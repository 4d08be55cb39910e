"""The testing tools find what they are there to find."""
import itertools
import types
import unittest

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import testing
from hybridnn.testing import attr, condition


def run_class(cls):
    """The result of running one test class."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(cls).run(result)
    return result


def make(decorators, base):
    """The classes that decorators (innermost first) make of ``base`` in a module of their own."""
    module = types.ModuleType("made_by_test")
    import sys
    sys.modules[module.__name__] = module
    try:
        base.__module__ = module.__name__
        setattr(module, base.__name__, base)
        decorated = base
        for decorate in decorators:
            decorated = decorate(decorated)
        setattr(module, base.__name__, decorated) if base.__name__ not in [c.__name__ for c in decorated.classes] else None
        return [c for c in vars(module).values() if isinstance(c, type)]
    finally:
        del sys.modules[module.__name__]


CPU = testing.inject_backend_tests(None, [{}])


# ------------------------------------------------------------------------------------------------------------ functions

class TanhCase(testing.FunctionTestCase):
    __test__ = False       # the classes made of it are run by hand

    def generate_inputs(self):
        return np.random.uniform(-1, 1, (2, 3)).astype("float32"),

    def forward(self, inputs, device):
        return F.tanh(inputs[0]),

    def forward_expected(self, inputs):
        return np.tanh(inputs[0]),


def test_a_right_function_passes_its_case():
    cls, = make([CPU], type("Right", (TanhCase,), {}))
    result = run_class(cls)
    assert result.testsRun == 3 and result.wasSuccessful()


class WrongGradient(hnn.FunctionNode):
    def forward(self, inputs):
        return np.tanh(inputs[0]),

    def backward(self, indexes, gys):
        return gys[0],


def changing(self, inputs, device):
    inputs[0].array[...] = 0
    return F.tanh(inputs[0]),


WRONG = {
    "values": dict(forward_expected=lambda self, xs: (np.tanh(xs[0]) + np.float32(0.01),)),
    "dtype": dict(forward_expected=lambda self, xs: (np.tanh(xs[0]).astype("float64"),)),
    "number": dict(forward_expected=lambda self, xs: (np.tanh(xs[0]),) * 2),
    "gradient": dict(forward=lambda self, xs, device: WrongGradient().apply(xs)),
    "inputs": dict(forward=changing),
    "array": dict(forward=lambda self, xs, device: (F.tanh(xs[0]).array,)),
    "list": dict(forward=lambda self, xs, device: [F.tanh(xs[0])]),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_function_fails_its_case(what):
    cls, = make([CPU], type("Wrong", (TanhCase,), WRONG[what]))
    result = run_class(cls)
    errors = [text for _, text in result.failures + result.errors]
    assert errors and all("FunctionTestError" in text or "ValueError" in text for text in errors)


def test_parts_can_be_left_out():
    cls, = make([CPU], type("Skipping", (TanhCase,), dict(skip_forward_test=True, skip_double_backward_test=True)))
    result = run_class(cls)
    assert (result.testsRun, len(result.skipped), result.wasSuccessful()) == (3, 2, True)


def test_kinks_are_dodged():
    drawn = []

    def generate(self):
        drawn.append(1)
        return np.array([0.0 if len(drawn) < 4 else 0.5]),
    members = dict(generate_inputs=generate, forward=lambda self, xs, device: (F.relu(xs[0]),),
                   forward_expected=lambda self, xs: (np.maximum(xs[0], 0),),
                   dodge_nondifferentiable=True, skip_forward_test=True, skip_double_backward_test=True)
    cls, = make([CPU], type("Kinked", (TanhCase,), members))
    assert run_class(cls).wasSuccessful()
    assert len(drawn) == 4


def test_inputs_are_not_contiguous_unless_asked_for():
    seen = []

    def forward(self, inputs, device):
        seen.append(inputs[0].array.flags.c_contiguous)
        return F.tanh(inputs[0]),
    for contiguous in (None, "C"):
        cls, = make([CPU], type("Layout", (TanhCase,), dict(forward=forward, contiguous=contiguous, skip_backward_test=True,
                                                            skip_double_backward_test=True)))
        assert run_class(cls).wasSuccessful()
    assert seen == [False, True]


def test_unary_functions():
    decorated = make([testing.unary_math_function_unittest(F.tanh)], type("Unary", (unittest.TestCase,), {}))
    assert len(decorated) == 6
    assert all(run_class(cls).wasSuccessful() and run_class(cls).testsRun == 3 for cls in decorated)
    wrong = make([testing.unary_math_function_unittest(F.tanh, func_expected=np.sin)], type("Unary", (unittest.TestCase,), {}))
    assert not any(run_class(cls).wasSuccessful() for cls in wrong)
    with pytest.raises(ValueError, match="func_expected"):
        testing.unary_math_function_unittest(F.relu)


def test_a_unary_function_is_compared_with_numpys_of_that_name():
    def nan_to_num(x):                                              # NumPy's takes no dtype
        return x * 1
    assert all(run_class(cls).wasSuccessful() for cls in make([testing.unary_math_function_unittest(nan_to_num, is_linear=True)],
                                                              type("Unary", (unittest.TestCase,), {})))


# ----------------------------------------------------------------------------------------------------------------- links

class LinearCase(testing.LinkTestCase):
    __test__ = False
    param_names = ("W", "b")

    def generate_params(self):
        return np.random.uniform(-1, 1, (2, 3)).astype("f"), np.random.uniform(-1, 1, 2).astype("f")

    def generate_inputs(self):
        return np.random.uniform(-1, 1, (4, 3)).astype("f"),

    def create_link(self, initializers):
        w, b = initializers
        return L.Linear(3, 2, initialW=w, initial_bias=b)

    def forward_expected(self, link, inputs):
        return inputs[0] @ link.W.array.T + link.b.array,


def test_a_right_link_passes_its_case():
    cls, = make([CPU], type("RightLink", (LinearCase,), {}))
    result = run_class(cls)
    assert result.testsRun == 2 and result.wasSuccessful(), result.failures + result.errors


def test_a_wrong_link_fails_its_case():
    class Wrong(L.Linear):
        def forward(self, x):
            return super().forward(x) + 0 * self.b + hnn.Variable(0.1 * self.W.array.sum(axis=1), requires_grad=False)
    cls, = make([CPU], type("WrongLink", (LinearCase,), dict(create_link=lambda self, inits: Wrong(3, 2, initialW=inits[0],
                                                                                                  initial_bias=inits[1]))))
    result = run_class(cls)
    assert len(result.failures) == 2, result.errors


class LinearInitializers(testing.LinkInitializersTestCase):
    __test__ = False
    param_names = ("W", "b")
    bias = 0
    generate_params, generate_inputs, create_link = LinearCase.generate_params, LinearCase.generate_inputs, LinearCase.create_link

    def get_initializers(self):
        return [hnn.initializers.Constant(2), 3, np.full((2, 3), 4, "f")], [1, testing.InitializerArgument(None, self.bias)]


def test_initializers_of_a_link():
    right, = make([CPU], type("Initial", (LinearInitializers,), {}))
    assert run_class(right).wasSuccessful(), run_class(right).failures + run_class(right).errors
    wrong, = make([CPU], type("Initial", (LinearInitializers,), {"bias": 1}))
    assert len(run_class(wrong).failures) == 1


# ----------------------------------------------------------------------------------------------------------- decorators

@testing.parameterize(*testing.product({"a": [1, 2], "b,c": [(3, 4), (5, 6)]}))
@testing.inject_backend_tests(None, [{}, {"use_cuda": False}])
class TestParameters(unittest.TestCase):
    seen = set()

    def test_attributes_are_set(self, backend_config):
        self.assertIs(backend_config.xp, np)
        self.assertIn((self.b, self.c), [(3, 4), (5, 6)])
        self.seen.add((self.a, self.b, self.c))


@testing.parameterize({"f": lambda x: x + 1, "n": 2}, {"f": abs, "n": 1})
class TestFunctionsAsParameters(unittest.TestCase):
    def test_functions_are_not_methods(self):
        self.assertEqual(self.f(1), self.n)
        self.assertIn("parameter: {'f'", str(self))


@testing.inject_backend_tests(["test_chosen"], [{}, {"use_cudnn": "never"}])
class TestChosen(unittest.TestCase):
    def test_chosen(self, backend_config):
        with backend_config:
            self.assertEqual(hnn.config.use_cudnn, "never")

    def test_other(self):
        self.assertTrue(hasattr(self, "test_other"))


def test_classes_take_the_place_of_the_decorated_one():
    names = [n for n, c in globals().items() if n.startswith("TestParameters") and isinstance(c, type)]
    assert len(names) == 8
    chosen = [c for n, c in globals().items() if n.startswith("TestChosen") and isinstance(c, type)]
    assert [(bool(c.test_chosen), bool(c.test_other)) for c in chosen] == [(False, True), (True, False), (True, False)]


@testing.parameterize({"k": None})
@testing.inject_backend_tests(["test_chosen"], [{}])
class TestNamed(unittest.TestCase):
    def test_chosen(self, backend_config):
        pass

    def test_other(self):
        pass


def test_names_of_classes_are_chainers():
    config = ("use_chainerx_false__chainerx_device_None__use_cuda_false__cuda_device_None__use_cudnn_never__cudnn_deterministic_false"
              "__autotune_false__cudnn_fast_batch_normalization_false__use_ideep_never")
    names = {n for n, c in globals().items() if n.startswith("TestNamed") and isinstance(c, type)}
    assert names == {"TestNamed_param_0_{k=None}", f"TestNamed_{config}_param_0_{{k=None}}"}
    assert isinstance(globals()["TestChosen_other"], type)


def test_a_failing_parameter_is_named():
    def test_it(self):
        raise KeyError("x")
    cls, = make([testing.parameterize({"a": 17})], type("Failing", (unittest.TestCase,), {"test_it": test_it}))
    (_, text), = run_class(cls).errors
    assert "test_it with a=17" in text and "KeyError" in text


def test_products():
    assert testing.product({"a": [1, 2], "b": [3]}) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert testing.product([[{"a": 1}, {"a": 2}], [{"b": 3}]]) == [{"a": 1, "b": 3}, {"a": 2, "b": 3}]
    assert testing.from_pytest_parameterize("a,b", [(1, 2)]) == [{"a": 1, "b": 2}]
    with pytest.raises(TypeError):
        testing.product([{"a": 1}])


def test_pairwise_products_have_each_pair(monkeypatch):
    values = {"a": [1, 2, 3], "b": [1, 2], "c": [1, 2, 3, 4], "d": [1, 2]}
    everything = testing.product(values)
    monkeypatch.setattr(testing.parameterized, "product_dict", testing.parameterized._pairwise_product_dict)
    some = testing.product(values)
    assert len(some) < 20 and some == [row for row in everything if row in some]
    for left, right in itertools.combinations(values, 2):
        assert {(row[left], row[right]) for row in some} == set(itertools.product(values[left], values[right]))
    assert testing.product({"a": [1, 2], "b": [1, 2]}) == [{"a": a, "b": b} for a in (1, 2) for b in (1, 2)]
    assert testing.product({"a": [1, 2], "b": [], "c": [1]}) == []
    assert list(testing.parameterized._nd_indices_to_cover_each_2d((0, 3, 2))) == []


@pytest.mark.parametrize("params", [{"use_chainerx": True, "chainerx_device": "native:0"}, {"use_ideep": "always"}])
def test_back_ends_that_are_not_there_are_skipped_with_a_reason(params):
    config = testing.BackendConfig(params)
    mark, = config.get_pytest_marks()

    @mark
    def test_nothing(self):
        pass
    assert "not part of hybridnn" in test_nothing.pytestmark[0].kwargs["reason"]
    with pytest.raises(hnn.errors.BackendError):
        config.device


@pytest.mark.parametrize("device", [hnn.backend.ChainerxDevice, hnn.backend.Intel64Device])
def test_no_array_belongs_to_back_ends_that_are_not_there(device):
    assert device.from_array(np.zeros(2)) is None and device.from_array(1) is None


def test_backend_parameters_are_checked():
    with pytest.raises(ValueError, match="use_magic"):
        testing.BackendConfig({"use_magic": True})
    with pytest.raises(TypeError):
        testing.inject_backend_tests("test_x", [{}])


def test_slow_tests_run():
    def test_something():
        pass
    assert attr.slow(test_something) is test_something and attr.is_available()


@pytest.mark.parametrize("need, markers", [(attr.slow, {"slow"}), (attr.ideep, {"ideep", "skip"}), (attr.chainerx, {"chainerx", "skip"}),
                                           (attr.gpu(99), {"gpu", "skip"}), (attr.cudnn, {"gpu", "cudnn"})])
def test_needs_are_markers(need, markers):
    @need
    class Case(unittest.TestCase):
        pass
    assert markers <= {mark.name for mark in Case.pytestmark}


# ----------------------------------------------------------------------------------------------------- random and retries

@testing.fix_random()
@testing.parameterize({"k": 0}, {"k": 1})
class TestFixedRandom(unittest.TestCase):
    def setUp(self):
        self.x = np.random.rand()

    def test_numbers(self):
        self.assertEqual(self.x, np.random.RandomState(100).rand())
        self.assertIsInstance(testing.generate_seed(), int)


def test_fixed_random_restores_the_stream():
    @testing.fix_random()
    def test_inner():
        return np.random.rand()
    np.random.seed(7)
    assert test_inner() == test_inner()
    assert np.random.rand() == np.random.RandomState(7).rand()
    with pytest.raises(RuntimeError):
        testing.generate_seed()


@pytest.mark.parametrize("decorator, failures, passes", [
    (condition.retry(3), 2, True), (condition.retry(3), 3, False),
    (condition.repeat(2), 0, True), (condition.repeat(2), 1, False)])
def test_retries(decorator, failures, passes):
    runs = []

    @decorator
    def test_flaky(self):
        runs.append(self)
        self.assertGreater(len(runs), failures)
    result = run_class(type("Flaky", (unittest.TestCase,), {"test_flaky": test_flaky}))
    assert result.wasSuccessful() == passes
    assert len({id(r) for r in runs}) == len(runs)


# --------------------------------------------------------------------------------------------------------------- helpers

def test_assert_allclose_shows_the_worst_element():
    x = np.zeros((2, 3))
    y = x.copy()
    y[1, 2] = 0.5
    testing.assert_allclose(hnn.Variable(x), x + 1e-6)
    with pytest.raises(AssertionError, match=r"worst at \(1, 2\): 0.0 against 0.5"):
        testing.assert_allclose(x, y)
    with pytest.raises(AssertionError, match=r"shapes \(2, 3\) \(3, 2\)"):
        testing.assert_allclose(x, y.T)


def test_assert_warns():
    import warnings
    with testing.assert_warns(FutureWarning):
        warnings.warn("soon", FutureWarning, stacklevel=1)
    with pytest.raises(AssertionError, match="no FutureWarning"):
        with testing.assert_warns(FutureWarning):
            warnings.warn("old", DeprecationWarning, stacklevel=1)


def test_patch_calls_the_original():
    with testing.patch("hybridnn.functions.tanh") as mock:
        y = F.tanh(np.zeros(2, "f"))
    assert mock.call_count == 1 and y.shape == (2,)


def test_requirements():
    runs = testing.with_requires("numpy>=1.0", "pytest")(lambda: 1)
    assert runs() == 1
    unmet = testing.with_requires("numpy<1.0"), testing.with_requires("no-such-package"), testing.without_requires("numpy")
    for decorate in unmet:
        with pytest.raises(unittest.SkipTest):
            decorate(lambda: 1)()


@pytest.mark.parametrize(("requirement", "met"), [
    ("package", True), ("package==1.26", False), ("package==1.26.0", False), ("package == 1.26.4", True), ("package==1.26.*", True), ("package!=1.26.*", False),
    ("package!=1.2.*", True), ("package~=1.25", True), ("package~=1.25.3", False), ("package~=1.26.3", True), ("package>=1.20,!=1.26.4", False),
    ("package>1.26.4.0", False), ("package>=1.8.0rc0,<2", True), ("package==2.0", False), ("other==2", True), ("other<=2.0.0", True)])
def test_requirements_are_compared_as_versions(requirement, met):
    with testing.patch("importlib.metadata.version", wraps=lambda name: {"package": "1.26.4", "other": "2.0"}[name]):
        decorate = testing.without_requires(requirement)
    if met:
        with pytest.raises(unittest.SkipTest):
            decorate(lambda: 1)()
    else:
        assert decorate(lambda: 1)() == 1


def test_a_requirement_that_cannot_be_read():
    with pytest.raises(ValueError, match="'numpy=>1'"):
        testing.with_requires("numpy=>1")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
def test_generated_matrices_have_their_singular_values(dtype):
    a = testing.generate_matrix((2, 4, 3), dtype, singular_values=[3, 2, 1])
    assert a.dtype == dtype
    np.testing.assert_allclose(np.linalg.svd(a, compute_uv=False), [[3, 2, 1]] * 2, rtol=1e-5)
    assert testing.generate_matrix((0, 3), singular_values=1).shape == (0, 3)
    for wrong in (dict(singular_values=-1), dict(shape=(3,), singular_values=1)):
        with pytest.raises(ValueError):
            testing.generate_matrix(**{"shape": (2, 2), **wrong})
    with pytest.raises(TypeError):
        testing.generate_matrix((2, 2))


@pytest.mark.parametrize("copy", [testing.save_and_load_npz, testing.save_and_load_hdf5])
def test_save_and_load(copy):
    a, b = L.Linear(3, 2), L.Linear(3, 2)
    copy(a, b)
    np.testing.assert_array_equal(a.W.array, b.W.array)


def test_a_trainer_that_trains_nothing(tmp_path):
    seen = []
    trainer = testing.get_trainer_with_mock_updater((4, "iteration"), 2)
    trainer.out = str(tmp_path)
    trainer.extend(lambda t: seen.append((t.updater.iteration, t.updater.epoch, t.updater.is_new_epoch)), name="watch")
    trainer.run()
    assert seen == [(1, 0, False), (2, 1, True), (3, 1, False), (4, 2, True)]
    assert trainer.updater.update_core.call_count == 4


def test_epochs_that_end_within_an_iteration():
    seen = []
    trainer = testing.get_trainer_with_mock_updater((5, "iteration"), 1.5)
    trainer.extend(lambda t: seen.append((t.updater.epoch, t.updater.is_new_epoch)), name="watch", trigger=(1, "iteration"))
    trainer.run()
    assert seen == [(0, False), (1, True), (2, True), (2, False), (3, True)]
