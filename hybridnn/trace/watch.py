"""Who watches traced functions: profiles and the command line. Nobody does as a rule, and then it costs one look at an empty list.

``on_call`` holds functions of ``(memory, fn, args, kwargs)``, called before a traced function runs; ``on_run`` functions of
``(segment, start, end)``, called after a segment ran, with ``time.perf_counter`` values.
"""
from contextlib import contextmanager
from time import perf_counter

__all__ = ["on_call", "on_run", "timed", "watching"]

on_call = []
on_run = []


@contextmanager
def watching(watchers, function):
    """A block in which ``function`` is among ``on_call`` or ``on_run``."""
    watchers.append(function)
    try:
        yield function
    finally:
        watchers.remove(function)


def timed(segment, arrays):
    """The segment's results; tells the watchers how long they took."""
    start = perf_counter()
    results = segment.executable(arrays)
    end = perf_counter()
    for function in list(on_run):
        function(segment, start, end)
    return results
