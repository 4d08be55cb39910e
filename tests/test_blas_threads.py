"""OpenBLAS's threads around small and large products."""
import numpy as np
import pytest

import hybridnn as hnn
from hybridnn import functions as F
from hybridnn import openblas
from hybridnn.core import OPS
from hybridnn.graph import Graph, Node, infer
from hybridnn.jit import blas_threads
from hybridnn.jit import compile as jit_compile
from hybridnn.spec import Spec


def product(m, k, n):
    specs = {0: Spec((m, k), np.dtype("f")), 1: Spec((k, n), np.dtype("f"))}
    attrs = (("transa", False), ("transb", False))
    specs[2], = infer(OPS["matmul"], [specs[0], specs[1]], attrs)
    return Graph((0, 1), (Node(OPS["matmul"], (0, 1), (2,), attrs),), (2,), specs)


def threads_now(found):
    return found.get()


@pytest.mark.parametrize("size", [8, 300])
def test_the_count_is_what_it_was(size):
    """Before and after a small and a large product."""
    found = openblas.control()
    if found is None:
        assert blas_threads.one_thread() is None
        return
    before = threads_now(found)
    a = np.ones((size, size), "f")
    y, = jit_compile(product(size, size, size))([a, a])
    assert threads_now(found) == before
    np.testing.assert_array_equal(y, np.full((size, size), size, "f"))


def test_a_count_that_the_user_set_stays():
    found = openblas.control()
    if found is None:
        assert blas_threads.one_thread() is None
        return
    found.set(1)
    try:
        a = np.ones((8, 8), "f")
        jit_compile(product(8, 8, 8))([a, a])
        assert threads_now(found) == 1
    finally:
        found.set(found.count)


def test_flops():
    assert blas_threads.product_flops(6, 12, 8, 1) == 2 * 8 * 3
    assert blas_threads.product_flops(5 * 6, 5 * 12, 5 * 8, 5) == 2 * 8 * 3


@pytest.mark.parametrize("size", [4, 80, 200])
def test_eager_products_restore_the_count(size):
    found = openblas.control()
    before = None if found is None else found.get()
    a = np.ones((size, size), "f")
    np.testing.assert_array_equal(openblas.product(a, a), np.full((size, size), size, "f"))
    assert before is None or found.get() == before


def test_eager_convolutions_multiply_on_one_thread_where_samples_are_of_middle_size(monkeypatch):
    """With another process on the second core, OpenBLAS's threads took forty times as long."""
    counts = []
    control = openblas.Control(lambda: 2, counts.append, 2)
    monkeypatch.setattr(openblas, "control", lambda: control)
    x, w = hnn.Variable(np.ones((3, 8, 20, 20), "f")), hnn.Variable(np.ones((16, 8, 3, 3), "f"))
    F.sum(F.convolution_2d(x, w, pad=1)).backward()
    assert counts and counts == [1, 2] * (len(counts) // 2)
    counts.clear()
    F.convolution_2d(np.ones((1, 64, 60, 60), "f"), np.ones((64, 64, 3, 3), "f"), pad=1)
    assert not counts       # large ones have two threads


@pytest.mark.parametrize("size, limited", [(100, True), (600, False)])
@pytest.mark.parametrize("name", ["inv", "det", "cholesky"])
def test_eager_factorizations_take_one_thread_unless_the_matrix_is_large(name, size, limited, monkeypatch):
    counts = []
    monkeypatch.setattr(openblas, "control", lambda: openblas.Control(lambda: 2, counts.append, 2))
    getattr(F, name)(np.eye(size, dtype="f"))
    assert counts == ([1, 2] if limited else [])


def test_large_eager_products_take_one_thread_while_another_of_ours_is_busy(monkeypatch):
    counts = []
    control = openblas.Control(lambda: 2, counts.append, 2)
    monkeypatch.setattr(openblas, "control", lambda: control)
    a = np.ones((300, 300), "f")
    openblas.product(a, a)
    assert not counts
    with openblas.crowd():
        openblas.product(a, a)
    assert counts == [1, 2]
    openblas.product(a, a)
    assert counts == [1, 2]
