"""What losses over sequences need to know of labels."""
import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast, greater, less, less_equal, not_equal, where
from hybridnn.core.indexing import get_item
from hybridnn.core.op import operation
from hybridnn.core.shapes import reshape
from hybridnn.ops.array import concat
from hybridnn.ops.math import maximum

__all__ = ["ctc_paths"]


def _samples(rng, dtype):
    yield (np.array([[1, 1, 2], [2, 0, 0]]), np.array([5, 4]), np.array([3, 1])), {"blank": 0, "steps": 5}
    yield (np.array([[1, 3]], "i"), 4, 2), {"blank": 2, "steps": 4}


def _slice(x, start, stop):
    return get_item(x, index=(("slice", None, None, None), ("slice", start, stop, None)))


def _parts(t, input_length, label_length, *, blank, steps):
    """Labels and blanks are joined; the rest is comparisons with constants."""
    batch, n = t.shape
    width, row, place = 2 * n + 1, np.arange(batch), np.arange(-2, 2 * n + 1)
    input_length, label_length = (k if getattr(k, "shape", ()) else apply(where, (np.ones(batch, bool), k, 0)) for k in (input_length, label_length))
    last = 2 * cast(label_length, dtype="int64")
    labels = where(less(np.arange(n), reshape(label_length, shape=(batch, 1))), t, blank)
    pairs = concat(reshape(labels, shape=(batch, n, 1)), np.full((batch, n, 1), blank, t.dtype), axis=2)
    symbols = concat(np.full((batch, 3), blank, t.dtype), reshape(pairs, shape=(batch, 2 * n)), axis=1)
    inside = where(place >= 0, less_equal(place, reshape(last, shape=(batch, 1))), False)
    skips = where(place[2:] >= 2, not_equal(_slice(symbols, 2, width + 2), _slice(symbols, 0, width)), False)
    running = less(np.arange(steps)[:, None, None], reshape(input_length, shape=(batch, 1)))
    return (row[:, None], symbols, where(place < 2, inside, False), _slice(inside, 2, width + 2), skips, running, row, last + 2, maximum(last + 1, 2),
            greater(label_length, 0))


@operation(samples=_samples, multi=True, decompose=_parts)
def ctc_paths(xp, t, input_length, label_length, *, blank, steps):
    """Paths through labels t (batch, n) of connectionist temporal classification: blank, t_1, blank, ..., t_n, blank, two more in front.

    Lengths are (batch,) or a number. Results, with w = 2 n + 1: the rows of the batch (batch, 1); the paths' symbols (batch, w + 2); where paths
    may begin (batch, w + 2), lie (batch, w) and skip a position (batch, w); which inputs are not over (steps, batch, 1); and for each path its row,
    its last position and the one before, and whether it has labels, all (batch,).
    """
    batch, n = t.shape
    input_length, label_length = (xp.broadcast_to(xp.asarray(k), (batch,)) for k in (input_length, label_length))
    symbols = xp.full((batch, 2 * n + 3), blank, t.dtype)
    symbols[:, 3::2] = xp.where(xp.arange(n) < label_length[:, None], t, t.dtype.type(blank))
    place, row, last = xp.arange(-2, 2 * n + 1), xp.arange(batch), 2 * label_length.astype("int64")
    inside = (place >= 0) & (place <= last[:, None])
    skips = symbols[:, 2:] != symbols[:, :-2]
    skips[:, :2] = False
    running = (xp.arange(steps)[:, None] < input_length)[:, :, None]
    return row[:, None], symbols, inside & (place < 2), inside[:, 2:].copy(), skips, running, row, last + 2, xp.maximum(last + 1, 2), label_length > 0
