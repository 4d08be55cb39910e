"""Products, concatenations and stacks of float32, float64, ints and truth values run natively, and give what NumPy gives."""
import numpy as np
import pytest
from jit_graphs import compiled_natively, graph_of
from test_passes import names, same_results

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.core.op import OPS
from hybridnn.graph import run
from hybridnn.jit import passes
from hybridnn.jit.equal_types import equal_types


def drawn(dtype, *shape):
    return np.random.normal(0, 3, shape).astype(dtype)


@pytest.mark.parametrize("first, second", [("f4", "f8"), ("f8", "f4"), ("f4", "i8"), ("i4", "f4"), ("?", "f8"), ("f4", "i2")])
@pytest.mark.parametrize("join", [
    lambda a, b: OPS["matmul"](a, b), lambda a, b: OPS["matmul"](a, b, transb=True),
    lambda a, b: OPS["concat"](a, b, axis=1), lambda a, b: OPS["stack"](a, b, axis=0),
    lambda a, b: OPS["matmul"](OPS["stack"](a, b, axis=0), b)])
def test_as_numpys_without_python_steps(first, second, join):
    operands = [drawn(first, 5, 5), drawn(second, 5, 5)]
    graph = graph_of(lambda a, b: [join(a, b)], *operands)
    (want,), (got,) = run(graph, operands), compiled_natively(graph)(operands)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, 1e-6, 1e-5)


def test_a_value_is_converted_once():
    a, w = drawn("f8", 3, 4), drawn("f4", 4, 4)
    graph = graph_of(lambda a, w: [OPS["matmul"](OPS["matmul"](a, w), w)], a, w)
    assert sorted(names(equal_types(graph))) == ["cast", "matmul", "matmul"]
    same_results(graph, equal_types(graph), [a, w])


def test_equal_types_stay_and_others_than_floats_are_left():
    for kinds in (["f4", "f4"], ["f8", "f8"], ["i8", "i4"], ["f2", "f4"], ["f4", "c16"]):
        graph = graph_of(lambda a, b: [OPS["matmul"](a, b)], drawn(kinds[0], 3, 3), drawn(kinds[1], 3, 3))
        assert equal_types(graph) is graph


def test_a_model_of_float32_on_values_of_float64():
    """``h`` is a number of NumPy's, with which float32 becomes float64 (`docs/index.md`)."""
    net, kinds = L.Linear(3, 2), []

    def step(x):
        h, y = np.linspace(0, 1, 5)[1], hnn.Variable(x)
        for _ in range(3):
            y = y + h * net(F.concat([y, np.ones((4, 1), "f")], axis=1))
        loss = F.sum(F.stack([F.sum(y * y), F.sum(net.b)]))
        net.cleargrads()
        loss.backward()
        kinds.append(y.dtype)
        return loss.array, net.W.grad.copy(), net.b.grad.copy()
    traced = hnn.trace(step)
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(5):
            x = drawn("f4", 4, 2)
            for got, want in zip(traced(x), step(x)):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, 1e-5, 1e-6)
    assert set(kinds) == {np.dtype("f8")}
    assert [s.name for path in traced.explain().paths for segment in path.segments for s in segment if s.kind == "python"] == []


def test_the_pass_is_one_of_all():
    assert equal_types in passes.PASSES
