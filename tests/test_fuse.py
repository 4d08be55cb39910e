"""Fusion keeps results, and finds the groups that save memory traffic."""
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jit_graphs import array, copies, graph_of, random_graph

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn.core.op import OPS
from hybridnn.graph import run, verify
from hybridnn.jit import fuse as fusion
from hybridnn.jit import grow, parts
from hybridnn.jit.fuse import fuse, why_not
from hybridnn.jit.fused_nodes import check_accesses
from hybridnn.jit.known import Known
from hybridnn.jit.nest import Item, Nest, Store
from hybridnn.jit.passes import simplify
from hybridnn.spec import Spec


def fused(fn, *operands, **options):
    return verify(fuse(simplify(graph_of(fn, *operands, **options))))


def groups(graph):
    """Sets of op names, one per fused node."""
    return [set(n.op.ops) if n.op.kind == "fused" else {n.op.name} for n in graph.nodes]


def softmax(x):
    return OPS["softmax"](x, axis=(1,))


@given(st.integers(0, 10**6))
def test_fusion_keeps_the_results(seed):
    graph, operands = random_graph(seed, 16)
    after = verify(fuse(simplify(graph)))
    with np.errstate(all="ignore"):
        want, got = run(graph, copies(operands)), run(after, copies(operands))
    for x, y in zip(want, got, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(y, x, 1e-5, 1e-5)


ROW = array(6, 9)


@pytest.mark.parametrize("fn, operands", [
    (lambda x, y: [OPS["tanh"](x * y) + y], (ROW, array(9))),
    (lambda x: [OPS["sum"](OPS["exp"](x) * 2, axis=None, keepdims=False)], (ROW,)),
    (lambda x: [softmax(x)], (ROW,)),
    (lambda x: [OPS["log_softmax"](x, axis=(1,))], (ROW,)),
    (lambda x, e, g, b: [OPS["standardize"](x, e, axis=(1,))[0] * g + b], (ROW, 1e-5, array(9), array(9))),
    (lambda x, e: OPS["standardize"](x, e, axis=(0, 2, 3)), (array(2, 3, 4, 5), 1e-5)),
    (lambda x: [x - OPS["mean"](x, axis=None, keepdims=True)], (ROW,)),
    (lambda x: [OPS["exp"](x), OPS["sum"](OPS["exp"](x), axis=(0,), keepdims=False)], (ROW,)),
    (lambda x, g: [OPS["sum"](g, axis=(0,), keepdims=False), OPS["sum"](g * x, axis=(0,), keepdims=False)], (ROW, array(6, 9))),
    (lambda x: [OPS["transpose"](x, axes=(1, 0)) + OPS["transpose"](x * 2, axes=(1, 0))], (ROW,)),
], ids=["chain", "sum", "softmax", "log softmax", "layer norm", "batch norm", "centred", "column sum", "two column sums",
        "transposed"])
def test_one_kernel(fn, operands):
    assert len(fused(fn, *operands).nodes) == 1


def test_an_optimizer_step_is_one_kernel_per_parameter():
    operands = [np.abs(array(3, 4)) for _ in range(4)] + [.1, .1, .1, 1e-8, 1., 1.]
    graph = fused(lambda *xs: OPS["update_adam"](*xs, wide=False), *operands, writes=[(0, 0), (2, 1), (3, 2)])
    assert [n.op.name for n in graph.nodes] == ["update_adam"]


def test_rows_and_columns_are_not_reduced_together():
    graph = fused(lambda x: [OPS["sum"](x * 2, axis=(0,), keepdims=False), OPS["sum"](x * 2, axis=(1,), keepdims=False)], ROW)
    assert len(graph.nodes) == 2


def test_a_group_never_depends_on_itself_through_another_node():
    def body(x):
        y = OPS["exp"](x)
        return [y + OPS["cumsum"](y, axis=1)]
    graph = fused(body, ROW)
    assert [n.op.name for n in graph.nodes] == ["exp", "cumsum", "add"]


def test_a_column_sum_is_not_used_again_over_the_rows_in_one_kernel():
    graph = fused(lambda x: [x - OPS["sum"](x, axis=(0,), keepdims=True)], ROW)
    assert groups(graph) == [{"sum"}, {"sub"}]


def test_intermediate_values_that_others_need_are_outputs():
    graph = fused(lambda x, w: [OPS["matmul"](OPS["exp"](x), w), OPS["tanh"](OPS["exp"](x) + 1)], ROW, array(9, 2))
    kernel = next(n for n in graph.nodes if n.op.kind == "fused")
    assert len(kernel.outputs) == 2
    assert set(kernel.op.ops) == {"exp", "add", "tanh"}


def test_reasons_are_given():
    graph = graph_of(lambda x: [OPS["cumsum"](x, axis=1), OPS["sum"](x[:0], axis=(0,), keepdims=False)], ROW)
    assert sorted(why_not(graph).values()) == ["an empty array", "an empty array", "kind opaque"]


def test_an_unrolled_loop_is_fused_in_linear_time_and_alike():
    def body(x, w):
        h = x
        for _ in range(40):
            h = OPS["tanh"](OPS["matmul"](h, w) + x)
        return [h]
    graph = fused(body, array(4, 4), array(4, 4))
    kernels = [n.op for n in graph.nodes if n.op.kind == "fused"]
    assert len(kernels) == 40
    assert len({k.nest for k in kernels}) == 1


def test_steps_of_a_loop_share_the_code_of_their_kernels():
    def unrolled(h, w, x):
        for _ in range(8):
            h = OPS["tanh"](OPS["matmul"](h, w) * x + x)
        return [h]
    kernels = [n.op for n in fused(unrolled, array(4, 4), array(4, 4), array(4, 4)).nodes if n.op.kind == "fused"]
    assert len(kernels) == 8 and len({id(op.nest) for op in kernels}) == 1


@pytest.mark.parametrize("most_groups", [11, 16, 23])
def test_stretches_of_a_graph_end_between_the_kernels_of_a_loop(most_groups, monkeypatch):
    def unrolled(h, w, x):
        total = 0.0
        for _ in range(40):
            h = OPS["tanh"](OPS["matmul"](h, w) * x + x)
            total = total + OPS["sum"](h * x, axis=None, keepdims=False)
        return [h, total]
    operands = array(4, 4), array(4, 4), array(4, 4)
    monkeypatch.setattr(grow, "MAX_GROUPS", most_groups)
    monkeypatch.setattr(fusion, "_decided", Known(1))
    kernels = [n.op for n in fused(unrolled, *operands).nodes if n.op.kind == "fused"]
    assert len(kernels) == 40 and len({k.nest for k in kernels}) <= 2


def test_a_sum_over_steps_joins_the_kernel_of_each_step():
    def unrolled(w, *xs):
        loss = 0.0
        for x in xs:
            loss = loss + OPS["sum"](OPS["tanh"](OPS["matmul"](x, w)), axis=None, keepdims=False)
        return [loss]
    kernels = [n.op for n in fused(unrolled, array(4, 4), *[array(5, 4) for _ in range(30)]).nodes if n.op.kind == "fused"]
    assert len(kernels) == 30 and len({k.nest for k in kernels}) == 2      # the first adds to a number of Python's


def test_an_update_from_a_mean_that_others_wait_for_is_a_kernel_of_its_own():
    """In the kernel of the mean it would come before all that needs the mean, too early to be made in place."""
    def normalise(x, average):
        mean = OPS["sum"](x, axis=(0,), keepdims=False) / 8.0
        return [average * 0.9 + mean * 0.1, x - mean]
    graph = fused(normalise, array(8, 40), array(40), writes=[(1, 0)])
    made = {v: n for n in graph.nodes for v in n.outputs}
    update = made[graph.writes[0][1]]
    assert set(update.op.ops) == {"mul", "add"} and update.outputs == (graph.writes[0][1],)


def test_numbers_that_may_be_sizes_are_operands_and_others_are_text():
    found = {n: parts.may_be_a_size(n) for n in (0, 1, 2, 3, -7, 32., 1 / 49, -1 / 3, .5, 1.5, .3, 0.044715, float("inf"), float("nan"), True, 2**60)}
    assert [n for n, size in found.items() if size] == [3, -7, 32., 1 / 49, -1 / 3]
    after = fused(lambda x: [x ** 3 * 1.5 + x / 12.0], ROW)
    (node,) = after.nodes
    constants = dict(after.constants)
    assert [constants[v] for v in node.inputs if v in constants] == [12.0]
    assert [i.value for i in node.op.nest.items if i.fn == "const"] == [3.0, 1.5]


def nests(graph):
    """What fusion made, in words."""
    return [(n.op.name, n.inputs, n.outputs, (n.op.nest, str(n.op.graph)) if n.op.kind == "fused" else n.attrs) for n in graph.nodes]


def from_scratch(graph, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(fusion, "_decided", Known(1))
        return fuse(graph)


SHAPES = (5, 6), (7, 6), (6, 6), (5, 1), (1, 6), (1, 1), (4, 7), (48, 6), (5, 3)      # equal axes, axes of one element, and others as many times as long


def test_graphs_that_differ_in_sizes_fuse_as_from_scratch(monkeypatch):
    """Decisions are taken over from a graph that was fused before, where that has them too; results are the same to the bit."""
    known = Known(10**6)
    monkeypatch.setattr(fusion, "_decided", known)
    met = 0
    for seed in range(25):
        for shape in SHAPES:
            graph, operands = random_graph(seed, 16, shape)
            graph = simplify(graph)
            before = len(known)
            after = verify(fuse(graph))
            met += len(known) == before
            assert nests(after) == nests(from_scratch(graph, monkeypatch))
            with np.errstate(all="ignore"):
                for x, y in zip(run(from_scratch(graph, monkeypatch), copies(operands)), run(after, copies(operands)), strict=True):
                    np.testing.assert_array_equal(x, y)
    assert 25 < met < 25 * (len(SHAPES) - 1)


def test_decisions_hold_nothing_of_the_graph(monkeypatch):
    known = Known(16)
    monkeypatch.setattr(fusion, "_decided", known)
    held = [fused(lambda x, b: [OPS["tanh"](x * b)], array(n, 9), array(9)) for n in (4, 5, 6, 7)]
    refs = [weakref.ref(graph) for graph in held]
    held.clear()
    assert len(known) == 1 and all(r() is None for r in refs)


@pytest.mark.parametrize("dims", [(0, 0), (1, 0), (0,), (0, 1, -1)])
def test_a_kernel_that_would_leave_its_arrays_is_refused(dims):
    load = Item("load", (), "f4", (0, 1), (0, dims))
    nest = Nest((4, 5), (), (load,), (Store(0, 0, (0, 1)),))
    spec = Spec((4, 5), np.dtype("f4"))
    with pytest.raises(AssertionError, match="goes through"):
        check_accesses(nest, [spec], [spec])
    check_accesses(Nest((4, 5), (), (Item("load", (), "f4", (0, 1), (0, (0, 1))),), (Store(0, 0, (0, 1)),)), [spec], [spec])


def facts(fn, *operands):
    state = parts.State(simplify(graph_of(fn, *operands)))
    parts.resolve_views(state)
    return parts.find_parts(state)


def test_decisions_are_taken_over_where_sizes_say_the_same():
    def step(x, y, b):
        a, c = OPS["tanh"](x), OPS["exp"](y)
        return [OPS["reshape"](a, shape=(len(x), 1)) * c, OPS["sum"](c * b, axis=(0,), keepdims=False)]

    def of(rows, columns, last):
        return facts(step, array(rows), array(columns), array(last))
    assert of(5, 7, 1) == of(6, 7, 1) == of(4, 6, 1) == of(5, 800, 1)
    others = of(7, 5, 1), of(6, 6, 1), of(5, 1, 1), of(1, 7, 1), of(5, 7, 7)    # larger first, equal, of one element, not broadcast
    assert len({of(5, 7, 1), *others}) == 1 + len(others)


def test_where_operations_sink_to_is_taken_over_if_that_pays_for_other_sizes_too(monkeypatch):
    """To make the slope behind the product spares 2 arrays of all elements, and takes 1, and 2 of the rows and of the columns each."""
    def step(x, w, u, v, b, c):
        h = x + 1.5
        slope = OPS["exp"](h * u * v * b * c)
        return [h, OPS["matmul"](OPS["tanh"](h), w, transa=False, transb=False) * slope]

    def moved(rows, columns):
        shapes = (rows, columns), (columns, columns), (rows, 1), (rows, 1), (columns,), (columns,)
        graph = simplify(graph_of(step, *[array(*s) for s in shapes]))
        after = fuse(graph)
        assert nests(after) == nests(from_scratch(graph, monkeypatch))
        return "exp" in after.nodes[-1].op.ops
    known = Known(16)
    monkeypatch.setattr(fusion, "_decided", known)
    assert [moved(5, 3), moved(7, 6), moved(5, 4), moved(900, 80), moved(4, 3)] == [False, True, True, True, False]
    (decided,) = known.values()
    assert len(decided) == 2


def test_axes_that_happen_to_be_as_long_are_told_apart(monkeypatch):
    def step(x, y, z):
        return [OPS["tanh"](x), OPS["exp"](y), OPS["neg"](z)]
    for shape in ((5, 5, 7), (5, 7, 7), (7, 7, 5), (5, 7, 5), (5, 6, 7)):
        graph = simplify(graph_of(step, *map(array, shape)))
        assert nests(fuse(graph)) == nests(from_scratch(graph, monkeypatch))
