"""Values reported from inside a model, by name: ``report({"loss": loss}, self)``; and running means of them."""
import contextlib
import json
import threading
import warnings
from collections import defaultdict

import numpy as np

from hybridnn.backend import get_array_module, there
from hybridnn.config import config, no_backprop_mode
from hybridnn.core import Variable
from hybridnn.core.arithmetic import identity
from hybridnn.serializer import Serializer

__all__ = ["DictSummary", "Reporter", "Summary", "get_current_reporter", "report", "report_scope"]


class _Stack(threading.local):
    reporters = ()


_stack = _Stack()


class Reporter:
    """Collects what is reported inside its ``with`` block, in the dict ``observation``.

    Values of a known observer get its name as a prefix: ``"main/loss"``.
    """

    def __init__(self):
        self._observer_names = {}
        self.observation = {}

    def __enter__(self):
        _stack.reporters = (*_stack.reporters, self)
        return self

    def __exit__(self, *_):
        _stack.reporters = _stack.reporters[:-1]

    @contextlib.contextmanager
    def scope(self, observation):
        """A block whose reports go into the dict ``observation``."""
        before, self.observation = self.observation, observation
        try:
            with self:
                yield
        finally:
            self.observation = before

    def add_observer(self, name, observer):
        """Name an object that reports."""
        self._observer_names[id(observer)] = name

    def add_observers(self, prefix, observers):
        """Name several: pairs of a name and an object, such as ``link.namedlinks()``."""
        for name, observer in observers:
            self.add_observer(prefix + name, observer)

    def report(self, values, observer=None):
        """Take a dict of values; ``KeyError`` if the observer is not known."""
        prefix = ""
        if observer is not None:
            if id(observer) not in self._observer_names:
                raise KeyError(f"a {type(observer).__name__} reports {sorted(values)}, but the Reporter does not know it; "
                               "call add_observer first")
            prefix = self._observer_names[id(observer)] + "/"
        for key, value in values.items():
            self.observation[prefix + key] = value if config.keep_graph_on_report else _without_graph(value)


def _without_graph(value):
    if not isinstance(value, Variable):
        return value
    with no_backprop_mode():
        return identity(value)


def get_current_reporter():
    """The innermost Reporter whose block is open; ``RuntimeError`` if there is none."""
    if not _stack.reporters:
        raise RuntimeError("no Reporter is open in this thread; use `with reporter:`")
    return _stack.reporters[-1]


def report(values, observer=None):
    """Report a dict of values to the current Reporter; nothing happens if there is none.

    Args:
        values: names and scalars (numbers, arrays or Variables; their graph is not kept unless ``config.keep_graph_on_report``).
        observer: the object that reports, usually ``self``.
    """
    if _stack.reporters:
        _stack.reporters[-1].report(values, observer)


@contextlib.contextmanager
def report_scope(observation):
    """A block in which the current Reporter fills the dict ``observation``."""
    current = get_current_reporter()
    before, current.observation = current.observation, observation
    try:
        yield
    finally:
        current.observation = before


_DOUBLE = np.float64(1)


class Summary:
    """Mean and standard deviation of scalars added one by one, with weights; both in double precision."""

    def __init__(self):
        self._x = self._x2 = 0.0
        self._n = 0

    def add(self, value, weight=1):
        """Add a scalar."""
        with there(value):
            value = _DOUBLE * value
            self._x += weight * value
            self._x2 += weight * value * value
            self._n += weight

    def compute_mean(self):
        """Weighted mean."""
        with there(self._x):
            return self._x / self._n

    def make_statistics(self):
        """Mean and standard deviation."""
        with there(self._x):
            mean = self._x / self._n
            variance = self._x2 / self._n - mean * mean
            return mean, get_array_module(variance).sqrt(variance)

    def serialize(self, serializer):
        """Save or load the sums."""
        try:
            self._x = serializer("_x", self._x)
            self._x2 = serializer("_x2", self._x2)
            self._n = serializer("_n", self._n)
        except KeyError:
            warnings.warn("the statistics so far were not saved; they begin anew", stacklevel=2)


class DictSummary:
    """A ``Summary`` for each name, fed by dicts; values that are no scalars are left out."""

    def __init__(self):
        self._summaries = defaultdict(Summary)

    def add(self, d):
        """Add a dict of scalars, or of pairs (scalar, weight)."""
        for name, value in d.items():
            value, weight = value if isinstance(value, tuple) else (value, 1)
            value, weight = getattr(value, "array", value), getattr(weight, "array", weight)
            if not _is_scalar(weight):
                raise ValueError(f"the weight of {name!r} is a scalar; got shape {np.shape(weight)}")
            if _is_scalar(value):
                self._summaries[name].add(value, weight)

    def compute_mean(self):
        """Means by name."""
        return {name: summary.compute_mean() for name, summary in self._summaries.items()}

    def make_statistics(self):
        """Means by name, and standard deviations by name + ``".std"``."""
        statistics = {}
        for name, summary in self._summaries.items():
            statistics[name], statistics[name + ".std"] = summary.make_statistics()
        return statistics

    def serialize(self, serializer):
        """Save or load all summaries."""
        if isinstance(serializer, Serializer):
            names = list(self._summaries)
            serializer("_names", json.dumps(names))
        else:
            self._summaries.clear()
            try:
                names = json.loads(str(serializer("_names", "")))
            except KeyError:
                warnings.warn("the names of the statistics were not saved; they begin anew", stacklevel=2)
                return
        for i, name in enumerate(names):
            self._summaries[name].serialize(serializer["_summaries"][str(i)])


def _is_scalar(x):
    return (np.isscalar(x) and not isinstance(x, (str, bytes))) or getattr(x, "ndim", -1) == 0
