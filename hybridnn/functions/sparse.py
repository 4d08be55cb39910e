"""Sparse matrices in coordinate form, and their products with dense ones."""
import numpy as np

from hybridnn.backend import beside, get_array_module, to_cpu
from hybridnn.core.application import apply
from hybridnn.core.shapes import transpose
from hybridnn.core.variable import Variable, as_array
from hybridnn.errors import InvalidType
from hybridnn.ops.axes import of_shape
from hybridnn.ops.expect import expect_arrays
from hybridnn.ops.sparse import coo_matmul

__all__ = ["CooMatrix", "sparse_matmul", "to_coo"]


class CooMatrix:
    """A sparse matrix, or a batch of them, in coordinate form.

    Args:
        data: entries (nnz,) or (batch, nnz).
        row, col: their places, ints of the same shape; -1 stands for an entry that is not there.
        shape: rows and columns.
        order: ``"C"`` (rows ascend), ``"F"`` (columns ascend), ``"other"``, or None to find out.
        requires_grad: whether gradients reach ``data``.
    """

    def __init__(self, data, row, col, shape, order=None, requires_grad=False):
        if data.ndim not in (1, 2):
            raise InvalidType("CooMatrix", "data, row and col of one shape (nnz,) or (batch, nnz)", str(data.shape))
        _check_places(data, row, col)
        if len(shape) != 2 or min(shape) <= 0:
            raise InvalidType("CooMatrix", "a shape of two positive numbers", str(shape))
        if order not in ("C", "F", "other", None):
            raise InvalidType("CooMatrix", "order to be 'C', 'F', 'other' or None", repr(order))
        self.data, self.row, self.col, self.shape = Variable(data, requires_grad=requires_grad), row, col, tuple(shape)
        self.order = _order(row, col) if order is None else order

    def to_dense(self):
        """The dense array (batch first, if there is one)."""
        xp = get_array_module(self.row)
        y = xp.zeros((*self.row.shape[:-1], *self.shape), self.data.dtype)
        lead = (xp.arange(len(self.row))[:, None],) if self.row.ndim == 2 else ()
        xp.add.at(y, (*lead, xp.maximum(self.row, 0), xp.maximum(self.col, 0)), xp.where(self.row >= 0, self.data.array, 0))
        return y


def _check_places(first, *others):
    if any(x.shape != first.shape for x in others):
        raise InvalidType("CooMatrix", "data, row and col of one shape (nnz,) or (batch, nnz)",
                          ", ".join(str(x.shape) for x in (first, *others)))


def _order(row, col):
    """``"C"`` if the places ascend by row, ``"F"`` if by column, else ``"other"``.

    Args:
        row, col: ints (nnz,) or (batch, nnz); -1, in both, stands for an entry that is not there.
    """
    _check_places(row, col)
    return "C" if _ascends(row, col) else "F" if _ascends(col, row) else "other"


def _ascends(first, second):
    """Whether the places that are there ascend by ``first``, then ``second``, in every matrix."""
    for a, b in zip(np.atleast_2d(to_cpu(first)), np.atleast_2d(to_cpu(second))):
        if ((a < 0) != (b < 0)).any():
            raise InvalidType("CooMatrix", "row and col to be -1 at the same places", f"row={a}, col={b}")
        places = list(zip(a[a >= 0].tolist(), b[a >= 0].tolist()))
        if places != sorted(places):
            return False
    return True


def to_coo(x, ldnz=None, requires_grad=False):
    """The ``CooMatrix`` of a dense matrix (m, n) or batch (b, m, n), with room for at least ``ldnz`` entries each."""
    expect_arrays("to_coo", x=x)
    if x.ndim not in (2, 3):
        raise InvalidType("to_coo", "an array with 2 or 3 axes", f"x.shape={x.shape}")
    given, x = x, to_cpu(as_array(x))
    matrices = x if x.ndim == 3 else x[None]
    places = [np.nonzero(m) for m in matrices]
    size = max([ldnz or 0, *(len(r) for r, _ in places)])
    data = np.zeros((len(matrices), size), x.dtype)
    row, col = np.full((2, len(matrices), size), -1, np.int32)
    for i, (r, c) in enumerate(places):
        data[i, :len(r)], row[i, :len(r)], col[i, :len(r)] = matrices[i][r, c], r, c
    pick = slice(None) if x.ndim == 3 else 0
    return CooMatrix(*(beside(a[pick], given) for a in (data, row, col)), x.shape[-2:], requires_grad=requires_grad)


def sparse_matmul(a, b, transa=False, transb=False):
    """Matrix product in which one operand is sparse.

    Args:
        a, b: one a ``CooMatrix`` (or any object with its ``data``, ``row``, ``col`` and ``shape``), the other a Variable or array
            (m, n) or (batch, m, n).
        transa, transb: transpose that operand's matrices first.
    """
    if _is_sparse(a) == _is_sparse(b):
        raise InvalidType("sparse_matmul", "one sparse and one dense operand", f"{type(a).__name__} and {type(b).__name__}")
    if _is_sparse(a):
        return _product(a, of_shape(b), transa, transb)
    return _swapped(_product(b, of_shape(a), not transb, not transa))


def _is_sparse(x):
    return hasattr(x, "row") and hasattr(x, "col")


def _swapped(x):
    return transpose.by(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _product(a, b, transa, transb):
    row, col, (rows, inner) = (a.col, a.row, a.shape[::-1]) if transa else (a.row, a.col, a.shape)
    if b.ndim != row.ndim + 1 or b.shape[-1 if transb else -2] != inner or b.shape[:-2] != row.shape[:-1]:
        raise InvalidType("sparse_matmul", f"a dense operand for a sparse one of shape {(*row.shape[:-1], *a.shape)}",
                          f"shape {b.shape}, transa={transa}, transb={transb}")
    return apply(coo_matmul, (a.data, _swapped(b) if transb else b, as_array(row), as_array(col)), {"rows": rows})
