"""Curves as image files, drawn by Matplotlib where that is installed."""
import json
import os
import warnings

import numpy as np

from hybridnn.backend import to_cpu
from hybridnn.reporter import DictSummary
from hybridnn.serializer import Serializer
from hybridnn.training.extension import Extension
from hybridnn.training.triggers import get_trigger

__all__ = ["PlotReport", "VariableStatisticsPlot"]


def _figure(**kwargs):
    """A figure that is drawn without a display, or None (with a warning) if Matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn("nothing is plotted, since Matplotlib is not installed\n  hint: pip install matplotlib", stacklevel=3)
        return None
    figure = Figure(**kwargs)
    FigureCanvasAgg(figure)
    return figure


def _is_available():
    import importlib.util
    return importlib.util.find_spec("matplotlib") is not None


class PlotReport(Extension):
    """Plots means of reported values over intervals.

    Args:
        y_keys: name or names of the values.
        x_key: ``"iteration"``, ``"epoch"`` or another reported value.
        trigger: the interval.
        postprocess: called with figure, axes and summary before the file is written.
        filename: image file in the trainer's folder.
        marker, grid: of the plot.
    """

    def __init__(self, y_keys, x_key="iteration", trigger=(1, "epoch"), postprocess=None, filename="plot.png", marker="x",
                 grid=True):
        self._y_keys, self._x_key = (y_keys,) if isinstance(y_keys, str) else tuple(y_keys), x_key
        self._trigger, self._postprocess, self._filename = get_trigger(trigger), postprocess, filename
        self._marker, self._grid = marker, grid
        self._summary, self._points = DictSummary(), {k: [] for k in self._y_keys}

    available = staticmethod(_is_available)

    def __call__(self, trainer):
        seen = trainer.observation
        keys = (*self._y_keys, *(() if self._x_key in ("epoch", "iteration") else (self._x_key,)))
        self._summary.add({k: seen[k] for k in keys if k in seen})
        if trainer.is_before_training or self._trigger(trainer):
            self._collect(trainer)
            self._draw(trainer.out)

    def _collect(self, trainer):
        means = {k: float(v) for k, v in self._summary.compute_mean().items()}
        means |= {"epoch": trainer.updater.epoch, "iteration": trainer.updater.iteration}
        self._summary = DictSummary()
        for key in self._y_keys:
            if key in means and self._x_key in means:
                self._points[key].append((means[self._x_key], means[key]))

    def _draw(self, folder):
        figure = _figure()
        if figure is None:
            return
        axes = figure.add_subplot(111)
        for key, points in self._points.items():
            if points:
                axes.plot(*zip(*points), marker=self._marker, label=key)
        axes.set_xlabel(self._x_key)
        axes.grid(self._grid)
        if axes.has_data():
            axes.legend()
        if self._postprocess is not None:
            self._postprocess(figure, axes, self._summary)
        figure.savefig(os.path.join(folder, self._filename), bbox_inches="tight")

    def serialize(self, serializer):
        if hasattr(self._trigger, "serialize"):
            self._trigger.serialize(serializer["_trigger"])
        if isinstance(serializer, Serializer):
            serializer("_points", json.dumps(self._points))
        else:
            self._points = {k: [tuple(p) for p in v] for k, v in json.loads(str(serializer("_points", ""))).items()}


class VariableStatisticsPlot(Extension):
    """Plots mean, standard deviation and percentiles of Variables and their gradients over time.

    Args:
        targets: Variable, link, or list of them.
        max_sample_size: points of time that are kept, evenly thinned out.
        report_data, report_grad: what to look at.
        plot_mean, plot_std: what to draw.
        percentile_sigmas: percentiles to draw.
        trigger: when to look and draw.
        filename: image file in the trainer's folder.
        figsize, marker, grid: of the plot.
    """

    def __init__(self, targets, max_sample_size=1000, report_data=True, report_grad=True, plot_mean=True, plot_std=True,
                 percentile_sigmas=(0, 0.13, 2.28, 15.87, 50, 84.13, 97.72, 99.87, 100), trigger=(1, "epoch"),
                 filename="statistics.png", figsize=None, marker=None, grid=True):
        self._variables = list(_variables(targets))
        if not self._variables:
            raise ValueError("there is no Variable to watch")
        self._attrs = ["data"] * report_data + ["grad"] * report_grad
        self._plot_mean, self._plot_std = plot_mean, plot_std
        self._percentiles = tuple(np.atleast_1d(percentile_sigmas)) if percentile_sigmas is not None else ()
        self._trigger, self._filename, self._limit = get_trigger(trigger), filename, max_sample_size
        self._figsize, self._marker, self._grid = figsize, marker, grid
        self._samples, self._stride, self._looks = [], 1, 0

    available = staticmethod(_is_available)

    def __call__(self, trainer):
        if not self._trigger(trainer):
            return
        if self._looks % self._stride == 0:
            self._samples.append((trainer.updater.iteration, {a: self._statistics(a) for a in self._attrs}))
        self._looks += 1
        if len(self._samples) > self._limit:
            self._samples, self._stride = self._samples[::2], self._stride * 2
        self._draw(trainer.out)

    def _statistics(self, attr):
        arrays = [getattr(v, attr) for v in self._variables]
        flat = [to_cpu(a).ravel() for a in arrays if a is not None]
        if not flat:
            return None
        x = np.concatenate(flat)
        percentiles = np.percentile(x, self._percentiles).tolist() if self._percentiles else []
        return float(x.mean()), float(x.std()), percentiles

    def _draw(self, folder):
        figure = _figure(figsize=self._figsize)
        if figure is None:
            return
        for i, attr in enumerate(self._attrs):
            axes = figure.add_subplot(1, len(self._attrs), i + 1)
            axes.set_title(attr)
            axes.grid(self._grid)
            points = [(t, s[attr]) for t, s in self._samples if s[attr] is not None]
            if points:
                self._draw_one(axes, *zip(*points))
        figure.savefig(os.path.join(folder, self._filename), bbox_inches="tight")

    def _draw_one(self, axes, times, statistics):
        mean, std = np.array([s[0] for s in statistics]), np.array([s[1] for s in statistics])
        if self._plot_mean:
            axes.plot(times, mean, marker=self._marker, label="mean")
        if self._plot_std:
            axes.fill_between(times, mean - std, mean + std, alpha=0.3, label="std")
        for k in range(len(self._percentiles)):
            axes.plot(times, [s[2][k] for s in statistics], linewidth=0.5, color="gray")
        if self._plot_mean or self._plot_std:
            axes.legend()


def _variables(targets):
    for target in targets if isinstance(targets, (list, tuple)) else [targets]:
        yield from target.params() if hasattr(target, "params") else [target]
