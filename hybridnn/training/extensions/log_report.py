"""``LogReport`` collects means of what is reported, in memory and in a file."""
import json
import os

from hybridnn.reporter import DictSummary
from hybridnn.serializer import Serializer
from hybridnn.training.extension import Extension
from hybridnn.training.triggers import get_trigger
from hybridnn.utils import tempdir

__all__ = ["LogReport"]


class LogReport(Extension):
    """Means of reported values over intervals, as a list of dicts that is also written to a JSON file.

    Args:
        keys: names to keep; None: all.
        trigger: the interval.
        postprocess: called with each dict, which it may change.
        filename: file in the trainer's folder, with ``{epoch}`` and so on filled in; None: no file. ``log_name`` is an old name of it.
    """

    def __init__(self, keys=None, trigger=(1, "epoch"), postprocess=None, filename="log", *, log_name="log"):
        self._keys, self._trigger, self._postprocess = keys, get_trigger(trigger), postprocess
        self._log_name = log_name if filename == "log" else filename
        self._log = []
        self._init_summary()

    @property
    def log(self):
        """The dicts so far."""
        return self._log

    def __call__(self, trainer):
        seen = trainer.observation
        self._summary.add(seen if self._keys is None else {k: seen[k] for k in self._keys if k in seen})
        if trainer.is_before_training or self._trigger(trainer):
            self._close_interval(trainer)

    def _close_interval(self, trainer):
        row = {name: float(value) for name, value in self._summary.compute_mean().items()}
        row |= {"epoch": trainer.updater.epoch, "iteration": trainer.updater.iteration, "elapsed_time": trainer.elapsed_time}
        if self._postprocess is not None:
            self._postprocess(row)
        self._log.append(row)
        self._init_summary()
        if self._log_name is not None:
            self._write(trainer.out, self._log_name.format(**row))

    def _init_summary(self):
        """Begin another interval. The name is Chainer's, as classes derived from this one call it, and read ``_log_name``."""
        self._summary = DictSummary()

    def _write(self, folder, name):
        """Replace the file in one step, so that a reader never sees half of it."""
        with tempdir(dir=folder) as temporary:
            path = os.path.join(temporary, "log.json")
            with open(path, "w") as f:
                json.dump(self._log, f, indent=4)
            os.replace(path, os.path.join(folder, name))

    def serialize(self, serializer):
        if hasattr(self._trigger, "serialize"):
            self._trigger.serialize(serializer["_trigger"])
        self._summary.serialize(serializer["_summary"])
        if isinstance(serializer, Serializer):
            serializer("_log", json.dumps(self._log))
        else:
            self._log = json.loads(str(serializer("_log", "")))
