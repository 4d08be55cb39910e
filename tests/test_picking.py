"""Advanced indexing and permutations in compiled graphs: native steps, equal to the reference interpreter bit by bit."""
import numpy as np
import pytest
from jit_graphs import compiled_natively, graph_of

from hybridnn.core.op import OPS
from hybridnn.errors import InvalidType
from hybridnn.graph import Graph, Node, run
from hybridnn.jit.native import INDEX_ERROR, NativePlan, View
from hybridnn.jit.picking import pick_step
from hybridnn.ops.axes import slice_along
from hybridnn.spec import spec_of

RNG = np.random.default_rng(0)
ALL = ("slice", None, None, None)
A, B, C = (("array", k) for k in range(3))
SHAPE = (5, 6, 4, 3)


def indices(*shapes, below=4, dtypes=("i4", "i8", "i8")):
    return [RNG.integers(-below, below, s).astype(d) for s, d in zip(shapes, dtypes)]


PATTERNS = [
    ((A,), indices((2, 3))),
    ((A, B), indices((7,), (7,))),
    ((ALL, A, B), indices((3, 1), (3, 2))),
    ((A, ALL, B), indices((3, 2), (2,))),
    ((ALL, ALL, A), indices((2, 2))),
    ((Ellipsis, A), indices((5,), below=3)),
    ((A, ..., B), indices((5,), (1,), below=3)),
    ((A, B, C), indices((2, 1, 2), (3, 1), (2, 3, 2))),
    ((("slice", 4, None, -2), A, ("slice", 1, 3, None)), indices((2, 3, 2))),
    ((A, ALL, ("slice", None, None, 2)), indices(())),
    ((0, A, -1, B), indices((), (), below=3)),
    ((A, 2, 1, 0), indices((3,))),
]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("pattern, index", PATTERNS, ids=[str(p) for p, _ in PATTERNS])
def test_take_and_put(pattern, index, dtype):
    x = RNG.normal(size=SHAPE).astype(dtype)

    def both(x, *index):
        y = OPS["take"](x, *index, pattern=pattern)
        return [y, OPS["put"](OPS["mul"](y, y), *index, shape=SHAPE, pattern=pattern)]
    graph = graph_of(both, x, *index)
    for got, wanted in zip(compiled_natively(graph)([x, *index]), run(graph, [x, *index]), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("dtype", ["i1", "f2", "i4", "f8"])
def test_take_from_a_view_with_strided_numbers(dtype):
    x, index = RNG.integers(0, 9, (6, 4, 3)).astype(dtype), RNG.integers(0, 3, (4, 4)).astype("i8")

    def fn(x, index):
        numbers = OPS["get_item"](index, index=(("slice", None, None, 2), ("slice", None, None, -1)))
        return OPS["take"](OPS["transpose"](x, axes=(2, 0, 1)), numbers, pattern=(A, ALL, ("slice", 1, None, 2)))
    graph = graph_of(fn, x, index)
    np.testing.assert_array_equal(compiled_natively(graph)([x, index])[0], run(graph, [x, index])[0])


def test_put_of_rows_with_gaps():
    x, index = RNG.normal(size=(3, 8)).astype("f4"), np.array([1, 1, 0])

    def fn(x, index):
        rows = OPS["get_item"](x, index=slice_along(1, 2, 6))
        return OPS["put"](rows, index, shape=(2, 4), pattern=(A,))
    graph = graph_of(fn, x, index)
    np.testing.assert_array_equal(compiled_natively(graph)([x, index])[0], run(graph, [x, index])[0])


@pytest.mark.parametrize("wrong", [4, -5])
def test_an_index_out_of_bounds_is_numpys_error(wrong):
    x, rows, columns = RNG.normal(size=(5, 4)).astype("f4"), np.array([0, 1]), np.array([1, 2])
    executable = compiled_natively(graph_of(lambda x, i, j: OPS["take"](x, i, j, pattern=(A, B)), x, rows, columns))
    columns[1] = wrong
    with pytest.raises(IndexError, match="out of bounds for axis 1 with size 4"):
        executable([x, rows, columns])


def permutation(x, order, **attrs):
    """The graph by hand: shapes alone do not tell what ``permutate`` gives, as numbers that are all 0 are no permutation."""
    specs = {0: spec_of(x), 1: spec_of(order), 2: spec_of(x)}
    return Graph((0, 1), (Node(OPS["permutate"], (0, 1), (2,), tuple(attrs.items())),), (2,), specs)


@pytest.mark.parametrize("inv", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_permutate(axis, inv):
    x = RNG.normal(size=(3, 4, 2)).astype("f4")
    order = RNG.permutation(x.shape[axis]).astype("i4")
    graph = permutation(x, order, axis=axis, inv=inv)
    np.testing.assert_array_equal(compiled_natively(graph)([x, order])[0], run(graph, [x, order])[0])


@pytest.mark.parametrize("order", [[0, 0, 1], [-1, 0, 1], [0, 1, 3]])
def test_what_is_no_permutation_is_refused(order):
    x, good = RNG.normal(size=(3, 2)).astype("f4"), np.array([2, 0, 1])
    executable = compiled_natively(permutation(x, good, axis=0, inv=False))
    with pytest.raises(InvalidType, match="a permutation"):
        executable([x, np.array(order)])


@pytest.mark.parametrize("lengths", [(4, 4, 4), (5, 3, 3, 1), (2, 0)])
def test_sequences_are_transposed_by_copies(lengths):
    xs = [RNG.normal(size=(n, 3)).astype("f4") for n in lengths]
    graph = graph_of(lambda *xs: OPS["transpose_sequence"](*xs, lengths=lengths), *xs)
    for got, wanted in zip(compiled_natively(graph)(xs), run(graph, xs), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_numbers_are_checked_before_anything_is_written():
    table, index, out, places = np.arange(12.).reshape(3, 4), np.array([0, 3, 9]), np.full((3, 3), -1.), np.zeros(3, "i8")
    views = [View(k, 0, a.shape, a.strides) for k, a in enumerate((table, index, out, places))]
    step = pick_step(views[0], [views[1]], views[2], views[3], (ALL, A), 8, [True])
    assert NativePlan.build([step], 4).run(table, index, out, places) == (0, INDEX_ERROR, 9)
    np.testing.assert_array_equal(out, -1.)
