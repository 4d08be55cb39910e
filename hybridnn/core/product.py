"""The matrix product."""
import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.op import operation
from hybridnn.core.shapes import reshape
from hybridnn.errors import InvalidType
from hybridnn.openblas import product

__all__ = ["matmul"]


def _matmul_samples(rng, dtype):
    def draw(*shape):
        return rng.normal(size=shape).astype(dtype)
    for ta in (False, True):
        for tb in (False, True):
            yield (draw(*((3, 2) if ta else (2, 3))), draw(*((4, 3) if tb else (3, 4)))), {"transa": ta, "transb": tb}
    yield (draw(5, 2, 3), draw(3, 4)), {"transa": False, "transb": False}


@operation(kind="matmul", samples=_matmul_samples)
def matmul(xp, a, b, *, transa=False, transb=False):
    """Matrix product of the last two axes, each operand transposed first if asked; leading axes broadcast."""
    a, b = a.swapaxes(-1, -2) if transa else a, b.swapaxes(-1, -2) if transb else b
    return product(a, b) if xp is np else xp.matmul(a, b)


@matmul.vjp_of("a")
def _(g, b, transa, transb):
    return matmul(b, g, transa=transb, transb=True) if transa else matmul(g, b, transa=False, transb=not transb)


@matmul.vjp_of("b")
def _(g, a, transa, transb):
    return matmul(g, a, transa=True, transb=transa) if transb else matmul(a, g, transa=not transa, transb=False)


def _matmul_of(a, b, transa=False, transb=False):
    """NumPy's rules for vectors: a 1-d operand gains an axis that the result loses. A transposed vector is itself."""
    na, nb = len(a.shape), len(b.shape)
    if na == 0 or nb == 0:
        raise InvalidType("matmul", "operands with at least one axis", f"a.shape={a.shape}, b.shape={b.shape}")
    left = reshape.to(a, (1, a.shape[0])) if na == 1 else a
    right = reshape.to(b, (b.shape[0], 1)) if nb == 1 else b
    y = apply(matmul, (left, right), {"transa": transa and na > 1, "transb": transb and nb > 1})
    if na == 1 or nb == 1:
        shape = list(y.shape)
        if nb == 1:
            del shape[-1]
        if na == 1:
            del shape[-2 if nb > 1 else -1]
        y = reshape.to(y, tuple(shape))
    return y


matmul.of = _matmul_of
