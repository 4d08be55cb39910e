"""HDF5 files, with h5py: groups for links, datasets for arrays."""
import importlib.util

import numpy as np

from hybridnn.backend import is_array, to_cpu
from hybridnn.errors import BackendError, SerializationError
from hybridnn.serializer import Deserializer, Serializer
from hybridnn.serializers.fit import MissingEntryError, check_fit, filled

__all__ = ["HDF5Deserializer", "HDF5Serializer", "load_hdf5", "save_hdf5"]


_available = importlib.util.find_spec("h5py") is not None


def _h5py():
    """h5py, loaded at first use: it is optional, and slow to import."""
    if importlib.util.find_spec("h5py") is None:
        raise BackendError("HDF5 files need h5py, which is not installed\n  hint: pip install h5py, or use save_npz and load_npz")
    import h5py
    if h5py.version.version_tuple[0] < 3:
        raise BackendError(f"HDF5 files need h5py 3 or newer, and this is {h5py.__version__}\n  hint: pip install --upgrade h5py, or use save_npz and load_npz")
    return h5py


class HDF5Serializer(Serializer):
    """Saves into an h5py group.

    Args:
        group: the group or file.
        compression: gzip level of arrays with more than one element.
    """

    def __init__(self, group, compression=4):
        _h5py()
        self.group, self.compression = group, compression

    def __getitem__(self, key):
        return HDF5Serializer(self.group.require_group(_below(key)), self.compression)

    def __call__(self, key, value):
        if value is None:
            self.group.create_dataset(_below(key), data=_h5py().Empty("f"))
            return value
        _write(self.group, _below(key), to_cpu(value), self.compression)
        return value


def _below(key):
    """A key within its group. Names of parameters begin with a slash (``/l1/W``), which to h5py is the root of the file."""
    return key.strip("/")


def _write(group, key, value, compression):
    """A dataset; text as HDF5 text, one number uncompressed."""
    if value.dtype.kind == "U":
        group.create_dataset(key, data=value.item() if not value.shape else value.astype(_h5py().string_dtype()))
        return
    group.create_dataset(key, data=value, compression=None if value.size <= 1 else compression)


def save_hdf5(filename, obj, compression=4):
    """Save an object (or a dict of arrays) to an HDF5 file; arguments as ``save_npz``, ``compression`` is gzip's level."""
    with _h5py().File(filename, "w") as f:
        if isinstance(obj, dict):
            for key, value in obj.items():
                _write(f, "/" + key.lstrip("/"), np.asarray(value), compression)
        else:
            HDF5Serializer(f, compression).save(obj)


class HDF5Deserializer(Deserializer):
    """Loads from an h5py group.

    Args:
        group: the group or file; None stands for one that is not there.
        strict: raise for entries that are not there; otherwise they keep their values.
    """

    def __init__(self, group, strict=True):
        _h5py()
        self.group, self.strict = group, strict

    def __getitem__(self, key):
        inner = None if self.group is None else self.group.get(_below(key))
        return HDF5Deserializer(inner if isinstance(inner, _h5py().Group) else None, self.strict)

    def __call__(self, key, value):
        key = _below(key)
        if self.group is None or key not in self.group:
            if not self.strict:
                return value
            where = "" if self.group is None else f" in {self.group.name}"
            raise MissingEntryError(f"the file has no entry {key!r}{where}")
        entry = _read(self.group[key])
        if entry is None or value is None:
            return entry
        if is_array(value):
            return filled(key, value, entry)
        return type(value)(entry[()])


def _read(dataset):
    """The array of a dataset (text as a NumPy string), or None for an empty one."""
    if dataset.shape is None:
        return None
    if _h5py().check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()])
    return np.asarray(dataset[()])


def load_hdf5(filename, obj, path="", strict=True):
    """Load an object from an HDF5 file; arguments and errors as ``load_npz``."""
    h5py = _h5py()
    try:
        f = h5py.File(filename, "r")
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise SerializationError(f"{filename} is no HDF5 file: {error}") from error
    with f:
        names = []
        f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        prefix = path.strip("/") + "/" if path.strip("/") else ""
        check_fit(obj, names, lambda name: _read(f[name]), prefix, strict)
        start = HDF5Deserializer(f, strict)
        (start[path.strip("/")] if prefix else start).load(obj)
