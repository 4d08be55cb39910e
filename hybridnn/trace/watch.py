"""Who watches traced functions: the command line. Nobody does as a rule, and then it costs one look at an empty list.

``on_call`` holds functions of ``(memory, traced, fn, args, kwargs)``, called before a traced function runs: what it has learned,
the callable, the plain function, its arguments.
"""
from contextlib import contextmanager

__all__ = ["on_call", "watching"]

on_call = []


@contextmanager
def watching(watchers, function):
    """A block in which ``function`` is among ``watchers``."""
    watchers.append(function)
    try:
        yield function
    finally:
        watchers.remove(function)
