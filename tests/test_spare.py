"""Output arrays are used again only when nobody can see them."""

import numpy as np
from at_once import at_once

from hybridnn.jit.executable import GENERATIONS, Spare


def test_an_array_that_is_held_is_never_given_again():
    spare = Spare((64, 64), np.dtype("f"))
    held = [spare.take() for _ in range(10)]
    assert len({id(a) for a in held}) == 10


def test_a_view_keeps_it_too():
    spare = Spare((64, 64), np.dtype("f"))
    view = spare.take()[1:]
    others = [spare.take() for _ in range(2 * GENERATIONS)]
    assert not any(np.shares_memory(view, a) for a in others)


def test_one_that_was_dropped_comes_again():
    spare = Spare((64, 64), np.dtype("f"))
    address = spare.take().__array_interface__["data"][0]
    assert spare.take().__array_interface__["data"][0] == address


def test_threads_get_different_ones():
    spare = Spare((64, 64), np.dtype("f"))
    clashes = []

    def work(mark):
        for _ in range(500):
            a = spare.take()
            a[...] = mark
            if not (a == mark).all():
                clashes.append(mark)
    at_once(work, range(4))
    assert clashes == []
