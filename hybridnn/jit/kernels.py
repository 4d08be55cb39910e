"""Kernel texts to machine code, kept on disk.

A kernel's key is a hash of its text, the toolchain and the CPU. The private cache directory holds for every key the text
(``.py``, to be read) and the object code (``.o``: a checksum, then ELF), which llvmlite loads without numba being imported. What
cannot be read or written is compiled in memory, after one ``CacheWarning``.
"""
import functools
import hashlib
import importlib.util
import os
import stat
import sys
import tempfile
import threading
import time
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

from hybridnn.errors import CacheWarning
from hybridnn.jit.objects import compiling

__all__ = ["Loaded", "cache_directory", "load", "read_kept", "symbol", "toolchain", "write_kept"]

MAX_BYTES, MAX_FILES = 256 << 20, 8192
LOOK = 64
_SOURCES = ("vecmath*.py", "pointers*.py", "reducers.py", "kernels.py", "*compiler.py", "translate*.py", "machine.py", "lowlevel.py",
            "squares.py", "vectors.py")
_lock = threading.RLock()
_addresses = {}          # key -> address, for the life of the process
_engines = []            # they own the code
_state = {"warned": False}


@dataclass(frozen=True)
class Loaded:
    """Addresses, one per text; how many of them had to be compiled now, and how long that took."""
    addresses: tuple
    compiled: int
    seconds: float


def load(texts):
    """Machine code for kernel texts: from this process, from the disk, or compiled now."""
    started = time.perf_counter()
    with compiling(), _lock:
        keys = [symbol(t) for t in texts]
        missing = {k: t for k, t in zip(keys, texts) if k not in _addresses}
        objects = {k: read_kept(k, ".o") for k in missing}
        new = {k: t for k, t in missing.items() if objects[k] is None}
        if new:
            objects.update(_compile_all(new))
        if objects:
            _link(objects)
        return Loaded(tuple([_addresses[k] for k in keys]), len(new), time.perf_counter() - started)


@functools.lru_cache(65536)
def symbol(text):
    """The name of a kernel's machine code: a hash of all that it depends on."""
    return "hnn_" + hashlib.sha256((text + toolchain()).encode()).hexdigest()[:40]


@functools.cache
def toolchain():
    """Versions, sources that kernels are compiled through, and the CPU."""
    import llvmlite
    import llvmlite.binding as llvm
    folder, numba = Path(__file__).parent, Path(importlib.util.find_spec("numba").origin).parent
    sources = [p for pattern in _SOURCES for p in sorted(folder.glob(pattern))]
    sources += [p for p in (numba / "__init__.py", numba / "_version.py") if p.exists()]      # importing it, or even asking for its version, takes long
    digest = hashlib.sha256(b"".join([p.read_bytes() for p in sources])).hexdigest()
    return "\n".join([digest, llvmlite.__version__, sys.version, llvm.get_host_cpu_name(), _features()])


@functools.cache
def _features():
    import llvmlite.binding as llvm
    return llvm.get_host_cpu_features().flatten()


def _compile_all(texts):
    """key -> object code; written to the cache."""
    from hybridnn.jit import compiler
    directory = _directory()
    names = [str(directory / f"{key}.py") if directory else f"<kernel {key}>" for key in texts]
    result = dict(zip(texts, compiler.compile_objects(list(zip(texts, texts.values(), names))), strict=True))
    if directory:
        for key, code in result.items():
            _write(directory, key, {".py": texts[key].encode(), ".o": _signed(key, code)})
    return result


def _link(objects):
    """An engine per object: code that is added to a finalised one is not relocated reliably."""
    from hybridnn.jit import machine
    for key, code in objects.items():
        engine = machine.engine(code)
        address = engine.get_function_address(key)
        assert address, f"{key} is not in its object file"
        _addresses[key] = address
        _engines.append(engine)


# ------------------------------------------------------------------------------------------------------------------ on disk

def cache_directory():
    """Where kernels are kept: ``HYBRIDNN_CACHE``, else ``hybridnn`` in the user's cache directory."""
    chosen = os.environ.get("HYBRIDNN_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hybridnn"


def _directory():
    """The cache directory, made if need be, or None (said once) where it cannot be trusted or used."""
    try:
        path = cache_directory()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if hasattr(os, "geteuid") and (info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o022):
            return _warn(f"{path} belongs to somebody else or can be written by others",
                         "chmod 700 it, or name another in HYBRIDNN_CACHE")
        if not os.access(path, os.W_OK | os.X_OK):
            return _warn(f"{path} cannot be written", "name another directory in HYBRIDNN_CACHE")
        return path
    except (OSError, RuntimeError) as error:
        return _warn(str(error), "name another directory in HYBRIDNN_CACHE")


def _warn(problem, hint):
    if not _state["warned"]:
        _state["warned"] = True
        warnings.warn(f"the kernel cache cannot be used, kernels are compiled in memory: {problem}\n  hint: {hint}",
                      CacheWarning, stacklevel=2)


def read_kept(key, ending=".kept"):
    """The bytes kept for ``key``, or None; a file that is not what was written is removed."""
    directory = _directory()
    if directory is None:
        return None
    path = directory / f"{key}{ending}"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _warn(str(error), "remove the file, or name another directory in HYBRIDNN_CACHE")
    digest, code = data[:32], data[32:]
    if hashlib.sha256(key.encode() + code).digest() != digest:
        _warn(f"{path} is corrupt", "it is made again")
        _remove(path)
        return None
    return code


def write_kept(key, data):
    """Keeps bytes for other processes, if the cache directory can be used."""
    directory = _directory()
    if directory is not None:
        _write(directory, key, {".kept": _signed(key, data)}, bounded=zlib.crc32(data) % LOOK == 0)      # looking takes longer than writing


def _signed(key, data):
    return hashlib.sha256(key.encode() + data).digest() + data


def _write(directory, key, files, bounded=True):
    """Write files of these endings; ``bounded``: see that there are not too many."""
    try:
        for ending, data in files.items():
            _replace(directory / f"{key}{ending}", data)
        if bounded:
            _bound(directory)
    except OSError as error:
        _warn(str(error), "free some space, or name another directory in HYBRIDNN_CACHE")


def _replace(path, data):
    """Write a file so that others see all of it or nothing."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
        os.replace(name, path)
    except BaseException:
        _remove(name)
        raise


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass


def _bound(directory):
    """Drop the files longest unused when there are too many; looked at with the first of ``LOOK`` files that a process writes."""
    _state["written"] = _state.get("written", 0) + 1
    if _state["written"] % LOOK != 1:
        return
    total = 0
    for number, (_, size, path) in enumerate(sorted(_files(directory), reverse=True)):
        total += size
        if total > MAX_BYTES or number >= MAX_FILES:
            _remove(path)


def _files(directory):
    """Times, sizes and paths; without files that another process removes meanwhile."""
    for entry in os.scandir(directory):
        try:
            if entry.is_file():
                yield entry.stat().st_mtime, entry.stat().st_size, entry.path
        except FileNotFoundError:
            continue
