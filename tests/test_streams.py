"""What the tests take for positions of the global random streams is what ``get_state`` and ``getstate`` give."""
import random

import numpy as np
import pytest
import streams

DRAWS = {"nothing": lambda: None, "a number": np.random.rand, "the normal number that is kept": np.random.normal,
         "two normal numbers": lambda: np.random.normal(size=2), "integers": lambda: np.random.randint(5), "a permutation": lambda: np.random.permutation(700),
         "Python's number": random.random, "Python's normal number": lambda: random.gauss(0, 1), "a seed": lambda: np.random.seed(3),
         "Python's seed": lambda: random.seed(3)}


def asked():
    """Words as lists: arrays do not compare."""
    return [w.tolist() if isinstance(w, np.ndarray) else w for w in np.random.get_state()], random.getstate()


@pytest.mark.parametrize("way", ["as it is", "by asking"])
@pytest.mark.parametrize("draw", DRAWS)
def test_streams_go_on_from_a_position(draw, way, monkeypatch):
    if way == "by asking":
        monkeypatch.setattr(streams, "at_once", lambda: False)
    random.seed(5)
    np.random.normal(size=3)
    before, found = asked(), streams.position()
    assert streams.position() == found and hash(streams.position()) == hash(found)
    DRAWS[draw]()
    after = asked()
    assert (streams.position() == found) == (after == before) == (draw == "nothing")
    streams.go_to(found)
    assert asked() == before and streams.position() == found
    DRAWS[draw]()
    assert asked() == after


def test_this_interpreter_is_read_at_once():
    assert streams.at_once()
