"""Where views lie: computed from shapes and strides, compared with NumPy's views."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
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


def test_single_elements_are_copied():
    x = hnn.Variable(np.arange(24, dtype="f").reshape(2, 3, 4))

    @hnn.trace
    def f(x):
        y = F.exp(x.transpose(2, 0, 1) * 0.1)
        return y[1, 0, 2] * y[-1, -1, 0] + y[0][1][1], x[1, 2, 3], y
    with hnn.using_config("trace_compile", "sync"):
        got = [f(x) for _ in range(8)][-1]
    for a, b in zip(got, f.__wrapped__(x)):
        np.testing.assert_allclose(a.array, b.array, rtol=1e-6)
    assert not any(np.may_share_memory(got[1].array, v.array) for v in (x, got[2]))
    assert {s.kind for s in f._memory.plans[0].segments[0].executable.steps} == {"kernel", "copy"}


def test_an_element_is_what_it_was_before_an_update():
    def losses(wrap):
        p = hnn.Parameter(np.array([1, 2], "f"))
        net = hnn.Chain()
        with net.init_scope():
            net.p = p
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def step():
            first = p[0]
            loss = first * p[1] * p[1]
            net.cleargrads()
            loss.backward()
            opt.update()
            return first, loss
        return [[float(v.array) for v in step()] for _ in range(6)]
    np.testing.assert_allclose(losses(hnn.trace), losses(lambda f: f), rtol=1e-5)
