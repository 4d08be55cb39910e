"""NumPy's functions, methods and elementwise operators of Python's whose results depend on their operands only, and what is known of each."""
import math
import operator
import types

import numpy as np

__all__ = ["ARRAY_METHODS", "CANNOT_FAIL", "CHANGING", "EMPTY", "EXACT", "HEADERS", "KEEPING", "LIMITS_OF_TYPES", "OF_TYPES", "OPERATORS", "PLACES",
           "SAME_TYPE", "UFUNC_METHODS", "called_method", "called_with", "is_array_function", "is_method_of_ufunc", "may_overlap", "place_of_output"]

_FUNCTIONS = (
    "all", "allclose", "amax", "amin", "angle", "any", "append", "arange", "argmax", "argmin", "argpartition", "argsort", "argwhere", "around", "array",
    "array_equal", "array_equiv", "array_split", "asarray", "ascontiguousarray", "atleast_1d", "atleast_2d", "atleast_3d", "average", "bartlett", "bincount",
    "blackman", "block", "broadcast_arrays", "broadcast_to", "choose", "clip", "column_stack", "compress", "concatenate", "convolve", "copy", "corrcoef",
    "correlate", "cos", "count_nonzero", "cov", "cross", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum", "delete", "diag", "diag_indices",
    "diag_indices_from", "diagflat", "diagonal", "diff", "digitize", "dot", "dsplit", "dstack", "ediff1d", "einsum", "expand_dims", "extract", "eye", "fix",
    "flatnonzero", "flip", "fliplr", "flipud", "full", "full_like", "geomspace", "gradient", "hamming", "hanning", "histogram", "histogram2d",
    "histogram_bin_edges", "hsplit", "hstack", "i0", "identity", "imag", "indices", "inner", "insert", "interp", "intersect1d", "isclose", "iscomplex",
    "isin", "isneginf", "isposinf", "isreal", "ix_", "kaiser", "kron", "lexsort", "linspace", "logspace", "matrix_transpose", "max", "mean", "median",
    "meshgrid", "min", "moveaxis", "nan_to_num", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmedian", "nanmin",
    "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum", "nanvar", "nonzero", "ones", "ones_like", "outer", "pad", "partition", "percentile",
    "poly", "polyadd", "polyder", "polyfit", "polyint", "polymul", "polysub", "polyval", "prod", "ptp", "quantile", "ravel", "ravel_multi_index", "real",
    "repeat", "reshape", "resize", "roll", "rollaxis", "roots", "rot90", "round", "searchsorted", "select", "setdiff1d", "setxor1d", "sinc", "sort", "split",
    "squeeze", "stack", "std", "sum", "swapaxes", "take", "take_along_axis", "tensordot", "tile", "trace", "transpose", "trapezoid", "tri", "tril",
    "tril_indices", "tril_indices_from", "trim_zeros", "triu", "triu_indices", "triu_indices_from", "union1d", "unique", "unravel_index", "unstack", "unwrap",
    "vander", "var", "vdot", "vsplit", "vstack", "where", "zeros", "zeros_like", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "intp",
    "bool_", "uint8")
_OUTPUTS = {      # where functions take the array for their results
    1: ("fix", "isneginf", "isposinf"),
    2: ("all", "amax", "amin", "any", "argmax", "argmin", "around", "choose", "concatenate", "dot", "max", "median", "min", "nanargmax", "nanargmin", "nanmax",
        "nanmedian", "nanmin", "outer", "ptp", "round", "stack"),
    3: ("clip", "compress", "cumprod", "cumsum", "mean", "nancumprod", "nancumsum", "nanmean", "nanpercentile", "nanprod", "nanquantile", "nanstd", "nansum",
        "nanvar", "percentile", "prod", "quantile", "std", "sum", "take", "var"),
    5: ("trace",)}
_OF_LINALG = (
    "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank",
    "matrix_transpose", "multi_dot", "norm", "outer", "pinv", "qr", "slogdet", "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm")
_OF_FFT = (
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2",
    "rfftfreq", "rfftn")
PLACES = {id(getattr(np, name)): place for place, names in _OUTPUTS.items() for name in names} | {
    id(getattr(np.fft, name)): 4 for name in _OF_FFT if name.endswith(("fft", "fft2", "fftn"))}
"""ids of functions -> which of their arguments by position is the array for the results."""
_FOUND = {id(fn): fn for fn in [*(getattr(np, name) for name in _FUNCTIONS), *(getattr(np.linalg, name) for name in _OF_LINALG),
                                *(getattr(np.fft, name) for name in _OF_FFT), np.lib.stride_tricks.sliding_window_view,
                                *(fn for fn in vars(np).values() if isinstance(fn, np.ufunc))]}
ARRAY_METHODS = frozenset([
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "clip", "conj", "copy", "cumprod", "cumsum", "diagonal", "dot", "flatten",
    "item", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes",
    "take", "tolist", "trace", "transpose", "var"])
"""Methods of arrays that leave the array as it is."""
CHANGING = frozenset(["fill", "sort"])
"""Methods that change it, and give nothing."""
EXACT = frozenset(["item", "tolist", "reshape", "ravel", "copy", "flatten", "transpose", "squeeze"])
"""Methods of arrays that only give its elements, which cannot fail."""
CANNOT_FAIL = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pos, abs, min, max,
               math.isnan, math.isinf, math.isfinite,
               operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge)      # of floats
SAME_TYPE = (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.neg, operator.pos, abs,
             operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge,
             math.isnan, math.isinf, math.isfinite)    # give a number of a type that those of their operands decide
UFUNC_METHODS = frozenset(["accumulate", "outer", "reduce", "reduceat"])
"""Methods of NumPy's elementwise functions that leave arrays as they are."""
OPERATORS = frozenset([*CANNOT_FAIL, *SAME_TYPE, operator.pow, operator.matmul, float])
KEEPING = {id(getattr(np, name)): getattr(np, name) for name in (
    "all", "amax", "amin", "any", "argmax", "argmin", "around", "average", "clip", "concatenate", "copy", "dot", "float32", "float64", "full_like", "max",
    "mean", "median", "min", "ones_like", "prod", "round", "sort", "stack", "std", "sum", "var", "zeros_like")}      # of a kind that their operands decide
KEEPING[id(np.linalg.norm)] = np.linalg.norm
HEADERS = {id(np.shape): "shape", id(np.ndim): "ndim", id(np.size): "size"}
"""ids of functions that tell what arrays are like -> the attribute that says the same."""
OF_TYPES = frozenset(map(id, [np.broadcast_shapes, np.can_cast, np.finfo, np.iinfo, np.issubdtype, np.promote_types, np.result_type]))
"""ids of functions of shapes and dtypes, and classes of what they tell of these."""
LIMITS_OF_TYPES = frozenset(["bits", "dtype", "eps", "epsneg", "max", "min", "precision", "resolution", "smallest_normal", "tiny"])
EMPTY = {id(np.empty): np.zeros, id(np.empty_like): np.zeros_like}       # nobody can rely on what lies there


def is_array_function(fn):
    """Whether ``fn`` is a function of NumPy's, or a type of its numbers, whose result depends on its arguments only."""
    return id(fn) in _FOUND or is_method_of_ufunc(fn) and fn.__name__ in UFUNC_METHODS


def is_method_of_ufunc(fn):
    """Whether ``fn`` is such as ``np.add.reduce``."""
    return type(fn) is types.BuiltinFunctionType and isinstance(fn.__self__, np.ufunc) and id(fn.__self__) in _FOUND


def may_overlap(fn):
    """Whether a function of NumPy's may put its results where its operands lie, and gives the same as elsewhere."""
    elementwise = isinstance(fn, operator.methodcaller) and called_method(fn) in ("clip", "round")
    ufunc = isinstance(fn, np.ufunc) and (fn.signature is None or fn is np.matmul)      # NumPy lets the results of np.vecdot run into its operands
    return elementwise or ufunc or fn in (np.clip, np.round, np.around, np.nan_to_num)


def place_of_output(fn):
    """Which of its arguments by position is the array for the results of a function of NumPy's; None if that has to be named."""
    return fn.nin if isinstance(fn, np.ufunc) and fn.nout == 1 else PLACES.get(id(fn))


def called_with(caller):
    """The name of the method that a ``methodcaller`` calls, and with which arguments."""
    make, args = caller.__reduce__()
    if make is operator.methodcaller:
        return args[0], args[1:], {}
    return make.args[0], (*make.args[1:], *args), make.keywords


def called_method(caller):
    """The name of the method that a ``methodcaller`` calls."""
    return called_with(caller)[0]
