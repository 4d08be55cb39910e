"""Einstein summation in compiled graphs: products of matrices, sums and views, equal to NumPy's."""
import numpy as np
import pytest
from jit_graphs import assert_same, graph_of

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS

RNG = np.random.default_rng(0)
SIZES = dict(b=2, h=3, q=4, k=5, d=6, i=2, j=3, e=7)
CASES = ["bqhd,bkhd->bhqk", "bhqk,bkhd->bqhd", "ij,jk->ik", "ij,kj->ki", "ij,ij->", "i,j->ji", "ij->j", "bhd->dbh", "bhd->", "bij,bij->bij",
         "bqd,bkd->qk", "...d,dk->...k", "...qd,...kd->...qk", "b...d,bk->k...", "hd,dh->hd", "bd,->bd", "bhqd,hk->bqdk",
         "ii->i", "iij,j->ij", "bqd,de,bke->bqk", "q,k,dk,d->q", "ii,ii->"]


def operand(word):
    return RNG.normal(size=[n for c in word.replace("...", "qh") for n in [SIZES[c]]])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("text", CASES)
def test_as_numpys_without_python_steps(text, dtype):
    inputs, output = text.split("->")
    inputs = inputs.split(",")
    xs = [operand(word).astype(dtype) for word in inputs]
    graph = graph_of(lambda *xs: OPS["einsum"](*xs, inputs=tuple(inputs), output=output), *xs)
    executable = jit.compile(graph)
    assert [s.name for s in executable.steps if s.kind == "python"] == []
    assert_same(graph, executable, xs, 1e-5, 1e-5)
    np.testing.assert_allclose(executable(xs)[0], np.einsum(text, *xs), 2e-5, 2e-5)


@pytest.mark.parametrize("source, target, shape", [("jk", "kij", (5, 2, 3)), ("...j", "i...j", (2, 4, 5, 3)), ("...j", "jk", (3, 5)), ("", "ij", (2, 3)),
                                                   ("j", "iji", (2, 3, 2)), ("i", "iijii", (2, 2, 3, 2, 2))])
def test_spread_as_the_operation_does(source, target, shape):
    lead = {"...j": (4, 5) if "..." in target else (7,)}.get(source, ())
    x = RNG.normal(size=(*lead, *[dict(zip(target.replace("...", "45"), shape))[c] for c in source.replace("...", "")])).astype("f4")
    graph = graph_of(lambda x: OPS["einsum_spread"](x, source=source, target=target, shape=shape), x)
    executable = jit.compile(graph)
    assert [s.name for s in executable.steps if s.kind == "python"] == []
    assert_same(graph, executable, [x])
