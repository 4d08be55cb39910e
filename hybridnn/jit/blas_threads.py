"""Steps that lower OpenBLAS to one thread for a plan's small products and give its threads back for the large ones (see
``hybridnn.openblas``).
"""
import functools

import numpy as np

from hybridnn.jit import lowlevel
from hybridnn.jit.native import Step
from hybridnn.openblas import LARGE, control

__all__ = ["LARGE", "one_thread", "product_flops", "with_threads"]


@functools.cache
def lowered():
    """A word that says whether a plan has lowered the count."""
    return np.zeros(1, np.int64)


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


@functools.cache
def _code():
    return lowlevel.load("blas_threads", _emit, as_written=True)


def _step(name, found):
    code = _code()
    args = np.array([*found.addresses(), found.count, lowered().__array_interface__["data"][0]], np.int64)
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
