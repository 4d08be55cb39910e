"""Lowering of linear algebra: LAPACK's routines, and diagonals as views."""
import numpy as np

from hybridnn.jit.lapack import REALS, find, lapack_step, scratch_bytes
from hybridnn.jit.moves import fill_step
from hybridnn.jit.places import viewed

__all__ = ["LINEAR"]


def _lapack(low, node):
    x, name = node.inputs[0], node.op.name
    spec = low.specs[x]
    if find() is None or spec.dtype not in REALS or not spec.size or low.specs[node.outputs[0]].dtype != spec.dtype:
        return False
    place, y = low.dense(x), low.new_value(node.outputs[0])
    work = low.fresh((scratch_bytes(spec.shape[-1]),), np.dtype("u1"))
    low.step("lapack", name, [place], [y], lambda at: lapack_step(name, at(place), at(y), at(work), spec.dtype), node, scratch=[work])
    return True


class _Diagonals:
    """The view that the operation ``diagonal`` copies."""

    @staticmethod
    def run(arrays, attrs):
        return arrays[0].diagonal(**attrs)


def _diagonal(low, node):
    if not low.specs[node.outputs[0]].size:
        return False
    low.values[node.outputs[0]] = viewed(low.values[node.inputs[0]], _Diagonals, dict(node.attrs))
    return True


def _put_diagonal(low, node):
    """Zeros, and a copy into their diagonals."""
    attrs, g, y = dict(node.attrs), node.inputs[0], node.outputs[0]
    if not low.specs[g].size:
        return False
    shape = attrs.pop("shape")
    place = low.fresh(shape, low.specs[y].dtype)
    diagonal = viewed(place, _Diagonals, attrs)
    if diagonal is None or diagonal.shape != low.specs[g].shape or low.specs[g].dtype != place.dtype:
        return False
    low.values[y] = place
    low.step("fill", "zeros", [], [place], lambda at: fill_step(at(place), 0, place.dtype), node)
    low.must_copy(low.values[g], diagonal)
    return True


LINEAR = {"inv": _lapack, "det": _lapack, "cholesky": _lapack, "diagonal": _diagonal, "put_diagonal": _put_diagonal}
