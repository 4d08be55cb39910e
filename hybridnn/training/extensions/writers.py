"""How snapshots get to the disk: at once, or by a thread or a process while training goes on."""
import multiprocessing
import os
import tempfile
import threading

import numpy as np

from hybridnn.serializers import save_npz

__all__ = ["ProcessWriter", "SimpleWriter", "ThreadWriter"]


class SimpleWriter:
    """Writes a dict of arrays before the call returns.

    Args:
        savefun: ``savefun(path, values, **kwds)``.
        kwds: keywords for it.
    """

    def __init__(self, savefun=save_npz, **kwds):
        self._savefun, self._kwds = savefun, kwds

    def __call__(self, filename, outdir, target):
        """Write ``target`` to ``outdir/filename``."""
        _write(self._savefun, outdir, filename, target, self._kwds)

    def when_done(self, action):
        """Call a function after the last write."""
        action()

    def finalize(self):
        """Wait for what is being written."""


class ThreadWriter(SimpleWriter):
    """Writes in a thread; one file at a time."""
    _worker = None

    def _start(self, *args):
        worker = threading.Thread(target=_write, args=args)
        worker.start()
        return worker

    def __call__(self, filename, outdir, target):
        self.finalize()
        # Training goes on and changes the arrays, so that what is written is a copy.
        self._worker = self._start(self._savefun, outdir, filename, {k: np.array(v) for k, v in target.items()}, self._kwds)

    def when_done(self, action):
        self.finalize()
        action()

    def finalize(self):
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.join()


class ProcessWriter(ThreadWriter):
    """Writes in a process; one file at a time."""

    def _start(self, *args):
        worker = multiprocessing.Process(target=_write, args=args)
        worker.start()
        return worker


def _write(savefun, folder, name, values, kwds):
    """Write to a temporary file and rename it, so that a file of that name is always whole."""
    handle, path = tempfile.mkstemp(prefix="." + name, dir=folder)
    os.close(handle)
    try:
        savefun(path, values, **kwds)
        os.replace(path, os.path.join(folder, name))
    except BaseException:
        os.unlink(path)
        raise
