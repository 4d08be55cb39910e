"""The CUDA text of kernels in Numba's simulator, thread by thread, against NumPy and the reference interpreter.

A process of its own runs it: ``NUMBA_ENABLE_CUDASIM=1 python -m pytest tests/cuda_simulated.py``; ``test_cuda_simulator.py`` does so in every test run.
It finds what reads or writes out of bounds, what a thread does twice or leaves out, and results that depend on the grid. It knows nothing of speed, and
of dtypes only what NumPy's scalars do.
"""
import os

import numpy as np
import pytest
from cuda_kernels import GUARD, aliased, collect, drawn, evaluate, recorded, several_sizes
from gpu_math import gpu_math
from numba import cuda

assert os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", "set NUMBA_ENABLE_CUDASIM=1 before Python starts"
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")       # NumPy's scalars warn where a GPU does not

GRIDS = (1, 1), (1, 32), (3, 4), (2, 7)         # blocks, threads of each; 32 threads are more than some operands have elements
KERNELS = collect()


def kernel_of(text):
    namespace = {}
    exec(compile(text, "<cuda kernel>", "exec"), namespace)
    namespace["math"] = gpu_math
    return cuda.jit(namespace["kernel"])


def launch(kernel, grid, operands, same=()):
    """Flat buffers after the launch; pairs in ``same`` (a store's pointer, a load's) are one operand."""
    buffers = [b.copy() for b in operands.buffers]
    memory = dict(enumerate(cuda.to_device(b) for b in buffers))
    memory.update({store: memory[load] for store, load in same})
    kernel[grid](*[memory[n][GUARD:] for n in range(len(buffers))], *operands.words)
    return [memory[n].copy_to_host() for n in range(len(buffers))]


def in_place(buffer, array):
    """What lies in ``buffer`` where the operand ``array`` has its elements."""
    return np.ndarray(array.shape, array.dtype, buffer, GUARD * array.itemsize, array.strides)


def close(got, want):
    limit = {"float32": 2e-5, "float64": 1e-12}.get(str(got.dtype), 0)
    np.testing.assert_allclose(got, want, limit, limit * max(1, np.nanmax(np.abs(want), initial=0, where=np.isfinite(want))))


def check(kernel, operands, after, want, same=()):
    """What is stored is what NumPy says, and nothing else was written."""
    stores = [s.pointer for s in kernel.structure.stores]
    for pointer, expected in zip(stores, want, strict=True):
        got = in_place(after[pointer], operands.arrays[pointer])
        close(got, expected)
    written = {*stores, *(load for _, load in same)}
    for n, (before, buffer, free) in enumerate(zip(operands.buffers, after, operands.free, strict=True)):
        np.testing.assert_array_equal(buffer[free], before[free], f"written around operand {n}")
        assert n in written or np.array_equal(buffer, before, equal_nan=buffer.dtype.kind == "f"), f"operand {n} is only read"


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_a_kernel_does_what_its_structure_says(kernel):
    launched, rng = kernel_of(kernel.text), np.random.default_rng(0)
    for number, sizes in enumerate(several_sizes(kernel.structure)):
        operands = drawn(kernel, sizes, number % 2 == 0, rng)
        want = evaluate(kernel.structure, sizes, operands.arrays)
        check(kernel, operands, launch(launched, GRIDS[number % len(GRIDS)], operands), want)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_results_do_not_depend_on_the_grid(kernel):
    launched = kernel_of(kernel.text)
    sizes = several_sizes(kernel.structure)
    operands = drawn(kernel, (sizes[2:] or sizes)[0], False, np.random.default_rng(1))
    first, *others = [launch(launched, grid, operands) for grid in GRIDS]
    for other in others:
        for x, y in zip(first, other, strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_results_may_take_the_memory_of_operands(kernel):
    """As far as ``inplace_pairs`` says so."""
    launched, rng = None, np.random.default_rng(2)
    for sizes in several_sizes(kernel.structure)[2::3]:
        operands = drawn(kernel, sizes, False, rng)
        pairs = aliased(operands)
        if pairs:
            launched = launched or kernel_of(kernel.text)
            want = evaluate(kernel.structure, sizes, operands.arrays)
            for pair in pairs:
                check(kernel, operands, launch(launched, (2, 7), operands, [pair]), want, [pair])


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k.step.node], ids=lambda k: k.name)
def test_a_structure_says_what_the_reference_interpreter_does(kernel):
    """In the plan's own sizes and strides; small ones in the simulator too."""
    operands, want = recorded(kernel, np.random.default_rng(3))
    for x, y in zip(evaluate(kernel.structure, operands.sizes, operands.arrays), want, strict=True):
        close(x, y)
    if max(b.size for b in operands.buffers) < 2000:
        check(kernel, operands, launch(kernel_of(kernel.text), (3, 4), operands), want)


class TestTheChecks:
    """A text with a defect does not pass."""

    def checked(self, old, new, sizes=(601,)):
        kernel = next(k for k in KERNELS if len(k.structure.axes) == len(sizes) and k.structure.style == "map" and old in k.text)
        operands = drawn(kernel, sizes, False, np.random.default_rng(4))
        want = evaluate(kernel.structure, sizes, operands.arrays)
        check(kernel, operands, launch(kernel_of(kernel.text.replace(old, new)), (3, 4), operands), want)

    def test_one_element_too_many(self):
        with pytest.raises(AssertionError, match="written around operand"):
            self.checked("n0, cuda.gridsize", "n0 + 1, cuda.gridsize")

    def test_one_element_before_the_first(self):
        with pytest.raises(AssertionError):
            self.checked("range(cuda.grid(1)", "range(cuda.grid(1) - 1")

    def test_a_thread_that_leaves_something_out(self):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            self.checked("cuda.gridsize(1)", "cuda.gridsize(1) + 1")

    def test_one_thread_per_block_that_works(self):
        with pytest.raises(AssertionError, match="Not equal to tolerance"):
            self.checked("cuda.grid(1)", "cuda.blockIdx.x")

    def test_far_out_of_bounds(self):
        with pytest.raises(IndexError):
            self.checked("n0, cuda.gridsize", "n0 + 99, cuda.gridsize")
