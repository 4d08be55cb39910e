"""``math.fsum`` and the module ``statistics`` on numbers that may be others on every call, as the observer follows them."""
import math
import sys

from hybridnn.trace.calculations import calculate
from hybridnn.trace.computed import is_number
from hybridnn.trace.refs import Doubt, constant, is_numeric, mirror

__all__ = ["fsum", "is_statistic", "statistic"]

NAMES = frozenset(["fmean", "geometric_mean", "harmonic_mean", "mean", "median", "median_high", "median_low", "pstdev", "pvariance", "stdev", "variance"])


def is_statistic(fn):
    """Whether a function is one of the module ``statistics`` (which nobody has to import) that gives a number of some."""
    return fn.__module__ == "statistics" and fn.__name__ in NAMES and vars(sys.modules["statistics"]).get(fn.__name__) is fn


def statistic(observer, fn, args, kw):
    """The Ref of what such a function gives."""
    if len(args) != 1 or kw:
        raise Doubt(f"statistics.{fn.__name__}() with unusual arguments")
    observer.guard("function", fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__)
    return _of_numbers(observer, fn, args[0])


def fsum(observer, args, kw):
    """``math.fsum``."""
    if len(args) != 1 or kw:
        raise Doubt("an exception is raised")
    return _of_numbers(observer, math.fsum, args[0])


def _of_numbers(observer, fn, given):
    if observer.recent_of_whole(given) is not None:
        return calculate(observer, fn, [given], {})
    items = observer._items(given)
    if not items or not all(is_number(r) or is_numeric(r) or type(r.value) in (int, float) for r in items):
        raise Doubt(f"{fn.__name__}() of what are no numbers")
    if not any(is_number(r) or is_numeric(r) for r in items):
        return constant(fn([observer.plain(r) for r in items]))
    return calculate(observer, fn, [mirror(list, items)], {})
