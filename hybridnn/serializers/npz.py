"""NumPy's ``.npz`` files: one array per entry, by path (``"encoder/l1/W"``)."""
import io
import pickle
import zipfile

import numpy as np

from hybridnn.backend import is_array, to_cpu
from hybridnn.errors import SerializationError
from hybridnn.serializer import Deserializer, Serializer
from hybridnn.serializers.fit import MissingEntryError, check_fit, filled, ignored

__all__ = ["DictionarySerializer", "NpzDeserializer", "load_npz", "save_npz", "serialize"]


_OBJECTS = "the entry {!r} holds Python objects, which are not loaded since they could run code"


class DictionarySerializer(Serializer):
    """Saves into a flat dict of arrays.

    Args:
        target: the dict; a new one if None.
        path: prefix of all names.
    """

    def __init__(self, target=None, path=""):
        self.target = {} if target is None else target
        self.path = path

    def __getitem__(self, key):
        return DictionarySerializer(self.target, f"{self.path}{key.strip('/')}/")

    def __call__(self, key, value):
        # A copy would be wrong for large models, and a view is right: the dict is written at once.
        self.target[self.path + key.lstrip("/")] = np.asarray(None) if value is None else to_cpu(value)
        return value


def serialize(obj):
    """A dict of arrays, as ``save_npz`` would write them, of anything with ``serialize``. The arrays are not copied."""
    serializer = DictionarySerializer()
    serializer.save(obj)
    return serializer.target


def save_npz(file, obj, compression=True):
    """Save an object (or a dict of arrays) to an npz file.

    Args:
        file: file name or binary file.
        obj: a link, an optimizer, anything with ``serialize``; or a dict.
        compression: whether to compress.
    """
    target = obj if isinstance(obj, dict) else serialize(obj)
    data = io.BytesIO()
    (np.savez_compressed if compression else np.savez)(data, **target)
    if hasattr(file, "write"):
        file.write(data.getbuffer())
        return
    with open(file, "wb") as f:
        f.write(data.getbuffer())


class NpzDeserializer(Deserializer):
    """Loads from an npz file or a dict of arrays.

    Args:
        npz: mapping of names to arrays.
        path: prefix of all names.
        strict: raise ``KeyError`` for entries that are not there; otherwise they keep their values.
        ignore_names: names (or functions of a name that say yes) of entries to be left as they are.
    """

    def __init__(self, npz, path="", strict=True, ignore_names=None):
        self.npz, self.path, self.strict = npz, path, strict
        self.ignore_names = [] if ignore_names is None else ignore_names

    def __getitem__(self, key):
        return NpzDeserializer(self.npz, f"{self.path}{key.strip('/')}/", self.strict, self.ignore_names)

    def __call__(self, key, value):
        key = self.path + key.lstrip("/")
        if ignored(key, self.ignore_names) or (not self.strict and key not in self.npz):
            return value
        entry = _read_entry(self.npz, key)
        if entry is None:
            return None
        if value is None:
            return entry
        if is_array(value):
            return filled(key, value, entry)
        return _as_python(key, value, entry)


def _as_python(key, value, entry):
    """A saved scalar in the type of ``value``; ``TypeError`` where that would lose something."""
    entry = np.asarray(entry)
    kind = type(value)
    if np.issubdtype(entry.dtype, np.number) and not (np.issubdtype(entry.dtype, np.integer) and kind is int) \
            and not np.can_cast(entry.dtype, kind, "safe"):
        raise TypeError(f"{key}: a {kind.__name__} was expected, the file has {entry.dtype}, which it cannot hold safely")
    return kind(entry)


def _read_entry(npz, key):
    """An entry of a file or dict: an array, or None where None was saved. Pickled objects other than None are refused."""
    try:
        entry = npz[key]
    except KeyError:
        raise MissingEntryError(f"the file has no entry {key!r}") from None
    except ValueError:
        return _read_none(npz, key)
    return None if entry.dtype == object and entry[()] is None else entry


class _OnlyNone(pickle.Unpickler):
    """Unpickles an object array of None and nothing that could run code."""

    def find_class(self, module, name):
        if name in ("_reconstruct", "ndarray", "dtype") and module.split(".")[0] == "numpy":
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name}")


def _read_none(npz, key):
    try:
        with npz.zip.open(key + ".npy") as f:
            major, _ = np.lib.format.read_magic(f)
            (np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0)(f)
            value = _OnlyNone(f).load()
    except (AttributeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise SerializationError(_OBJECTS.format(key)) from error
    if value.shape or value[()] is not None:
        raise SerializationError(_OBJECTS.format(key))
    return None


def load_npz(file, obj, path="", strict=True, ignore_names=None):
    """Load an object from an npz file. A link is compared with the file first, so that nothing changes if they do not fit.

    Args:
        file: file name or binary file.
        obj: what to load into.
        path: prefix of the object's names in the file, such as ``"updater/model:main/"``.
        strict: whether missing entries are errors.
        ignore_names: names, or functions of a name, of entries to be left alone.

    Raises:
        SerializationError: the file cannot be read, or does not fit; a KeyError too if entries are missing.
    """
    if not hasattr(file, "read"):
        with open(file, "rb") as f:
            return load_npz(f, obj, path, strict, ignore_names)
    try:
        npz = np.load(file, allow_pickle=False)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise SerializationError(f"{_name(file)} is no npz file: {error}") from error
    if not hasattr(npz, "files"):
        raise SerializationError(f"{_name(file)} is no npz file but a single array")
    check_fit(obj, npz.files, lambda name: _read_entry(npz, name), path, strict, ignore_names or ())
    NpzDeserializer(npz, path, strict, ignore_names).load(obj)


def _name(file):
    return getattr(file, "name", None) or f"the {type(file).__name__}"
