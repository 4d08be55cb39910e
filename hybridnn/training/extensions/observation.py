"""Extensions that add to the observation or look at parameters."""
import numpy as np

from hybridnn.backend import get_array_module, is_array, is_finite
from hybridnn.reporter import DictSummary, report
from hybridnn.training.extension import PRIORITY_EDITOR, PRIORITY_WRITER, Extension, make_extension
from hybridnn.training.triggers import get_trigger

__all__ = ["FailOnNonNumber", "MicroAverage", "ParameterStatistics", "observe_lr", "observe_value"]


def observe_value(observation_key, target_func):
    """An extension that adds ``target_func(trainer)`` to the observation under a name."""
    @make_extension(trigger=(1, "epoch"), priority=PRIORITY_WRITER)
    def _observe_value(trainer):
        trainer.observation[observation_key] = target_func(trainer)
    return _observe_value


def observe_lr(optimizer_name="main", observation_key="lr"):
    """An extension that adds an optimizer's ``lr`` to the observation."""
    return observe_value(observation_key, lambda trainer: trainer.updater.get_optimizer(optimizer_name).lr)


class FailOnNonNumber(Extension):
    """Raises ``RuntimeError`` as soon as a parameter is NaN or infinite."""

    def __call__(self, trainer):
        for name, optimizer in trainer.updater.get_all_optimizers().items():
            for path, param in optimizer.target.namedparams(False):
                if not is_finite(param.array):
                    raise RuntimeError(f"the parameter {path} of optimizer {name!r} is not finite "
                                       f"after {trainer.updater.iteration} updates")


class MicroAverage(Extension):
    """Reports the sum of one value over the sum of another, over intervals.

    Args:
        numerator_key, denominator_key: names of reported values.
        result_key: name of the result.
        trigger: the interval.
    """
    priority = PRIORITY_EDITOR

    def __init__(self, numerator_key, denominator_key, result_key, trigger=(1, "epoch")):
        self._keys, self._result_key, self._trigger = (numerator_key, denominator_key), result_key, get_trigger(trigger)
        self._sums = [0, 0]

    def __call__(self, trainer):
        seen = trainer.observation
        if not all(k in seen for k in self._keys):
            return
        self._sums = [s + _number(seen[k]) for s, k in zip(self._sums, self._keys)]
        if self._trigger(trainer):
            report({self._result_key: self._sums[0] / self._sums[1]})
            self._sums = [0, 0]

    def serialize(self, serializer):
        self._sums = [float(serializer(name, float(s))) for name, s in zip(("_numerator", "_denominator"), self._sums)]
        if hasattr(self._trigger, "serialize"):
            self._trigger.serialize(serializer["_trigger"])


def _number(x):
    return x if np.isscalar(x) else getattr(x, "array", x).item()


_STATISTICS = {
    "mean": lambda x: x.mean(), "std": lambda x: x.std(), "min": lambda x: x.min(), "max": lambda x: x.max(),
    "zeros": lambda x: (x == 0).sum(),
    "percentile": lambda x: get_array_module(x).percentile(x, (0.13, 2.28, 15.87, 50, 84.13, 97.72, 99.87))}


class ParameterStatistics(Extension):
    """Reports statistics of parameters and gradients, as ``predictor/l1/W/data/mean`` and so on: means over intervals.

    Args:
        links: link or list of links.
        statistics: dict of functions of a flat array; ``"default"``: mean, std, min, max, zeros, percentile.
        report_params, report_grads: what to look at.
        prefix: put before the names.
        trigger: the interval.
        skip_nan_params: NaN instead of statistics where an array has NaN.
    """
    default_name = "parameter_statistics"
    priority = PRIORITY_WRITER
    report_key_template = "{prefix}{link_name}{param_name}/{attr_name}/{function_name}"
    default_statistics = _STATISTICS

    def __init__(self, links, statistics="default", report_params=True, report_grads=True, prefix=None, trigger=(1, "epoch"),
                 skip_nan_params=False):
        self._links = links if isinstance(links, (list, tuple)) else (links,)
        self._statistics = dict(self.default_statistics if statistics == "default" else statistics or {})
        self._attrs = ["data"] * bool(report_params) + ["grad"] * bool(report_grads)
        self._prefix, self._trigger, self._skip_nan_params = prefix, get_trigger(trigger), skip_nan_params
        self._summary = DictSummary()

    def register_statistics(self, name, function):
        """Add a statistic: a function of a flat array."""
        self._statistics[name] = function

    def __call__(self, trainer):
        found = {}
        for link in self._links:
            for name, param in link.namedparams(False):
                for attr in self._attrs:
                    found |= self._of_array(getattr(link, "name", None), name, attr, getattr(param, attr))
        self._summary.add(found)
        if self._trigger(trainer):
            report(self._summary.compute_mean())
            self._summary = DictSummary()

    def _of_array(self, link_name, param_name, attr, x):
        if x is None:
            return {}
        skip = self._skip_nan_params and bool(get_array_module(x).isnan(x).any())
        found = {}
        for name, function in self._statistics.items():
            key = self.report_key_template.format(prefix=self._prefix + "/" if self._prefix else "", link_name=link_name,
                                                  param_name=param_name, attr_name=attr, function_name=name)
            value = np.nan if skip else function(x.ravel())
            found |= {f"{key}/{i}": v for i, v in enumerate(value)} if is_array(value) and value.size > 1 else {key: value}
        return found
