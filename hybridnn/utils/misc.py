"""Temporary folders."""
import contextlib
import shutil
import tempfile

__all__ = ["tempdir"]


@contextlib.contextmanager
def tempdir(**kwargs):
    """A temporary folder for a block. Keywords as ``tempfile.mkdtemp``, and ``ignore_errors`` for its removal."""
    ignore_errors = kwargs.pop("ignore_errors", False)
    path = tempfile.mkdtemp(**kwargs)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=ignore_errors)
