"""``cache show`` and ``cache clear``: compiled kernels on disk."""
import os
import sys

from hybridnn.jit.kernels import cache_directory

__all__ = ["clear", "kept_files", "show", "state"]

_PATTERNS = ("hnn_*.py", "hnn_*.o", "objects/*.o")     # what the library writes there, and nothing else


def kept_files():
    """The library's files in the cache directory."""
    folder = cache_directory()
    return [p for pattern in _PATTERNS for p in sorted(folder.glob(pattern)) if p.is_file() and not p.is_symlink()]


def show():
    """Print where kernels are kept, and how much is there."""
    files = kept_files()
    kernels = sum(p.suffix == ".py" for p in files)
    print(f"folder: {cache_directory()}")
    print(f"        {state()}")
    print(f"files:  {len(files)} ({kernels} kernels with their text), {sum(p.stat().st_size for p in files) / 1024:.0f} KiB")
    return 0


def state():
    """Whether the folder can be used, in words."""
    folder = cache_directory()
    if not folder.exists():
        return "not there yet: made when the first kernel is compiled"
    info = folder.stat()
    if hasattr(os, "geteuid") and (info.st_uid != os.geteuid() or info.st_mode & 0o022):
        return "not used: it belongs to somebody else or can be written by others (chmod 700 it)"
    return "in use" if os.access(folder, os.W_OK | os.X_OK) else "not used: it cannot be written"


def clear():
    """Delete the library's files; exit code 1 if one could not be deleted."""
    files, left = kept_files(), 0
    for p in files:
        try:
            p.unlink(missing_ok=True)
        except OSError as error:
            left += 1
            print(f"{p}: {error.strerror}", file=sys.stderr)
    print(f"{len(files) - left} files deleted from {cache_directory()}")
    return 1 if left else 0
