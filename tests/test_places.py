"""Where views lie: computed from shapes and strides, compared with NumPy's views."""
import numpy as np
import pytest

from hybridnn.core.op import OPS
from hybridnn.jit.places import ARENA, Place, Root, viewed

INDICES = [(1,), (-2,), (("slice", 1, 3, None),), (("slice", None, None, None), 2), (2, ("slice", 4, 0, -2)), (("slice", -1, None, -1), ("slice", 1, 99, 2)),
           (0, 1), (("slice", None, -1, None), 0, ("slice", None, None, 3)), (0, ("slice", -99, 2, None), -1)]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("index", INDICES)
def test_slices_lie_where_numpys_do(index, order):
    base = np.zeros((4, 5, 6), np.float32)
    a = base.transpose(order)
    y = OPS["get_item"].run([a], {"index": index})
    place = viewed(Place(Root(ARENA, 0, base.nbytes), 64, a.shape, a.strides, a.dtype), OPS["get_item"], {"index": index})
    start = y.__array_interface__["data"][0] - base.__array_interface__["data"][0]
    assert (place.offset - 64, place.shape, place.strides) == (start, y.shape, y.strides)


@pytest.mark.parametrize("index", [(0, 1, 2), (("slice", 2, 2, None),), (Ellipsis, ("slice", 0, 0, None))])
def test_single_elements_and_nothing_are_no_views(index):
    place = Place(Root(ARENA, 0, 480), 0, (4, 5, 6), (120, 24, 4), np.dtype("f4"))
    assert viewed(place, OPS["get_item"], {"index": index}) is None
