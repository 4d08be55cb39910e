"""Kernel texts: golden files for CPU and CUDA, and the CUDA text run on the CPU with a stand-in for ``cuda``."""
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_code import precision
from jit_graphs import assert_same, graph_of
from kernel_cases import CASES, GRAPHS, array

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.errors import BackendError
from hybridnn.graph import run
from hybridnn.jit import cuda, layout, source
from hybridnn.jit.fuse import fuse
from hybridnn.jit.inplace import inplace_pairs
from hybridnn.jit.passes import simplify
from hybridnn.jit.places import ARENA, Root, whole
from hybridnn.jit.source_writer import parameters

GOLDEN = Path(__file__).parent / "golden"


def prepared(name):
    """The only fused op of a case, its operands and their arrangement."""
    fn, operands = CASES[name]
    graph = fuse(simplify(graph_of(fn, *operands)))
    (node,) = graph.nodes
    order = [operands[graph.inputs.index(v)] if v in graph.inputs else dict(graph.constants)[v] for v in node.inputs]
    ins = [layout.Operand(0, 0, getattr(x, "strides", ())) for x in order]
    outs = [whole(Root(ARENA, 0, s.nbytes), s.shape, s.dtype) for s in (graph.specs[v] for v in node.outputs)]
    return node.op, order, layout.arrange(node.op.nest, ins, [layout.Operand(0, 0, p.strides) for p in outs])


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("name", CASES)
def test_text_is_as_it_was(name, target):
    """HYBRIDNN_GOLDEN=write writes the files anew."""
    path, text = GOLDEN / f"{name}_{target}.py", source.render(prepared(name)[2].structure, target)
    if os.environ.get("HYBRIDNN_GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


def test_a_text_does_not_depend_on_sizes():
    fn = CASES["softmax"][0]
    texts = set()
    for shape in ((5, 300), (1000, 170), (2, 130)):
        node = fuse(simplify(graph_of(fn, array(*shape)))).nodes[0]
        strides = [(shape[1] * 4, 4)]
        texts.add(source.render(layout.arrange(node.op.nest, [layout.Operand(0, 0, *strides)],
                                               [layout.Operand(0, 0, *strides)]).structure))
    assert len(texts) == 1


def cuda_call(name, grid, size, compiled=False):
    """Outputs of the CUDA text run as thread ``grid`` of ``size``, one after the other for all ``grid``."""
    op, operands, arranged = prepared(name)
    outs = [np.full(s.size, 77, s.dtype) for s in (op.graph.specs[v] for v in op.graph.outputs)]
    pointers = []
    for (position, role, _), pointer in zip(arranged.operands, arranged.structure.pointers, strict=False):
        x = outs[position] if role == "store" else np.asarray(operands[position]).reshape(-1)
        pointers.append(x.astype("f8") if role == "weak" and pointer.kind == "f8" else x)
    kernel = load_cuda(source.render(arranged.structure, "cuda"), compiled)
    with np.errstate(all="ignore"):
        for thread in grid:
            kernel(thread, size)(*pointers, *arranged.words)
    return [y.reshape(op.graph.specs[v].shape) for y, v in zip(outs, op.graph.outputs, strict=True)], run(op.graph, operands)


def load_cuda(text, compiled):
    """A function (thread, number of threads) -> kernel, by replacing the import of ``cuda``."""
    import numba

    def at(thread, size):
        threads = SimpleNamespace(grid=lambda n: thread, gridsize=lambda n: size)
        body = text
        if compiled:
            body = text.replace("cuda.gridsize(1)", "1").replace("cuda.grid(1)", "0")
        lines = [line.replace("import cuda, ", "import ") for line in body.splitlines() if line != "from numba import cuda"]
        namespace = {"cuda": threads} if compiled else {"cuda": threads, **NUMPY_TYPES}
        exec("\n".join(lines if compiled else [line for line in lines if not line.startswith("from numba")]), namespace)
        return numba.njit(error_model="numpy")(namespace["kernel"]) if compiled else namespace["kernel"]
    return at


NUMPY_TYPES = {n: getattr(np, n) for n in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8")}


def close(got, want):
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, 3e-6, 3e-6)


@pytest.mark.parametrize("name", CASES)
def test_cuda_text_in_python_does_not_depend_on_the_grid(name):
    one, want = cuda_call(name, range(1), 1)
    eight, _ = cuda_call(name, reversed(range(8)), 8)
    close(one, want)
    for x, y in zip(one, eight, strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("name", ["chain", "softmax", "bias_gradient"])
def test_cuda_text_compiled_for_the_cpu(name):
    close(*cuda_call(name, [0], 1, compiled=True))


@pytest.mark.parametrize("name", [n for n in CASES if n != "double"])
def test_no_double_precision_in_a_float32_kernel(name):
    for target in ("cpu", "cuda"):
        text = source.render(prepared(name)[2].structure, target)
        for line in text.splitlines():
            weak = "float32(v" in line or "ptr_f64" in line or "import" in line
            in_loop_for_subnormals = name in ("adam", "momentum") and target == "cpu" and (line.strip().startswith("d") or "float32(d" in line)
            assert weak or in_loop_for_subnormals or "float64" not in line


@pytest.mark.parametrize("name", ["softmax", "bias_gradient", "batch_norm"])
def test_ptx_or_what_is_missing(name):
    """Where the CUDA compiler is installed the text compiles, in single precision; elsewhere the error says what to install."""
    structure = prepared(name)[2].structure
    types = cuda.signature(structure)
    assert len(types.args) == sum(p.role != "scratch" for p in structure.pointers) + len(parameters(structure))
    text = source.render(structure, "cuda")
    missing = cuda._compiler_probe()
    if not missing.ok:
        with pytest.raises(BackendError, match=r"pip install 'hybridnn\[cuda\]'"):
            cuda.emit_ptx(text, types)
        return
    assert list(precision(SimpleNamespace(text=text, structure=structure), cuda.emit_ptx(text, types))) == []


def test_bools_are_bytes_on_cuda_and_words_where_they_are_numbers():
    """What is neither cannot be stored through a pointer, or is read from where nothing was written."""
    def parts(name):
        fn, operands = GRAPHS[name]
        structure, = [s.arranged.structure for s in jit.compile(graph_of(fn, *operands))._lowered.steps]
        return str(cuda.signature(structure)), source.render(structure, "cuda")
    types, text = parts("bools")
    assert types.count("uint8*") == 1 and "bool" not in types
    types, text = parts("given_bool")
    assert "int64*" in types and "bool" not in types and "[0] != 0" in text
    x = layout.Pointer("b1", "load", ("1",)), layout.Pointer("f4", "store", ("1",))
    items = layout.Instruction("load", (), "b1", (0,), 0), layout.Instruction("cast", (0,), "f4", (0,), None)
    structure = layout.Structure("map", (False,), items, (layout.Output(1, 1, (0,)),), x)
    assert "v0 = p0[i] != 0" in source.render(structure, "cuda") and "v0 = p0[i]\n" in source.render(structure, "cpu")


def test_what_is_read_again_is_not_written_over_before():
    """Rows of few elements are worked on in copies on the CPU; on CUDA a loop over the row reads what one before it would have written over."""
    graph = graph_of(lambda x: [OPS["softmax"](x, axis=(1,)) + x], array(40, 5))
    step, = jit.compile(graph)._lowered.steps
    assert step.arranged.structure.style == "short"
    assert inplace_pairs(step.arranged) == step.inplace == ((0, 0),) and inplace_pairs(step.arranged, "cuda") == ()


def test_comparisons_see_float32_where_very_small_numbers_are_computed_in_float64():
    def fn(x, a, b, c):
        z = OPS["sub"](OPS["mul"](x, a), b)
        return [z, OPS["equal"](z, c), OPS["greater"](z, 0.)]
    x = np.array([1e-38, 3., -1e-40, 0., 2e-38, 1e-44], "f4")
    graph = graph_of(fn, x, .5, 0., 1.5)
    executable = jit.compile(graph)
    assert "float32(d" in executable.sources[0] and [s.kind for s in executable.steps] == ["kernel"]
    assert_same(graph, executable, (x, .5, 0., 1.5))


@pytest.mark.parametrize("fn", [
    lambda x, y: -x * x, lambda x, y: x * x * -.5, lambda x, y: (x - y) * (-.5 * (x - y)), lambda x, y: -(x * y) * (y * x), lambda x, y: -x * x / 2.,
    lambda x, y: -abs(x * y), lambda x, y: -(x * x) * abs(y), lambda x, y: abs(x) * -.5])
def test_exp_of_what_is_never_positive_takes_less_work(fn):
    def with_exp(x, y):
        return [OPS["exp"](fn(x, y))]
    x, y = np.array([0., -0., 1e-30, -1, 3, 1e20, -np.inf, np.nan], "f4"), np.array([2, 0, 1e30, -2, .1, 1e20, 0, 1], "f4")
    graph = graph_of(with_exp, x, y)
    executable = jit.compile(graph)
    assert "exp_down_f32(" in executable.sources[0] and "exp_f32(" not in executable.sources[0]
    with np.errstate(all="ignore"):
        assert_same(graph, executable, (x, y))


@pytest.mark.parametrize("fn", [lambda x, y: x * x, lambda x, y: -x * y, lambda x, y: -x * x * y, lambda x, y: x * -2., lambda x, y: x - abs(x)])
def test_exp_of_what_may_be_positive_does_not(fn):
    executable = jit.compile(graph_of(lambda x, y: [OPS["exp"](fn(x, y))], array(9), array(9)))
    assert "exp_f32(" in executable.sources[0]


def test_the_probe_gives_a_reason():
    found = cuda.probe()
    assert found.ok or (found.reason and found.hint)
