"""What the library runs on, for reports of problems."""
import importlib.metadata
import platform
import sys

__all__ = ["print_runtime_info"]

_PACKAGES = "numpy", "scipy", "numba", "llvmlite", "cupy"


def print_runtime_info(out=None):
    """Print platform and versions, a line each, to ``out`` (None: standard output); ``python -m hybridnn info`` says more."""
    out = sys.stdout if out is None else out
    out.write(f"Platform: {platform.platform()}\nPython: {platform.python_version()}\n")
    out.write(f"hybridnn: {sys.modules[__package__].__version__}\n")
    for name in _PACKAGES:
        out.write(f"{name}: {_version(name)}\n")
    if hasattr(out, "flush"):
        out.flush()


def _version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
