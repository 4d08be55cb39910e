"""How snapshots get to the disk: at once, or by a thread or a process while training goes on."""
import multiprocessing
import os
import queue
import tempfile
import threading

import numpy as np

from hybridnn.serializers import save_npz

__all__ = ["ProcessQueueWriter", "ProcessWriter", "QueueWriter", "SimpleWriter", "StandardWriter", "ThreadQueueWriter",
           "ThreadWriter", "Writer"]


class Writer:
    """Base of writers. ``writer(filename, outdir, target)`` sees to it that the dict of arrays ``target`` is written."""

    def __init__(self):
        self._post_save_hooks = []

    def __call__(self, filename, outdir, target):
        """Write ``target`` to ``outdir/filename``, now or later."""
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    def finalize(self):
        """Wait for what is being written."""

    def save(self, filename, outdir, target, savefun, **kwds):
        """Write now. The file gets its name when it is whole, and then the hooks are called."""
        handle, path = tempfile.mkstemp(prefix="." + filename, dir=outdir)
        os.close(handle)
        try:
            savefun(path, target, **kwds)
            os.replace(path, os.path.join(outdir, filename))
        except BaseException:
            os.unlink(path)
            raise
        for hook in self._post_save_hooks:
            hook()

    def _add_cleanup_hook(self, hook_fun):
        """Call ``hook_fun()`` after each file, where the file is written."""
        self._post_save_hooks.append(hook_fun)


class SimpleWriter(Writer):
    """Writes before the call returns.

    Args:
        savefun: ``savefun(path, values, **kwds)``.
        kwds: keywords for it.
    """

    def __init__(self, savefun=save_npz, **kwds):
        super().__init__()
        self._savefun, self._kwds = savefun, kwds

    def __call__(self, filename, outdir, target):
        self.save(filename, outdir, target, self._savefun, **self._kwds)


def _copied(target):
    """Training goes on and changes the arrays, so that what is written later is a copy."""
    return {name: np.array(value) for name, value in target.items()}


class StandardWriter(SimpleWriter):
    """Base of writers that start a worker for each file, one at a time. Arguments as ``SimpleWriter``."""
    _worker = None

    def __call__(self, filename, outdir, target):
        self.finalize()
        self._worker = self.create_worker(filename, outdir, _copied(target), **self._kwds)
        self._worker.start()

    def create_worker(self, filename, outdir, target, **kwds):
        """A thread or process, or something with their ``start`` and ``join``, that writes."""
        raise NotImplementedError(f"{type(self).__name__} defines no create_worker")

    def finalize(self):
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.join()


class ThreadWriter(StandardWriter):
    """Writes in a thread. Arguments as ``SimpleWriter``."""

    def create_worker(self, filename, outdir, target, **kwds):
        return threading.Thread(target=self.save, args=(filename, outdir, target, self._savefun), kwargs=kwds)


class ProcessWriter(StandardWriter):
    """Writes in a process. Arguments as ``SimpleWriter``."""

    def create_worker(self, filename, outdir, target, **kwds):
        return multiprocessing.Process(target=self.save, args=(filename, outdir, target, self._savefun), kwargs=kwds)


class QueueWriter(Writer):
    """Base of writers that put files into a queue, which one consumer works off.

    Args:
        savefun: ``savefun(path, values)``.
        task: a writer to use instead of a ``SimpleWriter`` with ``savefun``.
    """

    def __init__(self, savefun=save_npz, task=None):
        super().__init__()
        self._task = task or self.create_task(savefun)
        self._queue = self.create_queue()
        self._consumer = self.create_consumer(self._queue)
        self._consumer.start()
        self._open = True

    def __call__(self, filename, outdir, target):
        self._queue.put([self._task, filename, outdir, _copied(target)])

    def create_task(self, savefun):
        """The writer that the consumer calls."""
        return SimpleWriter(savefun=savefun)

    def create_queue(self):
        """A queue with ``put``, ``get``, ``task_done`` and ``join``."""
        raise NotImplementedError(f"{type(self).__name__} defines no create_queue")

    def create_consumer(self, q):
        """A thread or process that runs ``consume(q)``."""
        raise NotImplementedError(f"{type(self).__name__} defines no create_consumer")

    def consume(self, q):
        """Write what comes, until None comes."""
        for task in iter(q.get, None):
            task[0](*task[1:4])
            q.task_done()
        q.task_done()

    def _add_cleanup_hook(self, hook_fun):
        self._task._add_cleanup_hook(hook_fun)

    def finalize(self):
        if self._open:
            self._open = False
            self._queue.put(None)
            self._queue.join()
            self._consumer.join()


class ThreadQueueWriter(QueueWriter):
    """Writes in one thread. Arguments as ``QueueWriter``."""

    def create_queue(self):
        return queue.Queue()

    def create_consumer(self, q):
        return threading.Thread(target=self.consume, args=(q,), daemon=True)


class ProcessQueueWriter(QueueWriter):
    """Writes in one process. Arguments as ``QueueWriter``."""

    def create_queue(self):
        return multiprocessing.JoinableQueue()

    def create_consumer(self, q):
        return multiprocessing.Process(target=self.consume, args=(q,), daemon=True)
