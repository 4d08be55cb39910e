"""Iterators that read batches ahead, in threads or in processes."""
import collections
import functools
import multiprocessing
import multiprocessing.pool
import os
import threading
import warnings

from hybridnn.iterators.serial import DatasetIterator

__all__ = ["MultiprocessIterator", "MultithreadIterator"]


class _PrefetchIterator(DatasetIterator):
    """Batches in the order of ``SerialIterator``, while a pool of workers reads the next ones."""
    _pool = None
    _workers = 1
    n_prefetch = 1

    def reset(self):
        super().reset()
        self._pending = collections.deque()
        self._front = self._position

    def finalize(self):
        """Stop the workers."""
        pool, self._pool = self._pool, None
        self._pending = collections.deque()
        if pool is not None:
            pool.terminate()
            pool.join()

    def __next__(self):
        if self._pool is None:
            self._pool = self._start_pool()
            self._pending, self._front = collections.deque(), self._position
        while len(self._pending) <= self.n_prefetch and self._request():
            pass
        if not self._pending:
            raise StopIteration
        position, result = self._pending.popleft()
        batch = self._wait(result)
        self._previous_epoch_detail, self._position = self.epoch_detail, position
        self._request()
        return batch

    next = __next__

    def _request(self):
        """Ask the workers for one more batch; False at the end."""
        self._front, indices = self._advance(self._front)
        if indices is None:
            return False
        chunk = -(-len(indices) // (4 * self._workers))      # stated, since a pool that is replacing its workers cannot tell it
        self._pending.append((self._front, self._pool.map_async(self._reader(), indices.tolist(), chunk)))
        return True

    def _wait(self, result):
        return result.get()

    def serialize(self, serializer):
        super().serialize(serializer)
        self._pending, self._front = collections.deque(), self._position

    def __getstate__(self):
        return {**self.__dict__, "_pool": None, "_pending": collections.deque(), "_front": self._position}

    def __copy__(self):
        other = object.__new__(type(self))
        other.__dict__.update(self.__getstate__())
        return other


class MultithreadIterator(_PrefetchIterator):
    """``SerialIterator`` whose examples are read ahead by threads.

    Args:
        dataset, batch_size, repeat, shuffle, order_sampler: as for ``SerialIterator``.
        n_threads: number of threads.
    """
    _saved_order = "_order"

    def __init__(self, dataset, batch_size, repeat=True, shuffle=None, n_threads=1, order_sampler=None):
        self.n_threads = n_threads
        super().__init__(dataset, batch_size, repeat, shuffle, order_sampler)

    def _start_pool(self):
        self._workers = self.n_threads
        return multiprocessing.pool.ThreadPool(self._workers)

    def _reader(self):
        return self.dataset.__getitem__


class MultiprocessIterator(_PrefetchIterator):
    """``SerialIterator`` whose examples are read ahead by processes.

    Args:
        dataset, batch_size, repeat, shuffle, order_sampler: as for ``SerialIterator``.
        n_processes: number of processes; None: as many as CPUs.
        n_prefetch: batches read ahead.
        shared_mem: accepted for Chainer's signature; examples come through pipes.
        dataset_timeout: seconds after which a warning says that the dataset is slow; None: never.
        maxtasksperchild: batches after which a process is replaced; None: never.
    """

    _finalized = False
    _interruption_testing = False      # whether to print the processes' numbers, for programs that see how an interruption ends them

    class TimeoutWarning(RuntimeWarning):
        """The dataset has kept the iterator waiting."""

    def __init__(self, dataset, batch_size, repeat=True, shuffle=None, n_processes=None, n_prefetch=1, shared_mem=None,
                 order_sampler=None, dataset_timeout=30.0, maxtasksperchild=None):
        self.n_processes, self.n_prefetch = n_processes or os.cpu_count() or 1, max(1, n_prefetch)
        self.shared_mem, self.dataset_timeout, self.maxtasksperchild = shared_mem, dataset_timeout, maxtasksperchild
        super().__init__(dataset, batch_size, repeat, shuffle, order_sampler)

    @property
    def shuffle(self):
        """What ``shuffle`` was given."""
        return self._shuffle

    def reset(self):
        if self._finalized:
            raise NotImplementedError("MultiprocessIterator: it was finalized and cannot be reset\n  hint: make a new one")
        super().reset()

    def finalize(self):
        self._finalized = True
        super().finalize()

    def _start_pool(self):
        self._workers = self.n_processes
        pool = _Pool(self._workers, _set_dataset, (self.dataset,), self.maxtasksperchild, multiprocessing.get_context())
        if self._interruption_testing:
            print(*pool.process_ids(), flush=True)
        return pool

    def _reader(self):
        return _get_example

    def _wait(self, result):
        if self.dataset_timeout is not None:
            result.wait(self.dataset_timeout)
            if not result.ready():
                warnings.warn(f"the dataset took more than {self.dataset_timeout} s for a batch", self.TimeoutWarning, stacklevel=3)
        return result.get()


class _Pool(multiprocessing.pool.Pool):
    """A pool whose processes are forked while no other such pool forks.

    A process inherits the pipe by whose closing the parent sees that another process has ended, if it is forked while a thread is just
    forking the other one. Where it lives on, the other one is never replaced (``maxtasksperchild``), and its pool waits forever.
    """

    @staticmethod
    def Process(ctx, *args, **kwds):
        """A process to be; ``Pool`` calls it."""
        kind = _one_by_one(ctx.Process) if ctx.get_start_method() == "fork" else ctx.Process
        return kind(*args, **kwds)

    def process_ids(self):
        """The numbers by which the system knows the processes."""
        return [process.pid for process in self._pool]


_forking = threading.Lock()


def _renew():
    global _forking
    _forking = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)      # a child is forked while the lock is held, and nobody there would release it


@functools.cache
def _one_by_one(kind):
    def start(process):
        with _forking:
            kind.start(process)

    return type(kind.__name__, (kind,), {"start": start})


_dataset = None      # in a worker process: what it reads from


def _set_dataset(dataset):
    global _dataset
    _dataset = dataset


def _get_example(index):
    return _dataset[index]
