"""``static_graph``: Chainer's name for a method that is traced."""
from hybridnn.trace.api import trace

__all__ = ["ScheduleManager", "static_graph"]


class ScheduleManager:
    """What a static chain has as ``schedule_manager``. There are no schedules to manage: ``hybridnn.trace`` looks after itself."""

    def end_forward(self):
        """Has no effect: several forward passes may come before a backward pass."""


def static_graph(fn=None, *, force_test_define_by_run=False, minimize_cache_size=False, verbosity_level=0, enable_double_backprop=False):
    """``hybridnn.trace`` on a method of a chain.

    Unlike Chainer's, the graph need not be static, arguments may be anything, and gradients of gradients work.

    Args:
        fn: the method; without it, the result is a decorator.
        force_test_define_by_run, minimize_cache_size, verbosity_level, enable_double_backprop: have no effect.
    """
    return static_graph if fn is None else _Static(trace(fn))


class _Static:
    """A traced method until its class is made; then the class holds the traced method itself, and a ``schedule_manager``."""

    def __init__(self, traced):
        self.__wrapped__ = traced

    def __set_name__(self, owner, name):
        setattr(owner, name, self.__wrapped__)
        owner.schedule_manager = ScheduleManager()

    def __get__(self, instance, owner=None):
        return self.__wrapped__.__get__(instance, owner)

    def __call__(self, *args, **kwargs):
        return self.__wrapped__(*args, **kwargs)
