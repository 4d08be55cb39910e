"""Where the streams of a plan's draws stand before it, so that they can go on from there if Python has to run after all."""
import random

import numpy as np

from hybridnn.jit.draws import go_back, position, put_words, words_of
from hybridnn.trace.streams import put_stream_back, stream_state

__all__ = ["put_stream_at", "stream_at"]


def stream_at(stream):
    """What ``put_stream_at`` takes; NumPy takes some 15 to 60 us to tell all of a stream's state, and Python some 20."""
    if type(stream) is random.Random:
        words = words_of(stream)
        return stream_state(stream) if words is None else (words, vars(stream).copy())
    plain = stream is np.random or type(stream) is np.random.RandomState
    return plain and position(stream) or stream_state(stream)


def put_stream_at(stream, found):
    """The stream goes on where ``stream_at`` found it."""
    if type(found) is tuple and type(found[0]) is bytes:
        put_words(stream, found[0])
        vars(stream).clear()
        vars(stream).update(found[1])
    elif type(found) is tuple and (stream is np.random or type(stream) is np.random.RandomState):
        go_back(found)
    else:
        put_stream_back(stream, found)
