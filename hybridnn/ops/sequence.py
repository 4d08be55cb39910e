"""What losses over sequences need to know of labels."""
import numpy as np

from hybridnn.core.op import operation

__all__ = ["ctc_paths"]


def _samples(rng, dtype):
    yield (np.array([[1, 1, 2], [2, 0, 0]]), np.array([5, 4]), np.array([3, 1])), {"blank": 0, "steps": 5}
    yield (np.array([[1, 3]], "i"), 4, 2), {"blank": 2, "steps": 4}


@operation(samples=_samples, multi=True)
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
