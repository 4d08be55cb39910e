"""Object code of :mod:`hybridnn.jit.lowlevel` modules on disk: compiling one takes 0.1 to 0.7 s, loading it 2 ms.

Files are named by a hash of all that the code depends on and begin with a hash of the rest, so a stale or damaged one is never
run. The folder belongs to the user alone; one that others could write to, or that cannot be used, is left alone, which is said
once.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger("hybridnn.jit")

KEEP = 64  # files; a version of the library and a CPU need about ten
DIGEST = hashlib.sha256

_compilers: dict[int, int] = {}  # thread -> how many compilations it is in
_change = threading.Condition()


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Around what compiles or links, on any number of threads. A fork waits for it: the child would inherit LLVM's and our own locks from threads that it
    does not have."""
    me = threading.get_ident()
    with _change:
        _compilers[me] = _compilers.get(me, 0) + 1
    try:
        yield
    finally:
        with _change:
            _compilers[me] -= 1
            if not _compilers[me]:
                del _compilers[me]
                _change.notify_all()


def _until_no_other_compiles() -> None:
    """A signal handler may fork in the midst of a compilation of the same thread."""
    _change.acquire()
    while _compilers.keys() - {threading.get_ident()}:
        _change.wait()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_until_no_other_compiles, after_in_parent=_change.release, after_in_child=_change.release)


def folder() -> Path | None:
    """Where objects lie (``HYBRIDNN_CACHE``, else the user's cache directory), or None if that is no safe place."""
    named = os.environ.get("HYBRIDNN_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return _usable(Path(named) if named else Path(user) / "hybridnn")


@functools.cache
def _usable(root: Path) -> Path | None:
    path = root / "objects"
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        for p in (root, path):
            info = p.stat()
            if hasattr(os, "geteuid") and (info.st_uid != os.geteuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
                raise PermissionError(f"others own {p} or may write to it")
    except OSError as e:
        logger.info("compiled steps are not kept on disk: %s", e)
        return None
    return path


def is_kept(key: str) -> bool:
    """Whether there is an object under ``key``; it may be damaged."""
    path = folder()
    return path is not None and (path / f"{key}.o").exists()


def load(key: str) -> bytes | None:
    """The object stored under ``key``, or None."""
    path = folder()
    try:
        data = (path / f"{key}.o").read_bytes() if path else b""
    except OSError:
        return None
    digest, code = data[:32], data[32:]
    return code if code and DIGEST(code).digest() == digest else None


def store(key: str, code: bytes) -> None:
    """Keeps an object, whole or not at all; a full or read-only disk is no error."""
    path = folder()
    if path is None:
        return
    try:
        handle, temporary = tempfile.mkstemp(dir=path)
        with os.fdopen(handle, "wb") as file:
            file.write(DIGEST(code).digest() + code)
        os.replace(temporary, path / f"{key}.o")
        _forget_oldest(path)
    except OSError as e:
        logger.info("a compiled step was not kept on disk: %s", e)
        with contextlib.suppress(OSError, UnboundLocalError):
            os.unlink(temporary)


def _forget_oldest(path: Path) -> None:
    for old in sorted(path.iterdir(), key=lambda p: p.stat().st_mtime)[:-KEEP]:
        old.unlink(missing_ok=True)
