"""Saving the state of training, and going on from there."""
import functools
import os
import warnings

from hybridnn.debug import is_debug
from hybridnn.serializers import load_npz, save_npz
from hybridnn.serializers.npz import serialize
from hybridnn.training.extension import Extension
from hybridnn.training.extensions.snapshot_writers import SimpleWriter

__all__ = ["snapshot", "snapshot_object"]


def snapshot(savefun=None, filename="snapshot_iter_{.updater.iteration}", *, target=None, condition=None, writer=None,
             snapshot_on_error=False, n_retains=-1, autoload=False, num_retain=None):
    """An extension that saves the trainer with all its parts, so that ``load_npz(file, trainer)`` goes on where it was.

    Args:
        savefun: ``savefun(file, values)`` writes a dict of arrays; None: ``save_npz``.
        filename: in the trainer's folder; a format string for the trainer, or a function of it.
        target: what to save; None: the trainer.
        condition: function without arguments that says whether to save.
        writer: a writer (``training.extensions.writers``) instead of ``savefun``.
        snapshot_on_error: also save when training is left by an exception.
        n_retains: how many files to keep; -1: all. ``num_retain`` is an old name of it.
        autoload: before training, load the latest file, if there is one.
    """
    if savefun is not None and writer is not None:
        raise TypeError("savefun and writer exclude each other")
    writer = writer or SimpleWriter(savefun or save_npz)
    return _Snapshot(target, condition, writer, filename, snapshot_on_error, _retained(n_retains, num_retain), autoload)


def snapshot_object(target, filename, savefun=None, **kwargs):
    """Like ``snapshot`` for one object, such as the model."""
    return snapshot(savefun, filename, target=target, **kwargs)


def _always_true():
    return True


class _Snapshot(Extension):
    """What ``snapshot`` returns."""
    trigger = (1, "epoch")
    priority = -100

    def __init__(self, target=None, condition=None, writer=None, filename="snapshot_iter_{.updater.iteration}",
                 snapshot_on_error=False, n_retains=-1, autoload=False):
        self._target, self.condition, self.writer = target, condition or _always_true, writer or SimpleWriter()
        self.filename, self._on_error, self.n_retains, self.autoload = filename, snapshot_on_error, n_retains, autoload

    def initialize(self, trainer):
        if isinstance(self.filename, str):
            if self.autoload:
                self._load(trainer)
            if self.n_retains > 0 and hasattr(self.writer, "_add_cleanup_hook"):
                self.writer._add_cleanup_hook(functools.partial(_remove_stale, self.filename, trainer.out, self.n_retains))

    def _load(self, trainer):
        name = _find_latest_snapshot(self.filename, trainer.out)
        if name is not None:
            load_npz(os.path.join(trainer.out, name), trainer if self._target is None else self._target)
        elif is_debug():
            print(f"snapshot: no file in {trainer.out!r} is called like {self.filename!r}")

    def on_error(self, trainer, exc, tb):
        if self._on_error:
            self._save(trainer)

    def __call__(self, trainer):
        if self.condition():
            self._save(trainer)

    def _save(self, trainer):
        name = self.filename(trainer) if callable(self.filename) else self.filename.format(trainer)
        self.writer(name, trainer.out, serialize(trainer if self._target is None else self._target))

    def finalize(self):
        if hasattr(self.writer, "finalize"):
            self.writer.finalize()


def _retained(n_retains, num_retain):
    if num_retain is None:
        return n_retains
    warnings.warn("num_retain is an old name of n_retains", DeprecationWarning, stacklevel=3)
    return num_retain


def _find_snapshot_files(fmt, path):
    """Pairs of time and name of the files in a folder that the format string may have named, oldest first."""
    prefix, suffix = fmt.split("{")[0], fmt.split("}")[-1]
    names = [name for name in os.listdir(path) if name.startswith(prefix) and name.endswith(suffix)]
    return sorted([(os.stat(os.path.join(path, name)).st_mtime_ns, name) for name in names])


def _find_latest_snapshot(fmt, path):
    """The name of the newest of those files, or None."""
    files = _find_snapshot_files(fmt, path) if os.path.isdir(path) else []
    return files[-1][1] if files else None


def _find_stale_snapshots(fmt, path, n_retains, num_retain=None):
    """The names of all but the newest ``n_retains`` of those files."""
    files = _find_snapshot_files(fmt, path)
    return [name for _, name in files[:max(len(files) - _retained(n_retains, num_retain), 0)]]


def _remove_stale(fmt, path, n_retains):
    for name in _find_stale_snapshots(fmt, path, n_retains):
        os.remove(os.path.join(path, name))
