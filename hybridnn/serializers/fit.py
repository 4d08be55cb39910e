"""Do a file and a model fit? Asked before anything is changed."""
import numpy as np

from hybridnn.backend import copyto
from hybridnn.errors import SerializationError
from hybridnn.link import Link
from hybridnn.serializer import Serializer

__all__ = ["Collector", "MissingEntryError", "check_fit", "filled", "ignored"]


class MissingEntryError(SerializationError, KeyError):
    """An entry that the model has is not in the file."""
    __str__ = Exception.__str__       # KeyError would quote the text


class Collector(Serializer):
    """Takes the names and values that an object shows, before a file is loaded into it.

    Attributes:
        found: values by name.
        shapes: by name, another shape that the object can load.
    """

    def __init__(self, path="", found=None, shapes=None):
        self.path, self.found, self.shapes = path, {} if found is None else found, {} if shapes is None else shapes

    def __getitem__(self, key):
        return Collector(f"{self.path}{key.strip('/')}/", self.found, self.shapes)

    def __call__(self, key, value):
        self.found[self.path + key.lstrip("/")] = value
        return value

    def accept(self, key, shape):
        """Say that the entry may have this shape in the file."""
        self.shapes[self.path + key.lstrip("/")] = shape


def ignored(key, ignore_names):
    """Whether a key is one of ``ignore_names``: a name, a predicate, or a list of them."""
    for rule in ignore_names if isinstance(ignore_names, (tuple, list)) else (ignore_names,):
        if not (isinstance(rule, str) or callable(rule)):
            raise ValueError(f"ignore_names is a name, a function of a name, or a list of them; got {type(rule).__name__}")
        if rule == key if isinstance(rule, str) else rule(key):
            return True
    return False


def check_fit(obj, names, read, path="", strict=True, ignore_names=()):
    """Compare a link with a file, before loading; other objects are compared entry by entry as they load.

    Args:
        obj: what is to be loaded.
        names: names of the file's entries.
        read: ``read(name)`` gives an entry (an array, or None).
        path: where in the file the object stands; entries elsewhere do not matter.
        strict: whether entries of the object have to be in the file; what else is in the file does not matter.
        ignore_names: see ``ignored``.

    Raises:
        SerializationError: entries are missing (then it is a KeyError too), or of another shape or kind; all are listed.
    """
    if not isinstance(obj, Link):
        return
    collector = Collector(path)
    obj.serialize(collector)
    mine = {name: value for name, value in collector.found.items() if not ignored(name, ignore_names)}
    theirs = {name for name in names if name.startswith(path) and not ignored(name, ignore_names)}
    missing, extra = sorted(mine.keys() - theirs), sorted(theirs - mine.keys())
    if strict and missing:
        lines = [f"the file and the {type(obj).__name__} have different entries"]
        lines.append(f"  only in the {type(obj).__name__}: {_list(missing)}")
        lines += [f"  only in the file: {_list(extra)}"] if extra else []
        lines.append("  hint: nothing was loaded; strict=False or ignore_names loads what fits, path= a part of the file")
        raise MissingEntryError("\n".join(lines))
    wrong = [text for name in sorted(mine.keys() & theirs) if (text := _mismatch(name, mine[name], read(name), collector.shapes.get(name)))]
    if wrong:
        raise SerializationError("\n".join([f"the file does not fit the {type(obj).__name__}; nothing was loaded",
                                            *["  " + text for text in wrong]]))


def _list(names):
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _mismatch(name, value, entry, other_shape=None):
    """Why an array of the file cannot be copied into the array ``value``, or None; it may have ``other_shape``, if that is given."""
    if not hasattr(value, "shape") or not hasattr(value, "dtype") or entry is None:
        return None
    if entry.shape not in (value.shape, other_shape):
        return f"{name}: shape {value.shape} expected, the file has {entry.shape}"
    if not np.can_cast(entry.dtype, value.dtype, "same_kind"):
        return f"{name}: {value.dtype} expected, the file has {entry.dtype}"
    return None


def filled(name, value, entry):
    """The array ``value``, into which ``entry`` is copied. Raises ``SerializationError`` if it does not fit."""
    if text := _mismatch(name, value, entry):
        raise SerializationError(text)
    copyto(value, entry)
    return value
