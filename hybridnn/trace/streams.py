"""Random streams: which functions and methods draw from one, and where it stands."""
import random
import types
from collections.abc import Callable

import numpy as np

__all__ = ["OTHER_STREAMS", "draws", "is_draw", "is_stream", "put_stream_back", "stream_of", "stream_state"]

_OF_BOTH = (
    "beta", "binomial", "chisquare", "choice", "dirichlet", "exponential", "gamma", "geometric", "gumbel", "hypergeometric", "laplace", "logistic",
    "lognormal", "logseries", "multinomial", "multivariate_normal", "negative_binomial", "noncentral_chisquare", "normal", "pareto", "permutation",
    "poisson", "power", "random", "rayleigh", "standard_cauchy", "standard_exponential", "standard_gamma", "standard_normal", "standard_t", "triangular",
    "uniform", "vonmises", "wald", "weibull", "zipf")
_DRAWS = {id(fn): fn for fn in (getattr(np.random, name) for name in (*_OF_BOTH, "rand", "randint", "randn", "random_sample"))}
_METHODS = frozenset([*_OF_BOTH, "integers", "permuted", "rand", "randint", "randn", "random_sample", "shuffle"])
_OF_PYTHON = frozenset([
    "betavariate", "choice", "choices", "expovariate", "gauss", "getrandbits", "lognormvariate", "normalvariate", "randint", "random", "randrange", "sample",
    "shuffle", "triangular", "uniform"])
STREAMS = np.random.Generator, np.random.RandomState, random.Random      # the first two are written in C: nobody replaces their methods
OTHER_STREAMS: dict[type, tuple[Callable, Callable]] = {}      # class of objects that give something new on every call -> where one stands, how it goes back


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
