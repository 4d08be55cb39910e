"""Every pass keeps what a graph computes, and does what its first line says."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jit_graphs import array, copies, graph_of, random_graph

import hybridnn.ops  # noqa: F401
from hybridnn.core.op import OPS
from hybridnn.graph import Node, infer, run, verify
from hybridnn.jit import passes
from hybridnn.jit.decompose import CheckOp, decompose, infer_fast
from hybridnn.spec import Spec

seeds = st.integers(0, 10**6)


def names(graph):
    return [n.op.name for n in graph.nodes]


def same_results(before, after, operands):
    with np.errstate(all="ignore"):
        want, got = run(before, copies(operands)), run(after, copies(operands))
    for x, y in zip(want, got, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y, x, 1e-5, 1e-5)


@pytest.mark.parametrize("transform", passes.PASSES, ids=lambda f: f.__name__)
@given(seeds)
def test_a_pass_keeps_the_results(transform, seed):
    graph, operands = random_graph(seed)
    same_results(graph, verify(transform(graph)), operands)


@given(seeds)
def test_all_passes_together_keep_the_results(seed):
    graph, operands = random_graph(seed, 20)
    same_results(graph, passes.simplify(graph), operands)


def test_drop_dead_keeps_what_is_returned_written_or_may_have_effects():
    effect = OPS["exp"].__class__.__new__(OPS["exp"].__class__)
    effect.__dict__.update(OPS["exp"].__dict__, name="somebody's function")
    graph = graph_of(lambda x: [x + 1, x * 2, OPS["exp"](x), x - 3], array(3), writes=[(0, 1)])
    nodes = tuple(Node(effect, n.inputs, n.outputs) if n.op.name == "exp" else n for n in graph.nodes)
    assert [n.op.name for n in passes.drop_dead(graph.replace(nodes=nodes, outputs=graph.outputs[:1])).nodes] == \
        ["add", "mul", "somebody's function"]


def test_merge_equal_shares_subexpressions_and_numbers():
    graph = passes.merge_equal(graph_of(lambda x: [OPS["exp"](x * 2.0) + OPS["exp"](x * 2.0)], array(3)))
    assert names(graph) == ["mul", "exp", "add"]
    graph = passes.merge_equal(graph_of(lambda x: [x * 2.0, x * 2], array(3)))
    assert names(graph) == ["mul", "mul"]                  # 2.0 and 2 are different numbers


def test_merge_equal_tells_attributes_apart_that_are_equal_only():
    def pad(x, value):
        return OPS["pad"](x, width=((1, 1),), mode="constant", options=(("constant_values", value),))
    graph = graph_of(lambda x: [pad(x, value) for value in (0.0, -0.0, 0, False, 0.0)], array(3))
    assert len(passes.merge_equal(graph).nodes) == 4


def test_fold_constants():
    c = array(4)
    graph = passes.drop_dead(passes.fold_constants(graph_of(lambda x: [x * OPS["exp"](OPS["reshape"](c, shape=(2, 2)))],
                                                            array(2, 2))))
    assert names(graph) == ["mul"]
    np.testing.assert_array_equal(graph.constants[0][1], np.exp(c.reshape(2, 2)))


@pytest.mark.parametrize("fn, left", [
    (lambda x: x * 1, []), (lambda x: 1.0 * x, []), (lambda x: x / 1, []), (lambda x: x - 0, []),
    (lambda x: OPS["identity"](x), []), (lambda x: OPS["cast"](x, dtype="float32"), []),
    (lambda x: OPS["cast"](x, dtype="float64"), ["cast"]),
    (lambda x: OPS["sum_to"](x, shape=(3, 4)), []), (lambda x: OPS["broadcast_to"](x, shape=(3, 4)), []),
    (lambda x: OPS["transpose"](OPS["transpose"](x, axes=(1, 0)), axes=(1, 0)), []),
    (lambda x: OPS["reshape"](OPS["reshape"](x, shape=(12,)), shape=(4, 3)), ["reshape"]),
    (lambda x: x + 0, ["add"]),            # -0.0 + 0 is +0.0
    (lambda x: x - -0.0, ["sub"]),
    (lambda x: x * np.ones((2, 1, 1), "f4"), ["mul"]),
])
def test_algebra(fn, left):
    graph = graph_of(lambda x: [fn(x)], array(3, 4))
    assert names(passes.drop_dead(passes.algebra(graph))) == left
    same_results(graph, passes.algebra(graph), [array(3, 4)])


def test_chains_of_views_become_one():
    graph = passes.drop_dead(passes.algebra(graph_of(
        lambda x: [OPS["reshape"](OPS["reshape"](x, shape=(12,)), shape=(4, 3)),
                   OPS["transpose"](OPS["transpose"](x, axes=(1, 2, 0)), axes=(2, 0, 1))], array(2, 3, 2))))
    assert names(graph) == ["reshape"]


def test_decompose_reaches_the_bottom_and_keeps_value_dependent_checks():
    x, t = array(3, 4), np.array([0, 3, -1], "i4")
    graph = graph_of(lambda x, t: OPS["softmax_cross_entropy"](x, t, ignore_label=-1, normalize=True), x, t)
    after = verify(decompose(graph))
    assert all(n.op.decompose is None for n in after.nodes)
    assert isinstance(after.nodes[0].op, CheckOp)
    same_results(graph, after, [x, t])
    with pytest.raises(TypeError, match="labels from 0 to 3"):
        run(after, [x, np.array([0, 4, 0], "i4")])


@pytest.mark.parametrize("name", sorted(n for n, op in OPS.items() if op.decompose is not None and op.samples is not None))
def test_every_decomposition_equals_its_op(name):
    rng = np.random.default_rng(0)
    for operands, attrs in OPS[name].samples(rng, "float32"):
        graph = graph_of(lambda *xs, a=attrs: OPS[name](*xs, **a), *operands)
        after = verify(decompose(graph))
        assert after.nodes and all(n.op.name != name for n in after.nodes)
        same_results(graph, after, operands)


def test_arithmetic_on_run_time_numbers_stays_weak():
    graph = graph_of(lambda x, a: [x * (1 - a) ** 2 + -a / 2], array(3), .25)
    assert [n.op.name for n in graph.nodes][:2] == ["sub", "pow"]
    same_results(graph, passes.simplify(graph), [array(3), .25])
    assert run(graph, [array(3), .25])[0].dtype == np.float32


def test_attributes_that_were_left_out_are_named_in_full():
    operands = [array(3, 2), array(3, 4)]
    graph = graph_of(lambda a, b: OPS["matmul"](a, b, transa=True), *operands)
    full = verify(passes.complete_attrs(graph))
    assert [n.attrs for n in full.nodes] == [(("transa", True), ("transb", False))]
    same_results(graph, full, operands)
    assert passes.complete_attrs(full).nodes == full.nodes


@pytest.mark.parametrize("name, shapes, attrs", [
    *[(name, [(3, 1, 5, 7)], {"axis": axis, "keepdims": keepdims}) for name in ("sum", "amax", "mean") for axis in (None, (), (0,), (1, 3), (-1, 0))
      for keepdims in (False, True)],
    ("sum", [(9, 9)], {"axis": None}), ("argmax", [(9, 9)], {"axis": (1,)}), ("sum_to", [(9, 9)], {"shape": (9, 1)}),
    ("add", [(9, 1, 9), (8, 1)], {}), ("mul", [(9, 9), ()], {}), ("add", [(), ()], {}), ("cast", [(9, 9)], {"dtype": "float64"}),
    ("greater", [(9, 9), (9,)], {}),
    *[("matmul", shapes, {"transa": a, "transb": b}) for a, b, shapes in (
        (False, False, [(8, 9), (9, 7)]), (True, False, [(9, 8), (9, 7)]), (True, True, [(2, 9, 8), (7, 9)]), (False, True, [(5, 1, 8, 9), (3, 7, 9)]))],
])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_what_an_operation_gives_is_known_without_computing_it(name, shapes, attrs, dtype):
    op, attrs = OPS[name], tuple(attrs.items())
    specs = [Spec(shape, np.dtype(dtype)) for shape in shapes]
    assert infer_fast(op, specs, attrs) == infer(op, specs, attrs)
