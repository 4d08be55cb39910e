"""What the library runs on, for reports of problems."""
import platform
import sys

__all__ = ["print_runtime_info"]

_PACKAGES = "numpy", "scipy", "numba", "llvmlite", "cupy"


def print_runtime_info(out=None):
    """Print platform and versions, a line each, to ``out`` (None: standard output); ``python -m hybridnn info`` says more."""
    out = sys.stdout if out is None else out
    out.write(_get_runtime_info())
    if hasattr(out, "flush"):
        out.flush()


def _get_runtime_info():
    versions = {"Platform": platform.platform(), "Python": platform.python_version(),
                "hybridnn": sys.modules[__package__].__version__, **{name: _version(name) for name in _PACKAGES}}
    return "".join([f"{name}: {version}\n" for name, version in versions.items()])


def _version(name):
    from importlib import metadata  # 20 ms to import

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
