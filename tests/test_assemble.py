"""Arrays put together from parts: products and kernels write the parts where they belong, in the order of later reads."""
from collections import Counter

import numpy as np
import pytest
from jit_graphs import assert_same, graph_of, product

from hybridnn import jit
from hybridnn.core.op import OPS

concat, get_item, reshape, stack, tanh, transpose = (
    OPS[n] for n in ("concat", "get_item", "reshape", "stack", "tanh", "transpose"))
ROWS = ("slice", None, None, None)


def normal(*shapes, dtype="f4"):
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype(dtype) for s in shapes]


def kinds(executable):
    return Counter(s.kind for s in executable.steps)


def compiled(body, operands, **tolerance):
    graph = graph_of(body, *operands)
    executable = jit.compile(graph)
    assert_same(graph, executable, operands, **tolerance)
    return executable


@pytest.mark.parametrize("axis", [0, 1])
def test_products_are_concatenated_in_place(axis):
    operands = normal((200, 30), (30, 40), (200, 20), (20, 40))
    executable = compiled(lambda a, b, c, d: concat(product(a, b), product(c, d), axis=axis), operands, rtol=1e-4, atol=1e-4)
    assert kinds(executable) == {"gemm": 2}


def test_products_whose_columns_are_apart_are_copied():
    operands = normal((200, 30), (30, 40), (200, 20), (20, 40))
    executable = compiled(lambda a, b, c, d: stack(product(a, b), product(c, d), axis=2), operands, rtol=1e-4, atol=1e-4)
    assert kinds(executable) == {"gemm": 2, "copy": 2}


def test_a_product_that_is_returned_too_has_memory_of_its_own():
    operands = normal((200, 30), (30, 40), (200, 40))

    def body(a, b, c):
        y = product(a, b)
        return y, concat(y, tanh(c), axis=0)
    executable = jit.compile(graph_of(body, *operands))
    first, second = executable(operands)
    np.testing.assert_array_equal(first, second[:200])
    second[:] = 0
    assert first.any()


def test_gradients_of_attention_are_laid_out_as_they_are_read():
    """Three products of heads, stacked, and brought back into the order (batch, time, three, head, width): no copies."""
    b, h, t, d = 2, 3, 8, 4
    operands = [*normal(*[(b, h, t, t)] * 3), *normal(*[(b, h, t, d)] * 3), *normal((3 * h * d, 5))]

    def body(p, q, r, x, y, z, w):
        parts = stack(product(p, x), product(q, y), product(r, z), axis=0)
        return product(reshape(transpose(parts, axes=(1, 3, 0, 2, 4)), shape=(b * t, 3 * h * d)), w)
    assert kinds(compiled(body, operands, rtol=1e-4, atol=1e-4)) == {"gemm": 4}


def test_kernels_write_into_a_turned_array():
    operands = normal((4, 5), (4, 5), (4, 5))

    def body(a, b, c):
        return reshape(transpose(stack(tanh(a), tanh(b), tanh(c), axis=0), axes=(2, 0, 1)), shape=(5, 12))
    executable = compiled(body, operands)
    assert "copy" not in kinds(executable) and "python" not in kinds(executable)


def test_products_are_added_up_inside_the_whole():
    operands = normal((200, 30), (30, 40), (200, 20), (20, 40), (50, 40))
    executable = compiled(lambda a, b, c, d, e: concat(tanh(e), product(a, b) + product(c, d), axis=0), operands, rtol=1e-4, atol=1e-4)
    assert kinds(executable) == {"kernel": 1, "gemm": 2}


def test_slices_of_an_array_are_read_in_place():
    (x,) = normal((6, 5, 4))
    executable = compiled(lambda x: tanh(get_item(x, index=(ROWS, 1))) * get_item(x, index=(ROWS, 3)), [x])
    assert kinds(executable) == {"kernel": 1}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_gradients_of_slices_that_cover_everything_need_no_zeros(dtype):
    operands = normal((6, 2), (6, 3), dtype=dtype)

    def body(a, b):
        put = OPS["put_item"]
        left = put(tanh(a), shape=(6, 5), index=(ROWS, ("slice", 0, 2, None)))
        return left + put(tanh(b), shape=(6, 5), index=(ROWS, ("slice", 2, 5, None)))
    executable = compiled(body, operands)
    assert not {"fill", "copy", "python"} & kinds(executable).keys()
