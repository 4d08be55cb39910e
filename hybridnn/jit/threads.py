"""How many threads native code may use, and the OpenMP runtime that lends them.

Kernels are split by ``GOMP_parallel``, called natively (see :mod:`hybridnn.jit.native`); oneDNN runs on the same runtime and so
on the same threads. Without GNU OpenMP everything runs on the caller's thread. A forked child has none of its parent's
threads, and GNU OpenMP would wait for them for ever: there, everything is serial.

``TABLE`` is read by native code at every parallel step; only this module writes it.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

logger = logging.getLogger("hybridnn.jit")

# Entries of TABLE: addresses of GNU OpenMP's functions (0: none), the most threads a step may use, whether this is a forked
# child.
PARALLEL, THREAD_NUM, NUM_THREADS, LIMIT, SET_THREADS, MAX_THREADS, FORKED = range(7)
TABLE = np.array([0, 0, 0, 1, 0, 0, 0], np.int64)

# Spin a few microseconds after a region, then sleep: sleeping at once costs 35-60 us a region, and the runtime's default of
# milliseconds starves whoever else wants the core. Measured in docs/jit.md.
SPINCOUNT = "2000"

_lock = threading.Lock()
_forked = False


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


def setup() -> None:
    """Finds the OpenMP runtime, once. Until then native steps are serial."""
    with _lock:
        if TABLE[SET_THREADS] or _forked:
            return
        library = openmp()
        if library is not None:
            _fill(library)


def _fill(library: ctypes.CDLL) -> None:
    names = {
        PARALLEL: "GOMP_parallel",
        THREAD_NUM: "omp_get_thread_num",
        NUM_THREADS: "omp_get_num_threads",
        SET_THREADS: "omp_set_num_threads",
        MAX_THREADS: "omp_get_max_threads",
    }
    for entry, name in names.items():
        TABLE[entry] = ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    TABLE[LIMIT] = cores()


@functools.cache
def openmp() -> ctypes.CDLL | None:
    """GNU OpenMP, or None: one that is loaded already, else the system's, else one from a wheel."""
    for name in _candidates():
        library = _load(name)
        if library is not None:
            return library
    logger.info("no GNU OpenMP (libgomp.so.1) found: native steps run on one thread")
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
    TABLE[LIMIT] = 1 if _forked else min(n, cores())
    try:
        yield
    finally:
        TABLE[LIMIT] = 1 if _forked else before


def _after_fork() -> None:
    """In a child: no parallel steps. (oneDNN's primitives insist on their threads, and run in a fresh thread of their own.)"""
    global _forked, _lock
    _forked, _lock = True, threading.Lock()
    TABLE[PARALLEL], TABLE[LIMIT], TABLE[FORKED] = 0, 1, 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
