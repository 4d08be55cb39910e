"""``PlotReport``: curves of reported values as an image file, drawn by Matplotlib where that is installed."""
import importlib.util
import json
import os
import warnings

from hybridnn.reporter import DictSummary
from hybridnn.serializer import Serializer
from hybridnn.training.extension import Extension
from hybridnn.training.triggers import get_trigger

__all__ = ["PlotReport", "new_figure", "plots_are_available"]

_available = importlib.util.find_spec("matplotlib") is not None      # for who asks without wanting the warning
_MISSING = "nothing is plotted, since Matplotlib is not installed\n  hint: pip install matplotlib"


def new_figure(**kwargs):
    """A figure that is drawn without a display, or None (with a warning) if Matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        warnings.warn(_MISSING, stacklevel=3)
        return None
    figure = Figure(**kwargs)
    FigureCanvasAgg(figure)
    return figure


def plots_are_available():
    """Whether Matplotlib is installed; warns if it is not."""
    if not _available:
        warnings.warn(_MISSING, stacklevel=3)
    return _available


class PlotReport(Extension):
    """Plots means of reported values over intervals.

    Args:
        y_keys: name or names of the values.
        x_key: ``"iteration"``, ``"epoch"`` or another reported value.
        trigger: the interval.
        postprocess: called with figure, axes and summary before the file is written.
        filename: image file in the trainer's folder; ``file_name`` is an old name of it.
        marker, grid: of the plot.
    """

    def __init__(self, y_keys, x_key="iteration", trigger=(1, "epoch"), postprocess=None, filename=None, marker="x",
                 grid=True, *, file_name="plot.png"):
        self._y_keys, self._x_key = (y_keys,) if isinstance(y_keys, str) else tuple(y_keys), x_key
        self._trigger, self._postprocess, self._filename = get_trigger(trigger), postprocess, filename or file_name
        self._marker, self._grid = marker, grid
        self._summary, self._points = DictSummary(), {k: [] for k in self._y_keys}

    available = staticmethod(plots_are_available)

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
        figure = new_figure()
        if figure is None:
            return
        axes = figure.add_subplot(111)
        for key, points in self._points.items():
            if points:
                axes.plot(*zip(*points), marker=self._marker, label=key)
        axes.set_xlabel(self._x_key)
        axes.grid(self._grid)
        if not axes.has_data():
            return
        if self._postprocess is not None:
            self._postprocess(figure, axes, self._summary)
        axes.legend()       # last: postprocess may have named or added lines
        figure.savefig(os.path.join(folder, self._filename), bbox_inches="tight")

    def serialize(self, serializer):
        if hasattr(self._trigger, "serialize"):
            self._trigger.serialize(serializer["_trigger"])
        name = f"_plot_{self._filename}"      # Chainer's
        if isinstance(serializer, Serializer):
            serializer(name, json.dumps({k: points for k, points in self._points.items() if points}))
        else:
            saved = json.loads(str(serializer(name, "")))
            self._points = {k: [tuple(p) for p in saved.get(k, ())] for k in self._y_keys}
