"""Kernel texts: golden files for CPU and CUDA, and the CUDA text run on the CPU with a stand-in for ``cuda``."""
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from jit_graphs import graph_of

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn.core.op import OPS
from hybridnn.errors import BackendError
from hybridnn.graph import run
from hybridnn.jit import cuda, layout, source
from hybridnn.jit.fuse import fuse
from hybridnn.jit.passes import simplify
from hybridnn.jit.places import ARENA, Root, whole
from hybridnn.jit.source_writer import parameters

GOLDEN = Path(__file__).parent / "golden"


rng = np.random.default_rng(0)


def array(*shape):
    return rng.uniform(-1.5, 1.5, shape).astype("f4")


CASES = {
    "chain": (lambda x, b: [OPS["tanh"](1.5 * x + b) * OPS["sigmoid"](x)], (array(5, 17), array(17))),
    "flat": (lambda x, a: [OPS["relu"](x) * a], (array(5, 7), .5)),
    "softmax": (lambda x: [OPS["softmax"](x, axis=(1,))], (array(5, 300),)),
    "pixels": (lambda x, b: [OPS["sigmoid"](x + b)], (array(40, 3), array(3))),
    "classes": (lambda x: [OPS["log_softmax"](x, axis=(1,))], (array(40, 5),)),
    "layer_norm": (lambda x, e, g: [OPS["standardize"](x, e, axis=(1,))[0] * g], (array(5, 70), 1e-5, array(70))),
    "batch_norm": (lambda x, e: OPS["standardize"](x, e, axis=(0, 2)), (array(4, 3, 5), 1e-5)),
    "bias_gradient": (lambda g, y: [OPS["sum"](g * (1 - y * y), axis=(0,), keepdims=False), g * (1 - y * y)],
                      (array(70, 9), array(70, 9))),
    "row_max": (lambda x: [OPS["amax"](OPS["cast"](x, dtype="int32"), axis=(1,), keepdims=False)], (array(5, 70) * 100,)),
    "column_extremes": (lambda x: [OPS["amax"](x, axis=(0,), keepdims=False), OPS["amin"](x, axis=(0,), keepdims=False)],
                        (array(70, 9),)),
    "label_mask": (lambda t: [OPS["cast"](OPS["iota_equal"](t, depth=4), dtype="float32") * 2], (np.array([1, 0, 3], "i4"),)),
    "adam": (lambda *xs: OPS["update_adam"](*xs, wide=False),
             (*[np.abs(array(3, 4)) for _ in range(4)], .1, .1, .1, 1e-8, 1., 1.)),
    "image_sums": (lambda g, y: [OPS["sum"](g * y, axis=(1, 2), keepdims=True), OPS["amax"](y, axis=(1, 2), keepdims=False), g * y],
                   (array(9, 5, 7, 3), array(9, 5, 7, 3))),
    "momentum": (lambda *xs: OPS["update_momentum"](*xs, wide=False), (*[array(3, 4) for _ in range(3)], .1, .9)),
    "double": (lambda x: [OPS["where"](x > 0, OPS["exp"](x), OPS["log1p"](x * 0.5))], (array(5, 7).astype("f8"),)),
    "total": (lambda x: [OPS["sum"](x, axis=None, keepdims=False)], (array(40, 50),)),
}


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
    for shape in ((5, 300), (1000, 170), (2, 30)):
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
    ptx = cuda.emit_ptx(text, types)
    assert ".f64" not in ptx or name == "batch_norm"
    assert ".approx" not in ptx


def test_the_probe_gives_a_reason():
    found = cuda.probe()
    assert found.ok or (found.reason and found.hint)
