"""Datasets of any Python objects, pickled one after the other into a file."""
import io
import os
import pickle
import threading
import weakref

from hybridnn.dataset import DatasetMixin

__all__ = ["PickleDataset", "PickleDatasetWriter", "open_pickle_dataset", "open_pickle_dataset_writer"]


class PickleDatasetWriter:
    """Writes examples for a ``PickleDataset``. It is a context manager, which closes the file.

    Args:
        writer: binary file to write to.
        protocol: of pickle.
    """

    def __init__(self, writer, protocol=pickle.HIGHEST_PROTOCOL):
        self._writer, self._protocol = writer, protocol

    def write(self, x):
        """Add an example."""
        pickle.dump(x, self._writer, protocol=self._protocol)

    def flush(self):
        """Write what is buffered."""
        self._writer.flush()

    def close(self):
        """Close the file."""
        self._writer.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


_IN_USE: weakref.WeakSet = weakref.WeakSet()


def _after_fork():
    for dataset in list(_IN_USE):
        dataset._after_fork()


if hasattr(os, "register_at_fork"):      # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_after_fork)


class PickleDataset(DatasetMixin):
    """Examples in a file, of which each is read when it is asked for. It is a context manager, which closes the file.

    Only open files that you trust: reading a pickle may run any code.

    Args:
        reader: binary file that can be sought in. Where it has a method ``after_fork``, that is called in a forked process,
            which would otherwise share the position in the file with its parent.
    """

    def __init__(self, reader):
        if not reader.seekable():
            raise ValueError("PickleDataset: expected a reader with random access, found one that cannot seek")
        self._reader = reader
        self._positions = self._find()
        self._use()

    def _find(self):
        positions, reader = [], self._reader
        reader.seek(0)
        while True:
            position = reader.tell()
            try:
                pickle.load(reader)
            except EOFError:
                return positions
            positions.append(position)

    def __getstate__(self):
        return {"_reader": self._reader, "_positions": self._positions}

    def __setstate__(self, values):
        self.__dict__.update(values)
        self._use()

    def _use(self):
        self._lock = threading.RLock()
        _IN_USE.add(self)

    def _after_fork(self):
        self._lock = threading.RLock()
        getattr(self._reader, "after_fork", int)()

    def __len__(self):
        return len(self._positions)

    def get_example(self, index):
        with self._lock:
            self._reader.seek(self._positions[index])
            return pickle.load(self._reader)

    def close(self):
        """Close the file; no example can be read any more."""
        with self._lock:
            self._reader.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class _FileReader(io.RawIOBase):
    """A file that knows its path, so that it can be opened anew in another process."""

    def __init__(self, path):
        self._path = path
        self._open()

    def _open(self):
        self._file = open(self._path, "rb")      # noqa: SIM115 (``close`` closes it)

    def after_fork(self):
        """Open the file anew: a position shared with the parent would move under both."""
        self._file.close()
        self._open()

    def __getstate__(self):
        return {"_path": self._path}

    def __setstate__(self, values):
        self._path = values["_path"]
        self._open()

    def close(self):
        self._file.close()
        super().close()

    def seekable(self):
        return True

    def readable(self):
        return True

    def seek(self, offset, whence=io.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()

    def readinto(self, buffer):
        return self._file.readinto(buffer)


def open_pickle_dataset(path):
    """The ``PickleDataset`` in the file at ``path``."""
    return PickleDataset(_FileReader(path))


def open_pickle_dataset_writer(path, protocol=pickle.HIGHEST_PROTOCOL):
    """A ``PickleDatasetWriter`` of a new file at ``path``."""
    return PickleDatasetWriter(open(path, "wb"), protocol=protocol)
