"""What operands are like: numbers and arrays that a trace can take, and when two of them are the same."""
import numpy as np

from hybridnn.backend import is_array
from hybridnn.core.variable import Variable
from hybridnn.trace.events import LIMIT

__all__ = ["NUMBER_TYPES", "array_of", "has_creator", "is_number", "is_unmade", "same_bytes", "same_number", "unfit", "untraceable", "values_of"]

NUMBER_TYPES = (float, int, bool)


def has_creator(x):
    """Whether ``x`` is a Variable computed by an earlier call."""
    return isinstance(x, Variable) and x._tape is not None and not x._tape.is_leaf and x._requires_grad


def is_unmade(v):
    """Whether a parameter waits for its shape: it has no array, computed or yet to be computed."""
    return v._array is None and v._pending is None


def array_of(x):
    """The array of a Variable that has one, such as a gradient that a node keeps as a Variable; anything else as it is."""
    return x._array if isinstance(x, Variable) else x


def is_number(x):
    """Whether an operand is a number of NumPy's."""
    return isinstance(x, np.generic) and x.dtype.kind in "fiub"


def unfit(a, strided=False):
    """Why an operand cannot be traced, or None; ``strided`` if it may lie in memory in any way: with gaps, backwards, repeated, axes in another order."""
    if type(a) is not np.ndarray:
        if is_array(a) and not isinstance(a, np.ndarray):
            return "an array on a GPU"
        return f"a {type(a).__name__}" if is_array(a) or not isinstance(a, np.generic) else "a NumPy scalar"
    if not a.flags.aligned:
        return "an array that is not aligned"
    if not a.flags.c_contiguous and not strided:
        return "an array that is not C-contiguous"
    if not a.dtype.isnative or a.dtype.kind not in "fiub":
        return f"an array of dtype {a.dtype}"
    return None


def untraceable(arrays, outputs):
    """What is wrong with the arrays that a user's function returned, or None."""
    for k, y in enumerate(outputs):
        if unfit(y):
            return unfit(y)
        if any(a is y or a is not None and np.may_share_memory(a, y) for a in (*arrays, *outputs[:k])):
            return "an array that shares its memory with another"
    return None


def values_of(inputs):
    """The Python ints that an operation of these operands takes: NumPy converts them to the arrays' type, or refuses; native code has 64 bits."""
    dtypes = [x.dtype for x in inputs if isinstance(x, (Variable, np.ndarray))]
    dtype = np.result_type(*dtypes) if dtypes else None
    if dtype is None or dtype.kind not in "iu":
        return range(-LIMIT, LIMIT)
    info = np.iinfo(dtype)
    return range(max(info.min, -LIMIT), min(info.max + 1, LIMIT))


def same_number(x, y):
    """Equal in type and bits."""
    return type(x) is type(y) and (x.hex() == y.hex() if type(x) is float else x == y)


def same_bytes(a, b):
    """Whether two arrays of one spec hold the same bits."""
    if a.nbytes <= 4096:
        return a.tobytes() == b.tobytes()
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    word = np.uint64 if a.nbytes % 8 == 0 else np.uint8        # eight bytes at a time take half as long
    return bool((a.reshape(-1).view(word) == b.reshape(-1).view(word)).all())
