"""Linear algebra in compiled graphs: native steps, equal to the reference interpreter."""
import numpy as np
import pytest
from jit_graphs import assert_same, compiled_natively, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.errors import InvalidType
from hybridnn.graph import Graph, Node, run
from hybridnn.jit import lapack
from hybridnn.spec import spec_of

RNG = np.random.default_rng(0)
SHAPES = [(1, 1), (4, 4), (3, 2, 2), (2, 3, 5, 5), (70, 70)]


def matrices(shape, dtype):
    x = RNG.normal(size=shape) + 3 * np.eye(shape[-1])
    return (x @ x.swapaxes(-1, -2) / shape[-1]).astype(dtype)


def lone(name, x):
    """The graph by hand: shapes alone do not tell what is no matrix's inverse or factor."""
    y = OPS[name].run((x,), {})
    return Graph((0,), (Node(OPS[name], (0,), (1,)),), (1,), {0: spec_of(x), 1: spec_of(y)})


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["inv", "cholesky"])
def test_the_same_bits_as_numpys(name, shape, dtype):
    x = matrices(shape, dtype)
    np.testing.assert_array_equal(compiled_natively(lone(name, x))([x])[0], OPS[name].run((x,), {}))


@pytest.mark.parametrize("dtype, close", [("f4", 3e-7), ("f8", 1e-12)])
@pytest.mark.parametrize("shape", SHAPES)
def test_determinants(shape, dtype, close):
    x = (RNG.normal(size=shape) / shape[-1] ** 0.4).astype(dtype)
    x[..., -1] = np.where(RNG.random(shape[:-1]) < .5, 0, x[..., -1])
    if len(shape) > 2:
        x[0] = x[0] * 0 + 1
    got, want = compiled_natively(lone("det", x))([x])[0], OPS["det"].run((x,), {})
    np.testing.assert_allclose(got, want, close)
    assert got.dtype == want.dtype


@pytest.mark.parametrize("name, message", [("inv", "singular"), ("cholesky", "positive definite")])
def test_what_has_none_is_refused_as_by_the_operation(name, message):
    good = np.stack([np.eye(3, dtype="f4")] * 3)
    executable, bad = compiled_natively(lone(name, good)), good.copy()
    bad[1] = -np.ones((3, 3))
    with pytest.raises(InvalidType, match=message):
        executable([bad])
    np.testing.assert_array_equal(executable([good])[0], good)


@pytest.mark.parametrize("offset, axis1, axis2", [(0, 0, 1), (1, 1, 2), (-2, 2, 0)])
def test_diagonals(offset, axis1, axis2):
    attrs = dict(offset=offset, axis1=axis1, axis2=axis2)

    def fn(x):
        d = OPS["diagonal"](x, **attrs)
        return [d, OPS["put_diagonal"](d * d, shape=(4, 5, 6), **attrs), OPS["exp"](OPS["diagonal"](x * 2., **attrs))]
    x = RNG.normal(size=(4, 5, 6)).astype("f4")
    graph = graph_of(fn, x)
    assert_same(graph, compiled_natively(graph), [x])


def test_half_of_the_diagonal():
    x = RNG.normal(size=(2, 4, 4)).astype("f4")
    x[0, 0, 3], x[1, 2, 1] = np.nan, -0.0
    graph = graph_of(lambda x: OPS["half_lower"](x), x)
    np.testing.assert_array_equal(compiled_natively(graph)([x])[0], run(graph, [x])[0])


def test_without_lapack_the_operations_run_themselves(monkeypatch):
    monkeypatch.setattr("hybridnn.jit.lower_linalg.find", lambda: None)
    x = matrices((2, 3, 3), "f4")
    executable = jit.compile(lone("inv", x))
    assert [s.kind for s in executable.steps] == ["python"]
    np.testing.assert_array_equal(executable([x])[0], np.linalg.inv(x))
    assert lapack.find() is not None
