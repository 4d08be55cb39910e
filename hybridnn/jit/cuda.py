"""The CUDA side of kernels: what is there (``probe``), and PTX for a kernel's text without a GPU (``emit_ptx``). Numba is named
here only.

Kernels are launched through CuPy, with one parameter per pointer and word; see ``source`` for their order.
"""
import importlib.util
from dataclasses import dataclass

from hybridnn.backend import cupy, missing_libraries
from hybridnn.errors import BackendError
from hybridnn.jit.source_writer import parameters
from hybridnn.jit.support import NUMBA

__all__ = ["Probe", "emit_ptx", "probe", "signature"]

COMPILERS = ("numba_cuda", "nvidia.cu13")
HINT = "pip install 'hybridnn[cuda]'"


@dataclass(frozen=True)
class Probe:
    """Whether CUDA can be used; if not, why, and what to do."""
    ok: bool
    reason: str = ""
    hint: str = ""


def probe():
    """Looks for CuPy, a driver, a device and the compiler's libraries, in this order. Never raises."""
    if cupy is None:
        return Probe(False, "CuPy is not installed", HINT)
    try:
        if cupy.cuda.runtime.driverGetVersion() == 0:
            return Probe(False, "there is no NVIDIA driver", "install the driver of your GPU")
        if cupy.cuda.runtime.getDeviceCount() == 0:
            return Probe(False, "the driver sees no device", "look at nvidia-smi and CUDA_VISIBLE_DEVICES")
    except Exception as error:
        return Probe(False, f"the driver does not answer: {error}", "look at nvidia-smi")
    missing = missing_libraries()
    return Probe(False, f"CuPy does not find its libraries: {missing}", HINT) if missing else _compiler_probe()


def _compiler_probe():
    missing = [name for name in COMPILERS if not _found(name)]
    return Probe(False, f"{', '.join(missing)} cannot be imported", HINT) if missing else Probe(True)


def _found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False


def signature(structure):
    """numba types of the CUDA kernel's parameters: a pointer per operand, then int64 words. Bools are bytes; one that is given as a Python number is a word."""
    from numba.core import types
    names = ["uint8" if p.kind == "b1" else NUMBA[p.kind] for p in structure.pointers if p.role != "scratch"]
    words = [p.kind == "b1" and p.role == "weak" for p in structure.pointers]
    pointers = [types.CPointer(types.int64 if word else getattr(types, name)) for name, word in zip(names, words)]
    return types.void(*pointers, *[types.int64] * len(parameters(structure)))


def emit_ptx(text, types, cc=(9, 0)):
    """PTX of the kernel ``text`` for compute capability ``cc``; needs no driver.

    Division and the elementary functions are exact ones, denormals are kept; products and sums may be contracted.
    ``BackendError`` without the compiler.
    """
    found = _compiler_probe()
    if not found.ok:
        raise BackendError(f"emit_ptx: expected the CUDA compiler, but {found.reason}\n  hint: {found.hint}")
    from numba import cuda
    namespace = {"__name__": "hybridnn_kernel"}
    exec(compile(text, "<cuda kernel>", "exec"), namespace)
    ptx, _ = cuda.compile_ptx(namespace["kernel"], types, cc=cc, fastmath=False)
    return ptx
