"""NumPy in a followed function: the calls that do nothing but make an array or a number of others, which a plan makes again on every call."""
import functools
import math
import operator
import os
import random
import time
import types
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybridnn.errors import raised_by_signal
from hybridnn.trace.floats import strictly, under
from hybridnn.trace.refs import MOST_MEMBERS, Doubt, Ref, is_named_tuple, is_pure
from hybridnn.trace.warns import without_warnings

__all__ = ["ARRAY_METHODS", "CHANGERS", "CHANGES", "CLOCKS", "EMPTY", "FEW_MEMBERS", "IN_PLACE", "MOST", "UFUNC_METHODS", "Computed", "Unexpected",
           "as_defect", "below", "calculate", "change_own", "changer_of", "choose", "chooses", "combine", "draw", "draws", "folded", "identify", "is_always",
           "is_array_function", "is_draw", "is_last", "is_number", "is_open", "is_place", "is_small", "is_stream", "leaves_of", "may_overlap",
           "OTHER_STREAMS", "missed", "operand", "pick", "place_of_output", "put", "put_stream_back", "read_clock", "recompute", "renew", "rests_on_constants",
           "sample", "shuffle", "sources_of", "stream_of", "stream_state", "varies", "with_elements"]

_FUNCTIONS = (
    "all", "allclose", "angle", "any", "append", "arange", "argmax", "argmin", "argpartition", "argsort", "argwhere", "around", "array", "array_equal",
    "array_split", "asarray", "ascontiguousarray", "atleast_1d", "atleast_2d", "atleast_3d", "average", "bartlett", "bincount", "blackman", "block",
    "broadcast_arrays", "broadcast_to", "clip", "column_stack", "compress", "concatenate", "convolve", "copy", "corrcoef", "correlate", "cos",
    "count_nonzero", "cov", "cross", "cumprod", "cumsum", "delete", "diag", "diag_indices", "diag_indices_from", "diagflat", "diagonal", "diff",
    "digitize", "dot", "dsplit", "dstack", "ediff1d", "einsum", "expand_dims", "extract", "eye", "flatnonzero", "flip", "fliplr", "flipud", "full",
    "full_like", "geomspace", "gradient", "hamming", "hanning", "histogram", "hsplit", "hstack", "identity", "imag", "indices", "inner", "insert", "interp",
    "intersect1d", "isclose", "isin", "kron", "lexsort", "linspace", "logspace", "matrix_transpose", "max", "mean", "median", "meshgrid", "min",
    "moveaxis", "nanargmax", "nanargmin", "nancumprod", "nancumsum", "nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "nan_to_num",
    "nonzero", "ones", "ones_like", "outer", "pad", "partition", "percentile", "polyval", "prod", "ptp", "quantile", "ravel", "real", "repeat", "reshape",
    "resize", "roll", "rollaxis", "rot90", "round", "searchsorted", "select", "setdiff1d", "sinc", "sort", "split", "squeeze", "stack", "std", "sum",
    "swapaxes", "take", "take_along_axis", "tensordot", "tile", "trace", "transpose", "trapezoid", "tri", "tril", "tril_indices", "tril_indices_from",
    "triu", "triu_indices", "triu_indices_from", "union1d", "unique", "unravel_index", "vander", "var", "vdot", "vsplit", "vstack", "where", "zeros",
    "zeros_like", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "intp", "uint8")
_OUTPUTS = {      # where functions take the array for their results
    2: ("all", "any", "argmax", "argmin", "around", "concatenate", "dot", "max", "median", "min", "nanargmax", "nanargmin", "nanmax", "nanmin", "outer", "ptp",
        "round", "stack"),
    3: ("clip", "compress", "cumprod", "cumsum", "mean", "nancumprod", "nancumsum", "nanmean", "nanprod", "nanstd", "nansum", "nanvar", "percentile", "prod",
        "quantile", "std", "sum", "take", "var"),
    5: ("trace",)}
_PLACES = {id(getattr(np, name)): place for place, names in _OUTPUTS.items() for name in names}
_OF_LINALG = (
    "cholesky", "cond", "det", "eig", "eigh", "eigvals", "eigvalsh", "inv", "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet",
    "solve", "svd")
_OF_FFT = (
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft", "irfft2", "irfftn", "rfft", "rfft2",
    "rfftfreq", "rfftn")
_FOUND = {id(fn): fn for fn in [*(getattr(np, name) for name in _FUNCTIONS), *(getattr(np.linalg, name) for name in _OF_LINALG),
                                *(getattr(np.fft, name) for name in _OF_FFT),
                                *(fn for fn in vars(np).values() if isinstance(fn, np.ufunc))]}
ARRAY_METHODS = frozenset([
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "clip", "conj", "copy", "cumprod", "cumsum", "diagonal", "dot", "flatten",
    "item", "max", "mean", "min", "nonzero", "prod", "ravel", "repeat", "reshape", "round", "searchsorted", "squeeze", "std", "sum", "swapaxes",
    "take", "tolist", "trace", "transpose", "var"])
"""Methods of arrays that leave the array as it is."""
_EXACT = frozenset(["item", "tolist", "reshape", "ravel", "copy", "flatten", "transpose", "squeeze"])
CANNOT_FAIL = (operator.add, operator.sub, operator.mul, operator.truediv, operator.neg, operator.pos, abs, min, max,
               math.isnan, math.isinf, math.isfinite,
               operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge)
SAME_TYPE = (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.neg, operator.pos, abs,
             operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge,
             math.isnan, math.isinf, math.isfinite)    # give a number of a type that those of their operands decide
UFUNC_METHODS = frozenset(["accumulate", "outer", "reduce", "reduceat"])
"""Methods of NumPy's elementwise functions that leave arrays as they are."""
_OPERATORS = frozenset([*CANNOT_FAIL, *SAME_TYPE, operator.pow, operator.matmul, float])
_WITH_INTS = frozenset([operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, np.add, np.subtract, np.multiply, np.divide, np.power,
                        np.maximum, np.minimum])
_WITH_INTS_OF_64_BITS = frozenset([operator.add, operator.sub, operator.mul, np.add, np.subtract, np.multiply])
_OF_FLOATS = frozenset([getattr(np, name) for name in (
    "arctan", "arctan2", "cos", "cosh", "exp", "exp2", "expm1", "float32", "float64", "interp", "log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan",
    "tanh", "true_divide")])       # give floats of the same kind for all small ints
_MAKING = {np.array: (0, 1), np.asarray: (0, 1), np.full: (1, 2)}      # where they take what an array is made of, and its dtype
_COMPARING = frozenset([operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge, np.less, np.less_equal, np.equal, np.not_equal,
                        np.greater, np.greater_equal])
_KEEPING = {id(getattr(np, name)): getattr(np, name) for name in (
    "all", "any", "argmax", "argmin", "around", "average", "clip", "concatenate", "copy", "dot", "float32", "float64", "full_like", "max", "mean", "median",
    "min", "ones_like", "prod", "round", "sort", "stack", "std", "sum", "var", "zeros_like")}
_KEEPING[id(np.linalg.norm)] = np.linalg.norm
_OF_BOTH = (
    "beta", "binomial", "chisquare", "choice", "dirichlet", "exponential", "gamma", "geometric", "gumbel", "hypergeometric", "laplace", "logistic", "lognormal",
    "logseries", "multinomial", "negative_binomial", "noncentral_chisquare", "normal", "pareto", "permutation", "poisson", "power", "random", "rayleigh",
    "standard_cauchy", "standard_exponential", "standard_gamma", "standard_normal", "standard_t", "triangular", "uniform", "vonmises", "wald", "weibull",
    "zipf")
_DRAWS = {id(fn): fn for fn in (getattr(np.random, name) for name in (*_OF_BOTH, "rand", "randint", "randn", "random_sample"))}
_METHODS = frozenset([*_OF_BOTH, "integers", "rand", "randint", "randn", "random_sample", "shuffle"])
_OF_PYTHON = frozenset([
    "betavariate", "choice", "choices", "expovariate", "gauss", "getrandbits", "lognormvariate", "normalvariate", "randint", "random", "randrange", "sample",
    "triangular", "uniform"])
LIMITS = {"choice": 1, "integers": 2, "randint": 2, "randrange": 2}      # how many arguments of a draw of ints may be limits
STREAMS = np.random.Generator, np.random.RandomState, random.Random      # the first two are written in C: nobody replaces their methods
OTHER_STREAMS: dict[type, tuple[Callable, Callable]] = {}      # class of objects that give something new on every call -> where one stands, how it goes back
_OF_RANDOM = dict(vars(random.Random))
EMPTY = {id(np.empty): np.zeros, id(np.empty_like): np.zeros_like}       # nobody can rely on what lies there
CLOCKS = frozenset([time.time, time.perf_counter, time.monotonic, time.process_time])
REFUSED = ("out", "where", "like", "casting", "subok", "order", "initial", "overwrite_input")
MOST_OBJECTS = 64     # that are drawn at once
MOST_PICKED, FEW_MEMBERS = 256, 16      # members that are chosen one by one; members of a list, which of them is taken may be part of the path
MOST_NUMBERS = 256    # in a list that the program makes of an array
MOST = 1 << 53        # ints up to here are floats too
BITS = {"b": 1, "i": 63, "u": 64}      # of elements of arrays
MOST_BITS, UNKNOWN = 1000, 1 << 20     # floats hold ints of 1023 bits, rounded
SUMS = (operator.add, operator.sub, operator.neg, operator.pos, abs, min, max)
MOST_CONSTANT = 1 << 18     # bytes of an array that a plan keeps
LARGEST = 1 << 22      # elements of an array that the observer computes itself


@dataclass(eq=False, slots=True)
class Computed:
    """``fn(*args, **kw)``, of Refs; ``at``: how many events the path had; ``real``: the user's own array, once a later call shows it; ``safe``: it can
    neither fail nor warn, nor give an array of another kind; ``drawn``: it takes numbers from a stream, ``late`` if it, or a draw before it, has arguments
    that have to be computed, and ``behind`` if operations have to compute them; ``last``: it is made after all operations; ``alone``: it changes an array
    which an earlier change made, and which nothing else takes."""
    fn: Callable[..., Any]
    args: list
    kw: dict
    at: int
    real: object = None
    safe: bool = False
    drawn: bool = False
    late: bool = False
    behind: bool = False
    last: bool = False
    alone: bool = False


class Unexpected(Exception):
    """NumPy gave an array of another kind than when the path was recorded."""


def is_array_function(fn):
    """Whether ``fn`` is a function of NumPy's, or a type of its numbers, whose result depends on its arguments only."""
    return id(fn) in _FOUND or is_method_of_ufunc(fn) and fn.__name__ in UFUNC_METHODS


def may_overlap(fn):
    """Whether a function of NumPy's may put its results where its operands lie, and gives the same as elsewhere."""
    elementwise = isinstance(fn, operator.methodcaller) and _method(fn) in ("clip", "round")
    return elementwise or isinstance(fn, np.ufunc) or fn in (np.clip, np.round, np.around)


def place_of_output(fn):
    """Which of its arguments by position is the array for the results of a function of NumPy's; None if that has to be named."""
    return fn.nin if isinstance(fn, np.ufunc) and fn.nout == 1 else _PLACES.get(id(fn))


def is_draw(fn):
    """Whether ``fn`` draws from the stream of ``np.random``, or is a method of a generator of Python's that does."""
    return id(fn) in _DRAWS or stream_of(fn) is not np.random


def stream_of(fn):
    """The stream that a function draws from: a generator of Python's for its methods, such as the functions of ``random`` are."""
    owner = fn.__self__ if type(fn) in (types.MethodType, types.BuiltinFunctionType) else None
    return owner if type(owner) is random.Random and fn.__name__ in _OF_PYTHON else np.random


def is_stream(x):
    """Whether ``x`` is a random generator, of which no class of the user's is made."""
    return type(x) in STREAMS


def draws(stream, name):
    """Whether the method ``name`` of a generator only draws."""
    return name in (_OF_PYTHON if type(stream) is random.Random else _METHODS) and hasattr(stream, name)


def stream_state(stream):
    """Where a stream is: ``np.random`` itself, a generator, or another."""
    if type(stream) in OTHER_STREAMS:
        return OTHER_STREAMS[type(stream)][0](stream)
    if type(stream) is random.Random:       # whose own method asks for an attribute that may be gone
        return super(random.Random, stream).getstate(), vars(stream).copy()
    return stream.bit_generator.state if type(stream) is np.random.Generator else stream.get_state(legacy=False)


def put_stream_back(stream, found):
    """The stream goes on where ``stream_state`` found it."""
    if type(stream) in OTHER_STREAMS:
        OTHER_STREAMS[type(stream)][1](stream, found)
    elif type(stream) is random.Random:
        super(random.Random, stream).setstate(found[0])
        vars(stream).clear()
        vars(stream).update(found[1])
    elif type(stream) is np.random.Generator:
        stream.bit_generator.state = found
    else:
        stream.set_state(found)


def draw(observer, fn, args, kw, stream):
    """The Ref of what a draw is going to give: the observer draws the same numbers first, and puts the stream back."""
    if type(stream) is random.Random:
        if vars(stream).keys() - {"gauss_next"} or any(vars(random.Random).get(name) is not attr for name, attr in _OF_RANDOM.items()):
            raise Doubt("a random generator with methods of its own")
        observer.guard("class", stream, random.Random)
        observer.guard("surface", random.Random)
        observer.guard("methods", stream)
        if fn.__name__ == "sample" and _holds_objects(args, kw):
            return _draw_objects(observer, fn, *args, stream)
        args = [_frozen(observer, a) for a in args]
    limits = [a for k, a in enumerate(args) if _is_limit(observer, fn, k, args)]
    args, kw = [a if a in limits else operand(observer, a) for a in args], {k: operand(observer, v) for k, v in kw.items()}
    given, before = [*args, *kw.values()], [d.source for d, *_ in observer.draws]
    late = any(d.late for d in before) or not all(a in limits and a.kind == "arg" or _is_given(a) for a in given)
    behind = any(d.behind for d in before) or any(map(sources_of, given))
    if behind and observer.writes_so_far() or late and any(observer.is_written(a) for part in given for a in _outside_arrays(part)):
        raise Doubt("draws random numbers with arguments that are computed, or behind such a draw, after a change in place")
    if observer.samples and any(_is_picked(observer, r) for part in given for r in below(part)):
        raise Doubt("draws random numbers with arguments that others have chosen")
    value = _tried(stream, fn, *map(_value, args), **{k: _value(v) for k, v in kw.items()})
    ref = _drawn(value, Computed(fn, args, kw, len(observer.call.path), drawn=True, late=late, behind=behind))
    observer.draws.append((ref, len(observer.call.draws), stream))
    _note_uses(observer, ref.source, ref)
    if ref.kind == "whole":
        return _numbers_of(ref)
    return ref


def _tried(stream, fn, *args, **kw):
    """What a draw gives; the stream stands where it stood."""
    found = stream_state(stream)
    try:
        return fn(*args, **kw)
    finally:
        put_stream_back(stream, found)


def _holds_objects(args, kw):
    """Whether some of the members of a list or deque from outside are drawn, which are no numbers."""
    box = args[0] if len(args) == 2 and not kw else None
    return box is not None and box.kind == "static" and type(box.value) in (list, deque) and not all(type(v) in (int, float) for v in box.value)


def _draw_objects(observer, fn, box, count, stream):
    """The Ref of a list of members of one from outside: each is looked at as those of arguments are."""
    count = observer.use(count)
    if count.kind != "static" or type(count.value) is not int or not 0 < count.value <= min(MOST_OBJECTS, len(box.value)):
        raise Doubt("draws an unknown number of objects, or many")
    if any(d.source.late for d, *_ in observer.draws) or id(box.value) in observer.grown | observer.rewritten:
        raise Doubt("draws from a list that has changed, or behind a draw with arguments that are computed")
    observer.guard("long", box.value, count.value - 1)
    value = _tried(stream, fn, box.value, count.value)
    whole = Ref("whole", value, Computed(fn, [box, count], {}, len(observer.call.path), drawn=True))
    observer.draws.append((whole, len(observer.call.draws), stream))
    return sample(observer, whole)


def sample(observer, whole):
    """What has been drawn, or chosen by what was drawn, as something that is looked at as arguments are."""
    name = f"sample{len(observer.samples)}"
    observer.samples[name] = whole
    return Ref("arg", whole.value, ("drawn", name))


def pick(observer, box, key):
    """The Ref of the member of a list or deque from outside that a drawn number chooses, of which each is looked at as those of arguments are; None for
    other keys."""
    whole = key.kind == "array" and isinstance(key.value, np.integer) or key.kind == "number" and type(key.value) is int
    if not whole or box.kind != "static" or type(box.value) not in (list, deque) or sources_of(key) or not _is_chosen_by_draw(key):
        return None
    if not -len(box.value) <= key.value < len(box.value):
        raise Doubt("an exception is raised")
    value = box.value[key.value]
    if not isinstance(value, (tuple, np.ndarray, np.generic)) and type(value) not in (float, int, list, dict) and len(box.value) <= FEW_MEMBERS:
        return None
    if id(box.value) in observer.grown | observer.rewritten or len(observer.samples) >= MOST_PICKED:
        raise Doubt("draws from a list that has changed, or many times")
    observer.keep.append(key)
    return sample(observer, Ref("whole", value, Computed(operator.getitem, [Ref("static", box.value), key], {}, len(observer.call.path), safe=True)))


def _is_chosen_by_draw(key):
    return any(isinstance(r.source, Computed) and r.source.drawn for r in leaves_of(key))


def _is_picked(observer, ref):
    """Whether a Ref is a part of what drawn numbers have chosen of a list."""
    source = ref.source
    while type(source) is tuple and source:
        if source[0] == "drawn":
            return not observer.samples[source[1]].source.drawn
        source = source[1] if len(source) > 1 else None
    return False


def choose(observer, fn, box):
    """The Ref of the member of a list or tuple that ``random.choice`` gives: which one it is must be the same on every call."""
    items = observer._items(box)
    if not items:
        raise Doubt("an exception is raised")
    return items[observer.use(draw(observer, fn, [Ref("static", range(len(items)))], {}, fn.__self__)).value]


def chooses(fn, args, kw):
    """Whether a draw is ``random.choice`` of a list or tuple whose members are not all numbers."""
    box = args[0] if len(args) == 1 and not kw and type(stream_of(fn)) is random.Random and fn.__name__ == "choice" else None
    if box is None or box.kind not in ("mirror", "static", "arg") or type(box.value) not in (list, tuple):
        return False
    return not all(type(v.value if box.kind == "mirror" else v) in (int, float) for v in box.value)


def _shuffled(shuffle, a):
    """What ``a`` is after ``shuffle(a)``."""
    a = a.copy()
    shuffle(a)
    return a


def shuffle(observer, fn, args, kw, stream):
    """``fn(a)`` changes the order of an array that NumPy has made in this call: from here on its Ref stands for one that is drawn."""
    x = args[0] if len(args) == 1 and not kw else None
    if x is None or x.kind != "array" or type(x.value) is not np.ndarray:
        raise Doubt("shuffles something that the call has not made")
    check_own(observer, x)
    old = Ref("array", x.value, x.source)
    views = _replace_uses(observer, x, old)
    given = () if rests_on_constants(x) else (old,)
    made = draw(observer, functools.partial(_shuffled, fn, *[] if given else [x.value.copy()]), given, {}, stream)
    observer.keep.append(old)
    observer.draws[-1] = (x, *observer.draws[-1][1:])
    x.value, x.source = made.value, made.source
    _view_again(observer, views, x)
    return Ref("static", None)


def _frozen(observer, ref):
    """A list from outside, with the members that it has now."""
    if ref.kind != "static" or type(ref.value) is not list:
        return ref
    observer._freeze(ref.value)
    return Ref("mirror", [Ref("static", v) for v in ref.value])


def _drawn(value, found):
    """The Ref of what a draw gives: a number, some, or an array."""
    if type(value) in (float, int):
        return Ref("number", value, found)
    if type(value) is list and all(type(v) in (int, float) for v in value) and len(value) <= MOST_NUMBERS:
        return Ref("whole", value, found)
    if type(value) is not np.ndarray and not isinstance(value, np.generic) or value.dtype.kind not in "fiub":
        raise Doubt(f"draws a {type(value).__name__}")
    return Ref("array", value, found)


def _is_given(ref):
    """Whether an argument of a draw is the same on every call."""
    return rests_on_constants(ref) and not _has_array(ref)


def read_clock(observer, fn):
    """The Ref of what a clock says: before the first operation, or after the last."""
    if getattr(observer.call.owner, "check", 0):
        raise Doubt("reads a clock, which says something else when the call is checked")
    first = not observer.call.path
    ref = Ref("number", fn(), Computed(fn, [], {}, len(observer.call.path), safe=True, drawn=first, last=not first))
    if first:
        observer.draws.append((ref, len(observer.call.draws), None))
    else:
        observer.effects.append(("compute", ref))
    return ref


def _has_array(ref):
    return any(map(_has_array, ref.value)) if ref.kind == "mirror" else ref.kind == "array"


def _is_safe(fn, args):
    """Whether ``fn`` of an array of the same kind can neither fail nor warn, nor give anything of another kind."""
    plain = fn in (float, int, bool, operator.getitem) or isinstance(fn, operator.methodcaller) and _method(fn) in _EXACT
    return plain and (fn is not int or args[0].value.dtype.kind != "f") and all(map(_is_constant, args[1:]))


def _method(caller):
    """The name of the method that a ``methodcaller`` calls."""
    make, args = caller.__reduce__()
    return args[0] if make is operator.methodcaller else make.args[0]


def _is_constant(ref):
    return ref.kind == "static" or ref.kind == "mirror" and all(map(_is_constant, ref.value))


def operand(observer, ref):
    """A Ref as it may stand in a computation."""
    if ref.kind == "arg" and isinstance(ref.value, np.generic) or is_number(ref) and (type(ref.value) is float or is_open(ref)):
        return ref
    ref = observer.use(ref)
    if ref.kind == "static" and type(ref.value) is list and 0 < len(ref.value) <= MOST_MEMBERS:
        ref = Ref("mirror", _members(observer, ref))
    value = ref.value
    if ref.kind == "tail":
        return ref
    if ref.kind == "mirror" and isinstance(value, (list, tuple)):
        return Ref("mirror", type(value)([operand(observer, r) for r in value]))
    if ref.kind == "array":
        pass
    elif isinstance(value, np.ndarray):
        known = ref.kind in ("arg", "state", "view") and ref.source is not None or ref.kind == "fresh" and ref.source and ref.source[0] == "array"
        if ref.kind == "static" and ref.source == ("fixed",) and type(value) is np.ndarray:
            ref = observer.fixed_array(value)
        elif not known or type(value) is not np.ndarray:
            raise Doubt("NumPy on an array whose origin is not known")
    elif ref.kind != "static" or not (is_pure(value) or isinstance(value, np.generic)):
        raise Doubt("NumPy on a value that is not the same on every call")
    if isinstance(value, np.ndarray) and (not 0 < value.size <= LARGEST or value.dtype.kind not in "fiubc"):
        raise Doubt("NumPy on an array that is empty, huge or not of numbers")
    return ref


def _members(observer, ref):
    """The members of a list from outside, as Refs: numbers may be others on every call."""
    box = ref.value
    if id(box) in observer.grown | observer.rewritten or not all([type(v) in (float, int) for v in box]):
        return observer._items(ref)
    observer.guard("length", box, len(box))
    return [observer.overlaid("item", box, k) or observer.loaded(v, ("item", box, k, v)) for k, v in enumerate(box)]


def _may_be_any(observer, fn, ref, args):
    """Whether an int from outside need not be the same on every call: in comparisons, in arithmetic with floats and ints of 64 bits, and in functions that
    give floats, it decides values only, as long as it is small."""
    if ref.kind not in ("arg", "number") or type(ref.value) is not int or sources_of(ref) or not is_small(ref.value):
        return False
    dtypes = [a.value.dtype for a in args if isinstance(a.value, (np.ndarray, np.number))]
    fits = fn in _COMPARING or fn in _WITH_INTS and dtypes[0].kind == "f" or fn in _WITH_INTS_OF_64_BITS and dtypes[0] == np.int64 if dtypes else False
    if not fits and fn not in (_OF_FLOATS if not dtypes else (np.interp,)):
        return False
    observer.guard("bounded", ref, False)
    return True


def varies(ref):
    """Whether a Ref is a small int from outside, or is computed of such, before all else."""
    return ref.kind in ("arg", "number") and type(ref.value) is int and is_small(ref.value) and not sources_of(ref) and not is_open(ref)


def is_place(ref):
    """Whether a Ref is a small int, of Python's or NumPy's, that may be another one on every call, and is known before all else; it may be drawn."""
    whole = ref.kind in ("arg", "number") and type(ref.value) is int or ref.kind == "array" and isinstance(ref.value, np.integer)
    return whole and is_small(ref.value) and not sources_of(ref) and not (ref.kind == "array" and rests_on_constants(ref))


def _opened(observer, ref):
    """A list or tuple from outside as one of Refs, and those within; other Refs as they are."""
    ref = observer.use(ref) if ref.kind in ("arg", "mirror") and type(ref.value) in (list, tuple) else ref
    whole = ref.kind == "mirror" and type(ref.value) in (list, tuple)
    return Ref("mirror", type(ref.value)([_opened(observer, r) for r in ref.value])) if whole else ref


def _parts(ref):
    """What lies in a list or tuple of Refs, and in those within; or the Ref itself."""
    return [part for r in ref.value for part in _parts(r)] if ref.kind == "mirror" and type(ref.value) in (list, tuple) else [ref]


def _is_put_into_array(observer, fn, k, args, kw):
    """Whether an operand of NumPy's is an int, or a list of such, that an array is made of: it may be any that the array's dtype holds; or a bool, or a list of
    such."""
    position, at = _MAKING.get(fn, (None, None))
    parts = _parts(args[k])
    if position == k and parts and all(type(r.value) is bool and r.kind in ("arg", "static") for r in parts):
        for r in [r for r in parts if r.kind == "arg"]:
            observer.guard("typed", r.source, bool)
        return True
    if position != k or not any(map(varies, parts)) or not all(varies(r) or r.kind == "static" and type(r.value) is int for r in parts):
        return False
    dtype = args[at] if len(args) > at else kw.get("dtype", Ref("static", int))
    if dtype.kind != "static" or np.dtype(dtype.value).kind not in "fi":
        return False
    dtype = np.dtype(dtype.value)
    low, high = (-MOST, MOST) if dtype.kind == "f" or dtype.itemsize == 8 else (np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
    for r in filter(varies, parts):
        observer.guard("within", r, low, high)
    return True


def _is_limit(observer, fn, k, args):
    """Whether an argument of a draw is a limit for ints, and any number above the other limit would do as well."""
    name, ref = getattr(fn, "__name__", ""), args[k]
    if k >= LIMITS.get(name, 0) or ref.kind not in ("arg", "number") or not varies(ref) or name != "choice" and k == 0 and len(args) > 1:
        return False
    low = args[0] if k else Ref("static", 0)
    if low.kind != "static" or type(low.value) is not int or ref.value <= low.value:
        return False
    if ref.kind == "arg":
        observer.guard("above", ref.source, low.value, 1 << 31)
    else:
        observer.guard("within", ref, low.value + 1, 1 << 31)
    return True


def is_open(ref):
    """Whether an int may be any on every call: one that is drawn, or found in what the call computes."""
    return ref.kind == "number" and any(isinstance(r.source, Computed) and r.source.drawn or r.kind == "fresh" for r in leaves_of(ref))


def _value(ref):
    return type(ref.value)([_value(r) for r in ref.value]) if ref.kind == "mirror" else ref.value


def calculate(observer, fn, args, kw, keyed=False):
    """The Ref of what a function of NumPy's gives for these Refs. ``keyed``: the second is a key that is known to fit the first."""
    recent = observer.recent_of_whole(args[0]) if args else None
    if recent is not None:
        (before, most), appended = recent.value, recent.source
        fn, args = functools.partial(_of_both, fn, most), [before, appended, *args[1:]]
    if any(name in REFUSED for name in kw):
        raise Doubt("NumPy with unusual arguments")
    if isinstance(fn, np.ufunc) and len(args) != fn.nin or len(args) > (3 if is_method_of_ufunc(fn) else _PLACES.get(id(fn), len(args))):
        raise Doubt("NumPy with unusual arguments")
    if fn in (np.array, np.asarray) and args:
        args = [_opened(observer, args[0]), *args[1:]]
    args = [a if keyed and k or _may_be_any(observer, fn, a, args) or _is_put_into_array(observer, fn, k, args, kw) else operand(observer, a)
            for k, a in enumerate(args)]
    kw = {k: operand(observer, v) for k, v in kw.items()}
    given, named = [*map(_value, args)], {k: _value(v) for k, v in kw.items()}
    fn = without_warnings(fn, given, named)
    value = under({"all": "ignore"}, fn, *given, **named)
    for ref in args:
        if ref.kind != "mirror" and value is ref.value and isinstance(value, np.ndarray):
            return ref
    found = Computed(fn, args, kw, len(observer.call.path), safe=keyed or _is_safe(fn, args))
    ref = _result(value, found)
    _note_uses(observer, found, ref)
    if observer.writes_so_far() and _has_to_wait(observer, found):
        _make_behind(observer, found, ref)
    elif not found.safe:
        _note_failures(observer, ref, found)
    return ref


def _of_both(fn, most, before, appended, *args, **kw):
    """What a function gives for the last members of a list from outside and those that the call has appended; for so many at ``most``."""
    items = before + appended
    return fn(items if most is None else items[len(items) - most:] if len(items) > most else items, *args, **kw)


def _make_behind(observer, found, ref):
    """What has to wait is made after all operations, or before the first change in place if nobody knows of what kind it is going to be."""
    observer.refuse_inside_errstate()
    if (found.safe or _keeps_kind(found.fn) or _chooses_elements(found) or _holds_number(found)) and ref.kind in ("array", "number"):
        found.last = True
        observer.effects.append(("compute", ref))
        return
    if not (observer.has_updated() and observer.can_compute_ahead(ref)):
        observer.compute_at_risk(ref)


def _note_failures(observer, ref, found):
    """What may warn or raise is computed on every call, also if nobody uses it; of constants it comes out as it does now."""
    parts = [*found.args, *found.kw.values()]
    if found.drawn or not all(map(rests_on_constants, parts)):
        observer.computed.append(ref)
        return
    try:
        recompute(found.fn, *map(_value, found.args), **{k: _value(v) for k, v in found.kw.items()})
    except ArithmeticError as error:
        raise Doubt("NumPy warns") from error


def _has_to_wait(observer, found):
    """Whether a computation after a change in place rests on what was changed, or may fail or warn when it is too late to run Python."""
    parts = [*found.args, *found.kw.values()]
    if any(map(is_last, parts)):
        return True
    if any(observer.is_written(a) for part in parts for a in _outside_arrays(part)):
        return True
    return observer.has_updated() and not found.safe and any(map(sources_of, parts))


def _outside_arrays(ref):
    return [r.value for r in below(ref) if r.kind in ("state", "view", "arg", "static") and isinstance(r.value, np.ndarray)]


def _keeps_kind(fn):
    """Whether a function gives arrays and numbers of a kind that those of its operands decide, not their values."""
    if isinstance(fn, operator.methodcaller):
        return _method(fn) in ARRAY_METHODS - {"nonzero", "tolist", "repeat", "take"}
    if isinstance(fn, functools.partial) and fn.func is _of_both:
        return fn.args[0] in (np.mean, np.max, np.min, np.sum, np.std, np.median, sum, max, min)
    return isinstance(fn, np.ufunc) or fn in _OPERATORS or fn is with_elements or fn in CHANGES.values() or id(fn) in _KEEPING


def _chooses_elements(found):
    """Whether an array is made of elements of two others: the places of what is true, which ``np.where`` gives of one argument, are as many as there are."""
    return found.fn is np.where and len(found.args) == 3


def _holds_number(found):
    """Whether an array is made of one float."""
    return found.fn in (np.array, np.asarray) and type(found.args[0].value) is float


def _numbers_of(whole):
    """The Refs of a list of numbers, or of such lists."""
    items = []
    for k, v in enumerate(whole.value):
        found = Computed(operator.getitem, [whole, Ref("static", k)], {}, whole.source.at, safe=True)
        items.append(_numbers_of(Ref("whole", v, found)) if type(v) is list else Ref("number", v, found))
    return Ref("mirror", items)


def _result(value, found):
    """The Ref of what a computation gives."""
    args, kw = found.args, found.kw
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fiubc":
        return Ref("array", value, found)
    if type(value) in (float, int, bool):
        return Ref("static", value) if all(map(rests_on_constants, [*args, *kw.values()])) else Ref("number", value, found)
    if isinstance(found.fn, operator.methodcaller) and _method(found.fn) == "tolist" and np.size(args[0].value) <= MOST_NUMBERS:
        return _numbers_of(Ref("whole", value, found))
    named = is_named_tuple(type(value))
    kinds = (np.ndarray, np.generic) if named else np.ndarray
    if (named or type(value) in (list, tuple)) and len(value) <= 64 and all(isinstance(v, kinds) for v in value):
        whole = Ref("whole", value, found)
        items = [Ref("array", v, Computed(operator.getitem, [whole, Ref("static", k)], {}, found.at)) for k, v in enumerate(value)]
        return Ref("mirror", type(value)._make(items) if named else type(value)(items))
    raise Doubt(f"NumPy gives a {type(value).__name__}")


def with_elements(a, key, value):
    """What an array is after ``a[key] = value``."""
    a = a.copy("K")
    a[key] = value
    return a


def _changed(fn, a, value):
    """What an array is after ``fn``, an operator in place."""
    return fn(a.copy("K"), value)


def _changed_by(fn, a, *args, **kw):
    """What an array is after ``fn(a, ...)``, a function of NumPy's that changes it."""
    a = a.copy("K")
    fn(a, *args, **kw)
    return a


CHANGERS = {id(fn): functools.partial(_changed_by, fn) for fn in (np.fill_diagonal, np.put_along_axis, np.putmask)}
"""ids of functions that change their first argument in place -> what gives a changed copy."""


def changer_of(fn):
    """What gives a changed copy where ``fn``, such as ``np.fill_diagonal`` or ``np.add.at``, changes an array; None for other functions."""
    if is_method_of_ufunc(fn) and fn.__name__ == "at":
        return functools.partial(_changed_by, fn)
    return CHANGERS.get(id(fn))


def is_method_of_ufunc(fn):
    """Whether ``fn`` is such as ``np.add.reduce``."""
    return type(fn) is types.BuiltinFunctionType and isinstance(fn.__self__, np.ufunc) and id(fn.__self__) in _FOUND


def put(a, key, value):
    """``with_elements`` for an array that nothing else needs."""
    a[key] = value
    return a


_AUGMENTED = {f"{symbol}=": (functools.partial(_changed, fn), fn) for symbol, fn in (
    ("+", operator.iadd), ("-", operator.isub), ("*", operator.imul), ("/", operator.itruediv), ("&", operator.iand), ("|", operator.ior),
    ("//", operator.ifloordiv), ("%", operator.imod), ("**", operator.ipow))}
CHANGES = {symbol: changed for symbol, (changed, _) in _AUGMENTED.items()}
IN_PLACE: dict[Any, Callable[..., Any]] = {with_elements: put, **dict(_AUGMENTED.values())}     # what gives a changed copy -> what changes the array itself


def check_own(observer, x):
    """An array that NumPy has made may change in place: nobody else has seen it."""
    found, a = x.source, x.value
    if type(a) is not np.ndarray or a.base is not None or not a.flags.writeable or found.real is not None:
        raise Doubt("changes an array in place that may be seen elsewhere")
    if _is_taken(observer, x):
        raise Doubt("changes an array in place after it has been used")


def change_own(observer, x, fn, args, kw):
    """An array that NumPy has made in this call, and that nobody else has seen, becomes what ``fn`` makes of Refs, ``x`` among them."""
    found = x.source
    check_own(observer, x)
    alone = found.fn in IN_PLACE and fn in IN_PLACE and not observer.uses.get(id(x)) and args.count(x) == 1
    renew(observer, x, Ref("array", x.value, found), fn, args, kw)
    x.source.alone = alone and not x.source.last


def renew(observer, x, old, fn, args, kw):
    """From here on ``x`` stands for what ``fn`` makes of Refs, ``x`` among them; what was computed of it before rests on ``old``, which is what it was."""
    views = _replace_uses(observer, x, old)
    _rename_effect(observer, x, old)
    made = calculate(observer, fn, [_replaced(r, x, old) for r in args], {k: _replaced(r, x, old) for k, r in kw.items()})
    if made.kind != "array" or type(made.value) is not np.ndarray or made.value.shape != x.value.shape or made.value.dtype != x.value.dtype or (
            made.value.strides != x.value.strides):
        raise Doubt("changes an array in place to something else")
    observer.keep += [old, made]
    x.kind, x.value, x.source = made.kind, made.value, made.source
    _view_again(observer, views, x)
    _rename_effect(observer, made, x)
    observer.computed = [x if ref is made else ref for ref in observer.computed]


def _rename_effect(observer, before, after):
    """What is computed after all operations is that of another Ref."""
    observer.effects = [("compute", after) if e[0] == "compute" and e[1] is before else e for e in observer.effects]


def _replace_uses(observer, x, old):
    """What was computed of ``x`` rests on ``old`` from here on. Gives the views of ``x``, which have to be made anew once it is what it becomes."""
    observer.draws = [(old if ref is x else ref, *where) for ref, *where in observer.draws]
    views = []
    for computed, ref in observer.uses.pop(id(x), ()):
        if isinstance(ref.value, np.ndarray) and np.may_share_memory(ref.value, x.value):
            views.append(_kept_view(observer, ref, x))
        computed.args = [_replaced(r, x, old) for r in computed.args]
        computed.kw = {k: _replaced(r, x, old) for k, r in computed.kw.items()}
    return views


def _kept_view(observer, ref, x):
    """A view of an array ``x`` that is going to change: what was computed of it rests on another Ref of what it was."""
    found = ref.source
    if ref.kind != "array" or found.fn is not operator.getitem or found.args[0] is not x or found.real is not None or found.last or (
            _is_taken(observer, ref)):
        raise Doubt("changes an array in place of which there are views")
    old = Ref("array", ref.value, found)
    observer.keep += [ref, old]
    if _replace_uses(observer, ref, old):
        raise Doubt("changes an array in place of which there are views of views")
    return ref


def _view_again(observer, views, x):
    """Views of ``x`` are views of what it is now."""
    if views and x.source.last:
        raise Doubt("changes an array in place of which there are views, after an update")
    for ref in views:
        key = ref.source.args[1]
        found = Computed(operator.getitem, [x, key], {}, len(observer.call.path), safe=ref.source.safe)
        ref.source, ref.value = found, x.value[_value(key)]
        _note_uses(observer, found, ref)


def _is_taken(observer, x):
    return id(x) in observer.taken or any(x is part for fact in observer.guards.values() for part in fact)


def _replaced(ref, x, old):
    if ref.kind == "mirror":
        return Ref("mirror", type(ref.value)([_replaced(r, x, old) for r in ref.value]))
    return old if ref is x else ref


def _note_uses(observer, found, ref):
    """Which computations take an array, and what they give."""
    stack = [*found.args, *found.kw.values()]
    while stack:
        part = stack.pop()
        if part.kind == "mirror":
            stack += part.value
        elif part.kind in ("array", "fresh"):
            observer.keep.append(part)
            given = ref.value if ref.kind == "mirror" else (ref,)
            observer.uses.setdefault(id(part), []).extend((found, r) for r in given)


def is_number(ref):
    """Whether a Ref is a Python number that may differ from call to call."""
    return ref.kind in ("arg", "hole", "number") and type(ref.value) in (int, float)


def below(ref, opened=lambda found: True):
    """What a Ref rests on, each once, and itself: what lies in containers and objects, and operands of the computations that are ``opened``."""
    stack, seen = [ref], set()
    while stack:
        r = stack.pop()
        if id(r) in seen:
            continue
        seen.add(id(r))
        yield r
        if r.kind == "mirror":
            stack += r.value.values() if isinstance(r.value, dict) else r.value
        elif r.kind == "object":
            stack += r.value.attrs.values()
        elif isinstance(r.source, Computed) and opened(r.source):
            stack += [*r.source.args, *r.source.kw.values()]


def leaves_of(ref):
    """What a computed number rests on that is not the same on every call: numbers and arrays from outside, draws."""
    return [r for r in below(ref, lambda found: not found.drawn) if r.kind != "mirror" and (r.source.drawn if isinstance(r.source, Computed) else
                                                                                            r.kind != "static" or isinstance(r.value, np.ndarray))]


def combine(observer, fn, *args):
    """Python's arithmetic on numbers: any on those from outside, which is done before all else, and on what was read from Variables as long as nothing has
    been written; after that only such as cannot fail."""
    late, safe, ahead = any(map(sources_of, args)), False, False
    waits = any(map(is_last, args))
    if late:
        args = [observer.use(r) if r.kind == "arg" and type(r.value) is int and not observer._counts(r) else r for r in args]
        safe = _cannot_fail(observer, fn, args)
        ahead = not safe and (waits or observer.has_updated())
    try:
        value = fn(*[r.value for r in args])
    except ArithmeticError as error:
        raise Doubt("an exception is raised") from error
    if type(value) not in (int, float, bool):
        raise Doubt(f"computes a {type(value).__name__} of numbers")
    ref = Ref("number", value, Computed(fn, list(args), {}, len(observer.call.path), safe=safe or fn in SAME_TYPE))
    if ahead and observer.can_compute_ahead(ref):
        observer.computed.append(ref)
    elif ahead:
        observer.compute_at_risk(ref)
    elif waits:
        ref.source.last = True
        observer.effects.append(("compute", ref))
    elif not safe and (fn not in CANNOT_FAIL or fn is operator.truediv or len({type(r.value) for r in args}) > 1):
        observer.computed.append(ref)
    return ref


def _cannot_fail(observer, fn, args):
    """Whether arithmetic gives a number of a known type, whatever was read: on floats and ints that no float is too small for. That ints are small, and
    divisors from outside not zero, is looked at before all else."""
    if fn not in CANNOT_FAIL or any(type(r.value) not in (int, float) or r.kind == "static" and not is_small(r.value) for r in args):
        return False
    early = [not sources_of(r) and r.kind in ("arg", "number") for r in args]
    divides = fn is operator.truediv
    if any(type(r.value) is int and not soon and _bits(observer, r) > MOST_BITS for r, soon in zip(args, early, strict=True)) or divides and not (
            early[1] and args[1].value or args[1].kind == "static" and args[1].value):
        return False
    for k, (ref, soon) in enumerate(zip(args, early, strict=True)):
        if soon and (type(ref.value) is int or divides and k == 1):
            observer.guard("bounded", ref, divides and k == 1)
    return True


def _bits(observer, ref):
    """How many bits an int has at most, on any call: one that the call counts in its arrays, or adds up of such."""
    if id(ref) not in observer.bits:
        observer.keep.append(ref)
        observer.bits[id(ref)] = _bits_of(observer, ref)
    return observer.bits[id(ref)]


def _bits_of(observer, ref):
    if ref.kind == "static":
        return ref.value.bit_length() if type(ref.value) is int else UNKNOWN
    if ref.kind in ("arg", "number") and type(ref.value) is int and not sources_of(ref):
        return MOST.bit_length()       # which is looked at
    if ref.kind == "hole":
        return BITS.get(ref.source[2].dtype.kind, UNKNOWN)
    if not isinstance(ref.source, Computed) or not ref.source.args:
        return UNKNOWN
    fn, args = ref.source.fn, ref.source.args
    if fn is int or isinstance(fn, operator.methodcaller) and _method(fn) == "item":
        return BITS.get(args[0].value.dtype.kind, UNKNOWN) if isinstance(args[0].value, (np.ndarray, np.generic)) else UNKNOWN
    found = [_bits(observer, r) for r in args] if fn in SUMS or fn is operator.mul else [UNKNOWN]
    return sum(found) if fn is operator.mul else max(found) + 1


def is_small(value):
    """Whether arithmetic on a Python number cannot leave the numbers that floats hold exactly."""
    return type(value) is float or abs(value) < MOST


def rests_on_constants(ref):
    """Whether a value is the same on every call."""
    return all(not r.source.drawn if isinstance(r.source, Computed) else r.kind in ("mirror", "static") for r in below(ref))


def is_always(ref, user):
    """Whether ``ref`` is a small array that NumPy makes of constants, and that the computation ``user`` only reads."""
    if ref.kind != "array" or user.source.alone or ref.value.nbytes > MOST_CONSTANT or not rests_on_constants(ref):
        return False
    given = user.value if isinstance(user.value, (list, tuple)) else (user.value,)
    computed = [r.source for r in below(ref) if isinstance(r.source, Computed)]
    return not any(np.may_share_memory(v, ref.value) for v in given if isinstance(v, np.ndarray)) and all(
        not found.last and (is_array_function(found.fn) or isinstance(found.fn, operator.methodcaller) or found.fn in _OPERATORS) for found in computed)


def folded(ref):
    """``ref`` as a constant, if it is an int that NumPy makes of constants."""
    return Ref("static", ref.value) if ref.kind == "array" and isinstance(ref.value, np.integer) and rests_on_constants(ref) else ref


def identify(observer, ref, x):
    """``x`` is what the user's program has where the observer has ``ref``."""
    if ref.kind == "mirror" and isinstance(ref.value, (list, tuple)) and type(x) is type(ref.value) and len(x) == len(ref.value):
        for r, v in zip(ref.value, x, strict=True):
            identify(observer, r, v)
    elif ref.kind == "array" and ref.source.real is None:
        y = ref.value
        if type(x) is not type(y) or x.shape != y.shape or x.dtype != y.dtype or x.strides != y.strides or x.tobytes() != y.tobytes():
            raise Doubt("an array of the program's differs from what NumPy made for the observer")
        ref.source.real = x
        observer.keep.append(x)
        known = observer.origins.setdefault(id(x), ref)
        if known is not ref:
            _stay_one(observer, known, ref)


def _stay_one(observer, known, ref):
    """The path knows what was computed as one of its operands, as which ``min`` and ``max`` give it; it has to be that one on every call."""
    if observer.writes_so_far():
        raise Doubt("one of several numbers is chosen after a change in place")
    observer.guard("outcome", Ref("number", True, Computed(operator.is_, [known, ref], {}, len(observer.call.path), safe=True)), True)


def sources_of(ref):
    """What the call itself makes or reads that a computed value rests on, and numbers that are drawn once it has."""
    return [r for r in below(ref) if r.kind in ("fresh", "hole") or isinstance(r.source, Computed) and (r.source.last or r.source.behind)]


def is_last(ref):
    """Whether a computed value rests on what is made after all operations."""
    return any(isinstance(r.source, Computed) and r.source.last for r in below(ref))


def recompute(fn, *args, **kw):
    """What the program would compute; raises where NumPy would warn or raise, so that the program itself does it where it belongs."""
    return strictly(functools.partial(fn, **kw) if kw else fn, *args)


def missed(error, miss):
    """``miss``, for a computation that failed; what a signal's handler raised goes on. To look for that takes longer than most plans."""
    if type(error) is Unexpected:
        return miss
    if raised_by_signal(error):
        raise error
    as_defect(error)
    return miss


def as_defect(error):
    """The error, if the text of a plan is wrong, else None; tests are to see it."""
    if not isinstance(error, NameError):
        return None
    if os.environ.get("HYBRIDNN_STRICT"):
        raise error
    return error
