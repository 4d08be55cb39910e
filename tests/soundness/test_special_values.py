"""Infinities, NaN and zeros of either sign: eager code in few passes and what a trace makes of the same operation agree on them."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


def with_signs(x):
    """``x`` and where its zeros are negative."""
    return x, np.signbit(x) & (x == 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("cell, gates", [(np.inf, 1), (-np.inf, 1), (1e30, 1), (-0.0, -0.0), (2, 1e30), (1e25, 1e20), (0.0, -1e-42)])
def test_cells_that_saturate(mode, cell, gates):
    def make(wrap):
        @wrap
        def f(c, x):
            new, h = F.lstm(c, x)
            (F.sum(new * new) * 0.5 + F.sum(h)).backward()
            return new, h

        def call():
            c, x = hnn.Variable(arr(3, 2, seed=1) * np.float32(cell)), hnn.Variable(arr(3, 8) * np.float32(gates))
            y = f(c, x)
            return y, [with_signs(a) for a in (c.grad, x.grad, y[0].array, y[1].array)]
        return [], [call]
    check(make, mode)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("scale", [1.0, np.inf, np.nan])
def test_ignored_labels(mode, scale):
    def make(wrap):
        @wrap
        def f(x, t):
            loss = F.softmax_cross_entropy(x, t) * scale
            loss.backward()
            return loss

        def call(special):
            x = hnn.Variable(arr(4, 3))
            x.array[1, 2] = special
            return f(x, np.array([0, -1, 2, -1], "i")), with_signs(x.grad)
        return [], [lambda: call(1), lambda: call(np.nan), lambda: call(-np.inf)]
    check(make, mode)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rows_without_a_maximum_and_what_is_turned_before_the_next_look(mode):
    """Masked attention twice, in which some rows see nothing: NumPy computes the parts that make NaN again, and the next part takes its results."""
    def make(wrap):
        w = arr(2, 4, 7)

        @wrap
        def f(h, mask):
            for _ in range(2):
                a = F.softmax(F.where(mask, F.matmul(h, h, transa=True), np.full((2, 7, 7), -np.inf, "f")), axis=2)
                a = F.where(np.isnan(a.array), np.zeros((2, 7, 7), "f"), a)
                y = F.reshape(F.transpose(F.matmul(h, a, transb=True), (0, 2, 1)), (14, 4))
                h = F.transpose(F.reshape(F.tanh(y), (2, 7, 4)), (0, 2, 1))
            return F.sum(h * w)

        def call(seed):
            mask = arr(2, 7, 7, seed=seed) > 0
            mask[0, 2] = mask[1, :2] = False
            return f(arr(2, 4, 7, seed=seed), mask)
        return [], [lambda: call(1), lambda: call(2)]
    skipped(check(make, mode, tolerance=10.0), mode)
