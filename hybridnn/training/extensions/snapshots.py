"""Saving the state of training, and going on from there."""
import os

from hybridnn.serializers import DictionarySerializer, load_npz, save_npz
from hybridnn.training.extension import Extension
from hybridnn.training.extensions.writers import SimpleWriter

__all__ = ["Snapshot", "snapshot", "snapshot_object"]


def snapshot(savefun=None, filename="snapshot_iter_{.updater.iteration}", *, target=None, condition=None, writer=None,
             snapshot_on_error=False, n_retains=-1, autoload=False):
    """An extension that saves the trainer with all its parts, so that ``load_npz(file, trainer)`` goes on where it was.

    Args:
        savefun: ``savefun(file, values)`` writes a dict of arrays; None: ``save_npz``.
        filename: in the trainer's folder; a format string for the trainer, or a function of it.
        target: what to save; None: the trainer.
        condition: function without arguments that says whether to save.
        writer: a writer (``training.extensions.writers``) instead of ``savefun``.
        snapshot_on_error: also save when training is left by an exception.
        n_retains: how many files to keep; -1: all.
        autoload: before training, load the latest file, if there is one.
    """
    if savefun is not None and writer is not None:
        raise TypeError("savefun and writer exclude each other")
    writer = writer or SimpleWriter(savefun or save_npz)
    return Snapshot(target, condition, writer, filename, snapshot_on_error, n_retains, autoload)


def snapshot_object(target, filename, savefun=None, **kwargs):
    """Like ``snapshot`` for one object, such as the model."""
    return snapshot(savefun, filename, target=target, **kwargs)


class Snapshot(Extension):
    """What ``snapshot`` returns."""
    trigger = (1, "epoch")
    default_name = "snapshot"
    priority = -100

    def __init__(self, target=None, condition=None, writer=None, filename="snapshot_iter_{.updater.iteration}",
                 snapshot_on_error=False, n_retains=-1, autoload=False):
        self._target, self.condition, self.writer = target, condition or (lambda: True), writer or SimpleWriter()
        self.filename, self._on_error, self.n_retains, self.autoload = filename, snapshot_on_error, n_retains, autoload

    def initialize(self, trainer):
        files = _files(trainer.out, self.filename) if self.autoload else []
        if files:
            load_npz(os.path.join(trainer.out, files[-1]), trainer if self._target is None else self._target)

    def on_error(self, trainer, exc, tb):
        if self._on_error:
            self._save(trainer)

    def __call__(self, trainer):
        if self.condition():
            self._save(trainer)

    def _save(self, trainer):
        serializer = DictionarySerializer()
        serializer.save(trainer if self._target is None else self._target)
        name = self.filename(trainer) if callable(self.filename) else self.filename.format(trainer)
        self.writer(name, trainer.out, serializer.target)
        if self.n_retains > 0 and isinstance(self.filename, str):
            self.writer.when_done(lambda: _remove_old(trainer.out, self.filename, self.n_retains))

    def finalize(self):
        self.writer.finalize()


def _files(folder, pattern):
    """Files that the format string may have named, oldest first."""
    if callable(pattern) or not os.path.isdir(folder):
        return []
    prefix, suffix = pattern.split("{")[0], pattern.split("}")[-1]
    found = [n for n in os.listdir(folder) if n.startswith(prefix) and n.endswith(suffix)]
    return sorted(found, key=lambda n: (os.stat(os.path.join(folder, n)).st_mtime_ns, n))


def _remove_old(folder, pattern, keep):
    for name in _files(folder, pattern)[:-keep]:
        os.remove(os.path.join(folder, name))
