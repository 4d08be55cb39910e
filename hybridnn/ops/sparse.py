"""Products of a sparse matrix in coordinate form with a dense one; entries with row or column -1 stand for none."""
import numpy as np

from hybridnn.core.op import operation


def _samples(sparse):
    def samples(rng, dtype):
        row, col = np.array([0, 2, 1, -1]), np.array([1, 0, 1, -1])
        for batch in ((), (2,)):
            r, c = (np.broadcast_to(i, (*batch, 4)).copy() for i in (row, col))
            data, dense = rng.normal(size=(*batch, 4)).astype(dtype), rng.normal(size=(*batch, 2, 3)).astype(dtype)
            g = rng.normal(size=(*batch, 3, 3)).astype(dtype)
            yield ((data, dense, r, c), {"rows": 3}) if sparse else ((g, dense, r, c), {})
    return samples


def _batch_index(xp, row):
    return (xp.arange(len(row))[:, None],) if row.ndim == 2 else ()


@operation(samples=_samples(True))
def coo_matmul(xp, data, dense, row, col, *, rows):
    """((batch,) nnz) entries at (row, col) of a matrix with ``rows`` rows, times ((batch,) k, n): ((batch,) rows, n)."""
    lead = _batch_index(xp, row)
    y = xp.zeros((*row.shape[:-1], rows, dense.shape[-1]), np.result_type(data.dtype, dense.dtype))
    xp.add.at(y, (*lead, xp.maximum(row, 0)), xp.where(row >= 0, data, 0)[..., None] * dense[(*lead, xp.maximum(col, 0))])
    return y


@coo_matmul.vjp_of("data")
def _(g, dense, row, col):
    return coo_dot(g, dense, row, col)


@coo_matmul.vjp_of("dense")
def _(g, data, row, col, shapes):
    return coo_matmul(data, g, col, row, rows=shapes[1][-2])


@operation(samples=_samples(False))
def coo_dot(xp, a, b, row, col):
    """For each entry, the product of row ``row`` of a and row ``col`` of b: ((batch,) nnz); 0 for entries that stand for none."""
    lead = _batch_index(xp, row)
    y = (a[(*lead, xp.maximum(row, 0))] * b[(*lead, xp.maximum(col, 0))]).sum(axis=-1)
    return xp.where(row >= 0, y, y.dtype.type(0))


@coo_dot.vjp_of("a")
def _(g, b, row, col, shapes):
    return coo_matmul(g, b, row, col, rows=shapes[0][-2])


@coo_dot.vjp_of("b")
def _(g, a, row, col, shapes):
    return coo_matmul(g, a, col, row, rows=shapes[1][-2])
