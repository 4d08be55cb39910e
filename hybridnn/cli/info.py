"""``info``: what the library found on this machine."""
import importlib.metadata
import os
import platform

import hybridnn
from hybridnn.cli.cache import kept_files, state
from hybridnn.jit import blas_library, cuda, onednn, threads
from hybridnn.jit.kernels import cache_directory

__all__ = ["facts", "info"]

_PACKAGES = "numpy", "numba", "llvmlite", "scipy", "h5py", "cupy-cuda13x", "numba-cuda"
_FEATURES = "sse4.2", "avx", "fma", "avx2", "avx512f", "avx512vl", "neon", "sve"


def info():
    """Print the facts, a line each."""
    found = facts()
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name:<{width}}  {value}")
    return 0


def facts():
    """Name -> what was found, in words."""
    return {"hybridnn": hybridnn.__version__, "Python": f"{platform.python_version()} on {platform.platform()}",
            "packages": _packages(), "CPU": _cpu(), "cores": _cores(), "BLAS": _blas(), "OpenMP": _openmp(), "oneDNN": _onednn(),
            "kernel cache": f"{cache_directory()}: {state()}, {len(kept_files())} files", "CUDA": _cuda()}


def _packages():
    return ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu():
    import llvmlite.binding as llvm
    has = llvm.get_host_cpu_features()
    return f"{llvm.get_host_cpu_name()} ({', '.join(f for f in _FEATURES if has.get(f)) or 'no vector extensions that matter'})"


def _cores():
    return f"{threads.cores()} to use, {os.cpu_count()} in the machine"


def _blas():
    found = blas_library.find()
    if found is None:
        return "NumPy's has no functions that can be called natively: matrix products run as np.matmul"
    return f"NumPy's own, {found.prefix}sgemm{found.suffix} with {found.bits}-bit integers"


def _openmp():
    found = threads.openmp()
    return "none (needed by oneDNN only)" if found is None else f"{found._name}"


def _onednn():
    found = onednn.find()
    return "none (extra 'onednn'): convolutions run on BLAS" if found is None else ".".join(map(str, found.version))


def _cuda():
    found = cuda.probe()
    return "available" if found.ok else f"not available: {found.reason} ({found.hint})"
