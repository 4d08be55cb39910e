"""The table of functions lists exactly the public ones, and what it says of a function is measured."""

import re

import numpy as np
import pytest
from compare_torch import TOLERANCE, errors, ours
from exchange import relative_error
from function_samples import SAMPLES
from function_table import PAGE, OpNames, double_backprop, dtypes, kind_of, public_functions, row, traced
from torch_cases import CASES, FUNCTIONS, LINKS

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.jit.executable import StepRecord

ROW = re.compile(r"^\| `(\w+)` \|", re.M)


def test_the_committed_page_lists_exactly_the_public_functions():
    text = PAGE.read_text(encoding="utf-8")
    assert ROW.findall(text) == public_functions()
    assert f"All {len(public_functions())} public functions" in text


def test_every_public_function_has_samples():
    assert sorted(SAMPLES) == public_functions()


@pytest.mark.parametrize("name", public_functions())
def test_samples_have_the_gradients_and_dtypes_that_the_page_claims(name):
    if name in ("batch_matmul", "fixed_batch_renormalization"):
        with pytest.warns(DeprecationWarning):
            found = dtypes(name), [double_backprop(name, s) for s in SAMPLES[name]]
    else:
        found = dtypes(name), [double_backprop(name, s) for s in SAMPLES[name]]
    precisions, gradients = found
    claimed = re.search(rf"^\| `{name}` \|.*$", PAGE.read_text(encoding="utf-8"), re.M)[0].split(" | ")
    assert claimed[2].split() == [d.removeprefix("float") for d in precisions]
    assert claimed[5] in [kind for kind, _ in gradients]
    assert [wrong for _, wrong in gradients if wrong] == []


def test_a_row_says_what_the_compiler_did():
    with hnn.using_config("trace_compile", "sync"):
        found = row("silu")
    assert (found.ops, found.forward, found.gradient, found.double, found.wrong) == (("silu",), "fused", "fused", "yes", ())


def test_a_wrong_gradient_is_found():
    class Wrong(hnn.FunctionNode):
        def forward(self, inputs):
            self.retain_inputs((0,))
            return inputs[0] ** 2,

        def backward(self, indexes, grads):
            x, = self.get_retained_inputs()
            return 3 * x * grads[0],
    sample = SAMPLES["relu"][0]
    assert double_backprop("relu", sample)[1] == []
    wrong = type(sample)(sample.operands, via=lambda x: Wrong().apply((x,))[0])
    assert double_backprop("relu", wrong)[1][0].startswith("first gradient")


def test_a_traced_function_that_differs_is_found():
    calls = []

    def counting(x):
        calls.append(x)
        return x * float(len(calls))
    assert traced(counting, [np.ones(3, "f")])[1] is False


def test_kinds_of_steps():
    kernel, gemm = StepRecord("kernel", "k", ("exp",)), StepRecord("gemm", "matmul", ("matmul",))
    python = StepRecord("python", "fft", ("fft",))
    assert [kind_of(s) for s in ([], [kernel], [kernel, gemm], [kernel, python, python])] == ["no work", "fused", "native", "step (fft)"]


def test_operations_are_named():
    with OpNames() as hook:
        F.tanh(hnn.Variable(np.ones(2, "f"))) * 2
    assert list(hook.found) == ["tanh", "mul"]


class TestTheComparisonWithPyTorch:
    def test_there_are_enough_cases(self):
        assert len({c.name for c in CASES}) == len(CASES)
        assert len({c.name.partition(",")[0] for c in FUNCTIONS}) >= 60 and len({c.name.partition(",")[0] for c in LINKS}) >= 20

    @pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
    def test_our_side_has_outputs_and_gradients(self, case):
        for dtype in TOLERANCE:
            _, found = ours(case, dtype)
            kinds = {k.split("|")[2] for k in found}
            assert "y" in kinds and kinds & {"gx", "gp"}
            assert all(np.isfinite(a).all() and a.dtype == dtype for a in found.values())

    def test_errors_are_the_worst_first_and_what_is_missing_is_infinite(self):
        found = {"a|y|0": np.array([1.0, 2.0]), "a|gx|0": np.ones(2), "b|y|0": np.ones(1)}
        assert errors(found, {"a|y|0": np.array([1.0, 2.5])}, "a") == [(np.inf, "gx|0"), (0.2, "y|0")]
        assert relative_error(np.ones(2), np.ones(3)) == relative_error(np.array([np.nan]), np.ones(1)) == np.inf
        assert relative_error(np.array([np.nan, 1]), np.array([np.nan, 1])) == 0
