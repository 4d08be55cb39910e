"""``hnn.profile``."""
from hybridnn.trace.api import BoundTraced, Traced, trace

__all__ = ["TOLERANCE", "profile"]

TOLERANCE = 1e-3   # relative difference of results above which the report says so


def profile(fn, *args, repeat=100, tolerance=TOLERANCE, **kwargs):
    """Time ``fn(*args, **kwargs)`` eagerly and traced, in turn and from the same state, and compare the results.

    Afterwards everything that ``fn`` can reach is as it was before: arrays, gradients, optimizer states, attributes, lists and
    dicts, random streams. What it did outside is done for good (prints, files, iterators that moved on).

    Args:
        fn: a function, traced or not. One that is not is traced for the occasion.
        args, kwargs: its arguments.
        repeat: calls of each kind that are timed; the report shows medians.
        tolerance: relative difference of results (returned values, parameters, gradients, other arrays) that is no difference.

    Returns:
        a ``Report``: ``print(report)``, ``report.rows``, ``report.save("x.html")``, ``report.to_chrome_trace("x.json")``.
    """
    if isinstance(repeat, bool) or not isinstance(repeat, int) or repeat < 1:
        raise ValueError(f"profile: repeat must be a positive int, got {repeat!r}")
    if not callable(fn):
        raise TypeError(f"profile: expected a function, got {type(fn).__name__}\n  hint: profile(step, x), not profile(step(x))")
    from hybridnn.profile.measure import profile_call  # it takes a thirtieth of the time of ``import hybridnn``
    traced = fn if isinstance(fn, Traced | BoundTraced) else trace(fn)
    return profile_call(traced._memory, traced, traced.__wrapped__, args, kwargs, repeat, tolerance)
