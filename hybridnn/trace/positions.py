"""Where the streams of a plan's draws stand before it, so that they can go on from there if Python has to run after all."""
import functools
import random

import numpy as np

from hybridnn.jit.draws import go_back, position, put_words, words_of
from hybridnn.trace.arrays import put_stream_back, stream_state

__all__ = ["is_plain", "put_stream_at", "stream_at"]

PLAIN = frozenset(["choice", "exponential", "gumbel", "laplace", "logistic", "permutation", "rand", "randint", "random", "random_sample", "shuffle", "uniform"])
"""Draws that keep no number for the next one, as those of normal numbers do."""


def is_plain(stream, draws):
    """Whether all that changes where a stream stands are the words of its source, and attributes of one of Python's. ``draws``: the functions, or their
    names."""
    return type(stream) is random.Random or (stream is np.random or type(stream) is np.random.RandomState) and all(_name(fn) in PLAIN for fn in draws)


def _name(fn):
    if isinstance(fn, functools.partial):       # an array that is shuffled
        fn = fn.args[0]
    return fn if isinstance(fn, str) else fn.__name__


def stream_at(stream):
    """What ``put_stream_at`` takes; NumPy takes some 15 us to tell all of a stream's state, and Python some 20."""
    if type(stream) is random.Random:
        words = words_of(stream)
        return stream_state(stream) if words is None else (words, vars(stream).copy())
    return position(stream) or stream_state(stream)


def put_stream_at(stream, found):
    """The stream goes on where ``stream_at`` found it."""
    if type(found) is tuple and type(found[0]) is bytes:
        put_words(stream, found[0])
        vars(stream).clear()
        vars(stream).update(found[1])
    elif type(found) is tuple and type(stream) is not random.Random:
        go_back(found)
    else:
        put_stream_back(stream, found)
