"""Recurrent cells and stacked recurrent networks over sequences of different lengths."""
from hybridnn.core import apply
from hybridnn.core.arithmetic import get_item
from hybridnn.ops.expect import expect, expect_float
from hybridnn.ops.rnn import lstm_cell

__all__ = ["lstm"]


def lstm(c_prev, x):
    """One step of a long short-term memory with forget gates, without peepholes (Hochreiter and Schmidhuber 1997; Gers et al. 2000).

    c = tanh(a) sigmoid(i) + sigmoid(f) c_prev and h = sigmoid(o) tanh(c), where the rows of ``x`` hold a, i, f, o of the first unit, then of the second, ...

    Args:
        c_prev: cell state (n, units, ...).
        x: (m, 4 units, ...) with m <= n; the cells from m on stay as they are (sequences that have ended).

    Returns: c (n, units, ...) and h (m, units, ...).
    """
    expect_float("lstm", c_prev=c_prev, x=x)
    ok = len(c_prev.shape) == len(x.shape) >= 2 and x.shape[0] <= c_prev.shape[0] and x.shape[1] == 4 * c_prev.shape[1]
    expect(ok and x.shape[2:] == c_prev.shape[2:], "lstm", "c_prev (n, units, ...) and x (m, 4 units, ...), m <= n", c_prev=c_prev, x=x)
    m = x.shape[0]
    if m == c_prev.shape[0]:
        c, h, _ = apply(lstm_cell, (c_prev, x))
        return c, h
    c, h, _ = apply(lstm_cell, (get_item.index(c_prev, slice(None, m)), x))
    return _concat((c, get_item.index(c_prev, slice(m, None)))), h
