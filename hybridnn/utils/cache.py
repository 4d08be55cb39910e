"""A property that is computed once, with a graph and without."""
import functools

from hybridnn.config import config

__all__ = ["cached_property"]


class cached_property:
    """A property whose value is kept: one for each value of ``config.enable_backprop``, since a result that was computed
    without a graph cannot serve where a graph is asked for. It cannot be set.
    """

    def __init__(self, func):
        functools.update_wrapper(self, func)
        self.func = func

    def __set_name__(self, owner, name):
        self._name = name

    def __get__(self, obj, cls):
        if obj is None:
            return self
        kept = obj.__dict__.setdefault(self._name, {})
        backprop = config.enable_backprop
        if backprop not in kept:
            kept[backprop] = self.func(obj)
        return kept[backprop]

    def __set__(self, obj, value):
        raise AttributeError(f"attribute {self._name!r} of {type(obj).__name__} cannot be set: it is computed")
