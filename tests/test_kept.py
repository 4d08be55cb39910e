"""Fused graphs on disk: what is read is what was written, and whatever cannot be kept or read is planned."""
import numpy as np
import pytest
from jit_graphs import graph_of, random_graph
from test_accumulate import network_operands, recurrent_network

from hybridnn import jit
from hybridnn.core.op import OPS, elementwise
from hybridnn.errors import CacheWarning
from hybridnn.graph import run
from hybridnn.jit import kept, kernels, memory, pipeline
from hybridnn.jit.fuse import fuse
from hybridnn.jit.known import Known
from hybridnn.jit.passes import simplify


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache and a process that has planned nothing; graphs of any size are kept."""
    monkeypatch.setenv("HYBRIDNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "_state", {"warned": False})
    monkeypatch.setattr(kept, "LEAST_NODES", 1)
    monkeypatch.setattr(kept, "_shapes", Known(99))
    return tmp_path / "cache"


def start_again(monkeypatch, simplifies=False):
    """As another process; without the passes, if it is to have no need of them."""
    monkeypatch.setattr(kept, "_shapes", Known(99))
    monkeypatch.setattr(memory, "_known", Known(99))
    if not simplifies:
        monkeypatch.setattr(pipeline, "simplify", None)


def assert_alike(a, b):
    """Two graphs that are equal, fused regions and all."""
    assert str(a) == str(b)
    for x, y in zip(a.nodes, b.nodes, strict=True):
        assert (type(x.op), x.op.name, x.inputs, x.outputs, x.attrs, x.line) == (type(y.op), y.op.name, y.inputs, y.outputs, y.attrs, y.line)
        if x.op.kind == "fused":
            assert x.op.nest == y.op.nest and x.op.lines == y.op.lines
            assert_alike(x.op.graph, y.op.graph)


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_is_what_was_written(seed, cache):
    graph, _ = random_graph(seed, size=30)
    fused = fuse(simplify(graph))
    kept.keep("graph", fused, {(7,): "a reason"}, ())
    read, reasons = kept.kept("graph", fused)
    assert_alike(read, fused)
    assert reasons == {(7,): "a reason"} and max(read.specs) < read.specs.new(fused.specs[fused.outputs[0]])


def test_a_process_that_starts_again_runs_no_passes(cache, monkeypatch):
    operands = network_operands(steps=6)
    graph = graph_of(recurrent_network, *operands)
    before = jit.compile(graph)
    start_again(monkeypatch)
    monkeypatch.setattr(memory, "_best", None)
    after = jit.compile(graph)
    assert after.steps == before.steps and after.arena_bytes == before.arena_bytes
    for want, got in zip(before(operands), after(operands), strict=True):
        np.testing.assert_array_equal(got, want)
    for want, got in zip(run(graph, operands), after(operands), strict=True):
        np.testing.assert_allclose(got, want, 1e-3, 1e-4)


def test_another_size_is_another_graph(cache):
    keys = []
    for rows in (3, 5):
        kept._shapes.clear()
        keys.append(kept.key_of(graph_of(recurrent_network, *network_operands(steps=3, rows=rows))))
    assert None not in keys and keys[0] != keys[1]
    assert kept.key_of(graph_of(recurrent_network, *network_operands(steps=3, rows=7))) is None      # such a graph has been planned: that is faster


@pytest.mark.parametrize("a, b", [(1.0, 1), (0.0, -0.0), (True, 1)])
def test_equal_numbers_of_other_types_are_others(a, b, cache):
    keys = set()
    for number in (a, b):
        kept._shapes.clear()
        keys.add(kept.key_of(graph_of(lambda x, n=number: [OPS["add"](x, n)], np.ones(3, "f4"))))
    assert len(keys) == 2 and None not in keys


@elementwise("kept_by_nobody")
def own(xp, x):
    """An operation of the user's."""
    return x * 2


def test_operations_of_the_users_are_not_kept(cache):
    assert kept.key_of(graph_of(lambda x: [own(x)], np.ones(3, "f4"))) is None


def test_corrupt_files_are_planned_again(cache, monkeypatch):
    operands = network_operands(steps=4)
    graph = graph_of(recurrent_network, *operands)
    jit.compile(graph)
    (path,) = cache.glob("*.kept")
    path.write_bytes(path.read_bytes()[:-1])
    start_again(monkeypatch, simplifies=True)
    with pytest.warns(CacheWarning, match="corrupt"):
        exe = jit.compile(graph)
    for want, got in zip(run(graph, operands), exe(operands), strict=True):
        np.testing.assert_allclose(got, want, 1e-3, 1e-4)
    assert path.exists()


def test_small_graphs_are_not_looked_for():
    assert kept.key_of(graph_of(lambda x: [x + 1.0], np.ones(3, "f4"))) is None
