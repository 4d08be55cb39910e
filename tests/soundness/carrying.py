"""What the tests of state that a function carries from call to call share."""
from types import SimpleNamespace

from worlds import arr

import hybridnn as hnn
import hybridnn.functions as F

__all__ = ["carrying"]


def carrying(wrap, body, **places):
    """``body(box, x)`` in a traced function, beside an operation on a parameter: the box with these places, the parameter, the function, and one that puts
    something else into places and calls it."""
    box, W = SimpleNamespace(**places), hnn.Parameter(arr(1, 3))

    @wrap
    def f(x):
        return body(box, x), F.sum(F.exp(W * x))

    def put(**given):
        box.__dict__.update(given)
        return f(arr(1, 3))
    return box, W, f, put
