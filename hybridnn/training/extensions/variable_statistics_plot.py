"""``VariableStatisticsPlot``: statistics of Variables over time as an image file, drawn by Matplotlib where that is installed."""
import os

import numpy as np

from hybridnn.backend import get_array_module, to_cpu
from hybridnn.core import Variable
from hybridnn.link import Link
from hybridnn.training.extension import Extension
from hybridnn.training.extensions.plot_report import _available, new_figure, plots_are_available  # noqa: F401  (Chainer has the first here too)
from hybridnn.training.triggers import get_trigger

__all__ = ["Reservoir", "Statistician", "VariableStatisticsPlot"]


class Reservoir:
    """A sample of bounded size of arrays that come one by one, each of them as likely to be in it (Vitter 1985).

    It draws from a stream of its own, so that plots do not change what a program draws.

    Args:
        size: how many arrays are kept.
        data_shape, dtype: of an array.
    """

    def __init__(self, size, data_shape, dtype=np.float32):
        self.size, self.counter = size, 0
        self.data, self.idxs = np.zeros((size, *data_shape), dtype), np.zeros(size, np.int32)
        self._random = np.random.RandomState(0)

    def add(self, x, idx=None):
        """Offer an array, whose number is ``idx`` or that of the call."""
        place = self.counter if self.counter < self.size else self._random.randint(self.counter + 1)
        if place < self.size:
            self.data[place], self.idxs[place] = x, self.counter if idx is None else idx
        self.counter += 1

    def get_data(self):
        """Numbers and arrays, in the order of the numbers."""
        order = np.argsort(self.idxs[:self.counter], kind="stable")
        return self.idxs[order], self.data[order]


class Statistician:
    """Mean, standard deviation and percentiles of arrays, as a dict.

    Args:
        collect_mean, collect_std: whether to.
        percentile_sigmas: which percentiles; empty: none.
    """

    def __init__(self, collect_mean, collect_std, percentile_sigmas):
        self.collect_mean, self.collect_std, self.percentile_sigmas = collect_mean, collect_std, percentile_sigmas

    def __call__(self, x, axis=0, dtype=None, xp=None):
        """Statistics over ``axis`` (None: all axes)."""
        axes = tuple(range(x.ndim)) if axis is None else axis
        found = {}
        if self.collect_mean:
            found["mean"] = x.mean(axis=axes)
        if self.collect_std:
            found["std"] = x.std(axis=axes)
        if self.percentile_sigmas:
            found["percentile"] = get_array_module(x).percentile(x, self.percentile_sigmas, axis=axes)
        return found


class VariableStatisticsPlot(Extension):
    """Plots mean, standard deviation and percentiles of Variables and their gradients over time.

    Args:
        targets: Variable, link, or list of them.
        max_sample_size: points of time that are kept, drawn at random.
        report_data, report_grad: what to look at.
        plot_mean, plot_std: what to draw.
        percentile_sigmas: percentiles to draw.
        trigger: when to look and draw.
        filename: image file in the trainer's folder; ``file_name`` is an old name of it.
        figsize, marker, grid: of the plot.
    """

    def __init__(self, targets, max_sample_size=1000, report_data=True, report_grad=True, plot_mean=True, plot_std=True,
                 percentile_sigmas=(0, 0.13, 2.28, 15.87, 50, 84.13, 97.72, 99.87, 100), trigger=(1, "epoch"),
                 filename=None, figsize=None, marker=None, grid=True, *, file_name="statistics.png"):
        self._variables = list(_variables(targets))
        if not self._variables:
            raise ValueError("there is no Variable to watch")
        self._plot_mean, self._plot_std = plot_mean, plot_std
        percentiles = () if percentile_sigmas is None else tuple(np.atleast_1d(percentile_sigmas))
        if not (report_data or report_grad) or not (plot_mean or plot_std or percentiles):
            raise ValueError("there is nothing to plot")
        self._statistician = Statistician(True, True, percentiles)
        self._samples = {attr: Reservoir(max_sample_size, (2 + len(percentiles),), np.float64)
                         for attr in ["data"] * bool(report_data) + ["grad"] * bool(report_grad)}
        self._trigger, self._filename = get_trigger(trigger), filename or file_name
        self._figsize, self._marker, self._grid = figsize, marker, grid

    available = staticmethod(plots_are_available)

    def __call__(self, trainer):
        if not self._trigger(trainer):
            return
        for attr, sample in self._samples.items():
            arrays = [to_cpu(a).ravel() for v in self._variables if (a := getattr(v, attr)) is not None]
            if arrays:
                found = self._statistician(np.concatenate(arrays), axis=None)
                sample.add([found["mean"], found["std"], *found.get("percentile", ())], trainer.updater.iteration)
        self._draw(trainer.out)

    def _draw(self, folder):
        figure = new_figure(figsize=self._figsize)
        if figure is None:
            return
        for i, (attr, sample) in enumerate(self._samples.items()):
            axes = figure.add_subplot(1, len(self._samples), i + 1)
            axes.set_title(attr)
            axes.grid(self._grid)
            if sample.counter:
                self._draw_one(axes, *sample.get_data())
        figure.savefig(os.path.join(folder, self._filename), bbox_inches="tight")

    def _draw_one(self, axes, times, statistics):
        mean, std = statistics[:, 0], statistics[:, 1]
        if self._plot_mean:
            axes.plot(times, mean, marker=self._marker, label="mean")
        if self._plot_std:
            axes.fill_between(times, mean - std, mean + std, alpha=0.3, label="std")
        for percentile in statistics[:, 2:].T:
            axes.plot(times, percentile, linewidth=0.5, color="gray")
        if self._plot_mean or self._plot_std:
            axes.legend()


def _variables(target):
    """The Variables of one, of a link, or of lists of such."""
    if isinstance(target, (list, tuple)):
        return [v for inner in target for v in _variables(inner)]
    return target.params() if isinstance(target, Link) else [target] if isinstance(target, Variable) else []
