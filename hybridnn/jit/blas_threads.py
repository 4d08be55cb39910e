"""OpenBLAS's own threads around small products.

Below some million operations a second thread costs more than it brings, and with another process on its core it costs milliseconds (measured: a product of
0.3 GFLOP went from 1.5 to 48 ms). So a plan lowers OpenBLAS to one thread at its start, allows its threads again for each large product, and restores the
count at its end. A count that the user has changed since is left alone.
"""
import ctypes
import functools
from dataclasses import dataclass

import numpy as np

from hybridnn.jit import blas, lowlevel
from hybridnn.jit.native import Step

__all__ = ["LARGE", "one_thread", "product_flops", "with_threads"]

LARGE = 4e6      # operations of one product from which its threads pay


@dataclass(frozen=True)
class Control:
    """Addresses of OpenBLAS's getter and setter, the count found first, and a word that says whether a plan has lowered it."""
    get: int
    set: int
    count: int
    lowered: np.ndarray


@functools.cache
def control():
    """The control of NumPy's OpenBLAS; None if there is none, or if it has one thread anyway."""
    found = blas.find()
    if found is None:
        return None
    for prefix in ("scipy_openblas", "openblas"):
        names = [f"{prefix}_{verb}_num_threads{found.suffix}" for verb in ("get", "set")]
        if all(hasattr(found.keep, n) for n in names):
            get, setter = (getattr(found.keep, n) for n in names)
            count = get()
            addresses = [ctypes.cast(f, ctypes.c_void_p).value for f in (get, setter)]
            return Control(*addresses, count, np.zeros(1, np.int64)) if count > 1 else None
    return None


def _emit(m):
    """Two steps, each with args (get, set, count, address of ``lowered``): lower to one thread, and restore the count."""
    for name in ("lower", "restore"):
        f, *_ = lowlevel.step_function(m, name)
        args = f.params[1]
        get, setter, count = (f.load(lowlevel.I64, args, i) for i in range(3))
        lowered = f.load(lowlevel.PTR, args, 3)
        if name == "lower":
            with f.when(f.widen(f.call_address(get, lowlevel.I32)) == count):
                f.call_address(setter, lowlevel.VOID, f.value(1, lowlevel.I32))
                f.store(1, lowered, 0)
        else:
            with f.when(f.load(lowlevel.I64, lowered, 0) == 1):
                f.call_address(setter, lowlevel.VOID, f.narrow(count, lowlevel.I32))
                f.store(0, lowered, 0)
        f.ret()


def _step(name, found):
    code = lowlevel.load("blas_threads", _emit)
    args = np.array([found.get, found.set, found.count, found.lowered.__array_interface__["data"][0]], np.int64)
    return Step(code.address(name), args, name=f"blas threads: {name}", keep=(code, found))


def one_thread():
    """The step that lowers to one thread, or None where there is nothing to lower."""
    found = control()
    return None if found is None else _step("lower", found)


def with_threads():
    """The step that restores the count."""
    return _step("restore", control())


def product_flops(a_size, b_size, y_size, batch):
    """Operations of one matrix product of a batch, from the operands' sizes."""
    inner = (a_size * b_size / max(1, y_size * batch)) ** .5
    return 2 * y_size / max(1, batch) * inner
