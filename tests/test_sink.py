"""Operations move into the kernel that needs them: what is written between kernels, and results, against the reference interpreter."""
import numpy as np
from jit_graphs import assert_same, graph_of, product

import hybridnn.ops  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS

ROWS, COLUMNS = 128, 160
FULL = ROWS * COLUMNS * 4
exp, total = OPS["exp"], OPS["sum"]


def array(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("f4")


def compiled(fn, *operands):
    graph = graph_of(fn, *operands)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands, 1e-5, 1e-4)
    return executable, [s for s in executable.steps if s.kind == "kernel"]


def squares():
    return array(ROWS, COLUMNS), array(COLUMNS, COLUMNS), array(COLUMNS)


def sloping(x, w, b):
    """``slope`` depends on h alone, but only the kernel behind the product needs it, which reads h anyway."""
    h = x + b
    slope = exp(h * h * -0.5) * h
    return [product(OPS["tanh"](h), w) * slope + h]


def test_slope_is_made_by_the_kernel_behind_the_product():
    _, (first, second) = compiled(sloping, *squares())
    assert "exp" not in first.ops and "exp" in second.ops
    assert first.bytes < 3.1 * FULL and second.bytes < 3.1 * FULL


def test_small_arrays_need_the_same_kernels_as_large_ones():
    x, w, b = squares()
    assert len({compiled(sloping, x[:rows].copy(), w, b)[0].sources for rows in (3, 8, ROWS)}) == 1


def test_what_the_first_kernel_needs_too_stays():
    def step(x, w, b):
        h = x + b
        slope = exp(h * h * -0.5)
        return [product(slope * 2.0, w) * slope + h]
    _, (first, second) = compiled(step, *squares())
    assert "exp" in first.ops and "exp" not in second.ops


def test_results_and_operands_of_several_kernels_stay():
    def step(x, w, b):
        h = x + b
        slope = exp(h * h * -0.5) * h
        y = product(OPS["tanh"](h), w) * slope
        return [product(y, w) - slope]
    _, kernels = compiled(step, *squares())
    assert ["exp" in k.ops for k in kernels] == [True, False, False]


def test_operands_that_would_be_read_in_addition_weigh_as_much_as_what_is_saved():
    """From three operands that the other kernel does not read: to keep one value is less traffic."""
    def step(x, u, v, w):
        h = x + u + v
        return [h, product(h, w) * (exp(h) * u - v)]
    x = array(ROWS, COLUMNS) * 0.25
    _, (first, second) = compiled(step, x, x + 1, x - 1, array(COLUMNS, COLUMNS))
    assert "exp" in first.ops and "exp" not in second.ops


def test_what_sums_over_rows_need_moves_into_their_kernel():
    def step(x, w, b):
        h = x + b
        g = product(OPS["tanh"](h), w) * exp(h * h * -0.5) * h
        return [product(g, w), total(g, axis=(0,))]
    _, kernels = compiled(step, *squares())
    assert "exp" not in kernels[0].ops and {"exp", "sum"} <= set(kernels[1].ops)


def test_kernels_that_go_over_rows_several_times_get_no_more_to_do():
    def step(x, w, b):
        h = x + b
        y = product(OPS["tanh"](h), w) + exp(h * h * -0.5) * h
        return [y - total(y, axis=(1,), keepdims=True)]
    _, (first, second) = compiled(step, *squares())
    assert "exp" in first.ops and "exp" not in second.ops
