"""The BLAS that NumPy itself is linked to, called natively."""

from __future__ import annotations

import ctypes
import functools
import importlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["COL", "LETTERS", "PLAIN", "ROW", "TRANS", "UPPER", "Blas", "find"]

logger = logging.getLogger("hybridnn.jit")

ROW, COL, PLAIN, TRANS, UPPER = 101, 102, 111, 112, 121  # CBLAS_ORDER, CBLAS_TRANSPOSE, CBLAS_UPLO
LETTERS = {np.dtype(np.float32): "s", np.dtype(np.float64): "d"}
ROUTINES = "gemm", "syrk", "gemv", "dot"


@dataclass(frozen=True)
class Blas:
    """Addresses of cblas functions ("sgemm", ...) and the width of their integers in bits."""

    path: str
    prefix: str
    suffix: str
    bits: int
    functions: dict[str, int]
    keep: Any = None


@functools.cache
def find() -> Blas | None:
    """The cblas in NumPy's own library, or None, which is said once."""
    found = _in_library(_numpy_library())
    if found is None:
        logger.info("NumPy's library has no cblas functions that can be called: matrix products run as np.matmul, outside plans")
    return found


def _numpy_library() -> str:
    return str(importlib.import_module("numpy._core._multiarray_umath").__file__)


def _in_library(path: str) -> Blas | None:
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    for prefix, suffix in (("scipy_cblas_", "64_"), ("cblas_", "64_"), ("scipy_cblas_", ""), ("cblas_", "")):
        names = {t + r: f"{prefix}{t}{r}{suffix}" for t in "sd" for r in ROUTINES}
        if all(hasattr(library, n) for n in names.values()):
            functions = {k: ctypes.cast(getattr(library, n), ctypes.c_void_p).value or 0 for k, n in names.items()}
            found = Blas(path, prefix, suffix, 64 if suffix else 32, functions, library)
            return found if _multiplies(found) else None
    return None


def _multiplies(blas: Blas) -> bool:
    """Tries ``sgemm`` on (2, 3) @ (3, 2): a library with other integers than its name says would fail here."""
    size = ctypes.c_int64 if blas.bits == 64 else ctypes.c_int32
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(6, dtype=np.float32).reshape(3, 2)
    c = np.zeros((2, 2), np.float32)
    kinds = [ctypes.c_int] * 3 + [size] * 3 + [ctypes.c_float, ctypes.c_void_p, size, ctypes.c_void_p, size, ctypes.c_float]
    sgemm = ctypes.CFUNCTYPE(None, *kinds, ctypes.c_void_p, size)(blas.functions["sgemm"])
    sgemm(ROW, PLAIN, PLAIN, 2, 2, 3, 1.0, a.ctypes.data, 3, b.ctypes.data, 2, 0.0, c.ctypes.data, 2)
    return c.tolist() == [[10, 13], [28, 40]]
