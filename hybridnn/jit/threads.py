"""How many threads native code may use; helpers for parallel steps; the OpenMP runtime that oneDNN runs on.

Parallel steps have helper threads of their own (:mod:`hybridnn.jit.pool`). A forked child has none of its parent's threads: its
steps are serial until it builds a plan, and oneDNN's primitives run in a fresh thread, because GNU OpenMP would wait for the
parent's threads for ever.

``TABLE`` is read by native code at every parallel step; only this module writes it.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

logger = logging.getLogger("hybridnn.jit")

# Entries of TABLE: address of the pool (0: no helpers), the most threads a step may use, addresses of OpenMP's functions (0:
# none), and whether this is a forked child.
POOL, LIMIT, SET_THREADS, MAX_THREADS, FORKED = range(5)
TABLE = np.array([0, 0, 0, 0, 0], np.int64)

# OpenMP's threads spin a few microseconds after a region, then sleep: sleeping at once costs 35-60 us a region, and the default
# of milliseconds starves whoever else wants the core.
SPINCOUNT = "2000"

_lock = threading.Lock()


@functools.cache
def cores() -> int:
    """Cores this process may use: affinity and the cgroup's CPU quota, rounded up; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(usable, quota or usable))


def _cgroup_quota(root: Path) -> int | None:
    """CPUs that a control group allows (version 2, then 1), or None."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not limit.isdigit() or not period.isdigit() or int(period) == 0:  # "max" or -1: no limit
        return None
    return max(1, -(-int(limit) // int(period)))


def setup(words: int, start: Callable[[int, int], int]) -> None:
    """Starts helpers for parallel steps, once: ``start(address of the pool's zeroed memory, how many)`` gives 0 or an error."""
    with _lock:
        if TABLE[POOL] or cores() == 1:
            return
        memory = np.zeros(words + 16, np.int64)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))  # helpers sleep in it to the end of the process
        address = -(-memory.ctypes.data // 128) * 128
        with _signals_blocked():
            status = start(address, cores() - 1)
        if status:
            logger.info("no helper threads (error %d): native steps run on one thread", status)
            return
        TABLE[POOL] = address


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Threads made here inherit it: signals go to threads that run Python."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """GNU OpenMP, which oneDNN needs, or None: one that is loaded already, else the system's, else one from a wheel."""
    for name in _candidates():
        library = _load(name)
        if library is not None:
            for entry, function in ((SET_THREADS, "omp_set_num_threads"), (MAX_THREADS, "omp_get_max_threads")):
                TABLE[entry] = ctypes.cast(getattr(library, function), ctypes.c_void_p).value or 0
            return library
    return None


def _candidates() -> list[str]:
    bundled = sorted({p for p in _mapped_files() if "libgomp" in Path(p).name})
    return ["libgomp.so.1", *bundled, *_in_wheels()]


def _mapped_files() -> list[str]:
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return []
    return [line.split(maxsplit=5)[5] for line in lines if line.count(" ") >= 5 and "/" in line]


def _in_wheels() -> Iterator[str]:
    """Copies that wheels carry beside their modules (scikit-learn's, torch's)."""
    site = Path(np.__file__).parent.parent
    yield from sorted(str(p) for p in site.glob("*.libs/libgomp*.so*"))
    yield from sorted(str(p) for p in site.glob("torch/lib/libgomp*.so*"))


def _load(name: str) -> ctypes.CDLL | None:
    """Loads it, with a bounded spin unless the user chose one. The variable counts only while the library loads."""
    chosen = any(v in os.environ for v in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
    if not chosen:
        os.environ["GOMP_SPINCOUNT"] = SPINCOUNT
    try:
        library = ctypes.CDLL(name)
        return library if hasattr(library, "GOMP_parallel") else None
    except OSError:
        return None
    finally:
        if not chosen:
            del os.environ["GOMP_SPINCOUNT"]


@contextmanager
def limit(n: int) -> Iterator[None]:
    """At most ``n`` threads for native steps in this block, for the whole process; ``ValueError`` below 1."""
    if n < 1:
        raise ValueError(f"threads.limit: {n} threads asked for, at least 1 is needed")
    before = int(TABLE[LIMIT])
    TABLE[LIMIT] = min(n, cores())
    try:
        yield
    finally:
        TABLE[LIMIT] = before


def _after_fork() -> None:
    """In a child: the helpers are gone, and the pool may have been in use."""
    global _lock
    _lock = threading.Lock()
    TABLE[POOL], TABLE[FORKED] = 0, 1


TABLE[LIMIT] = cores()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
