"""When plain values are the very same. ``1 == 1.0 == True`` and ``0.0 == -0.0``, but an operation may refuse one of them, or compute something else."""
import functools

import numpy as np

__all__ = ["checker", "exact"]

_MOST_LEAVES = 24      # of attributes that are compared by text of their own


def exact(x):
    """A key that is equal for values of the same types and bits: numbers of Python's and NumPy's, arrays, and what Python's own containers make of them."""
    kind = type(x)
    if kind is tuple or kind is list:
        return kind, *map(exact, x)
    if kind is frozenset:
        return kind, frozenset(map(exact, x))
    if kind is slice:
        return kind, exact(x.start), exact(x.stop), exact(x.step)
    if kind is dict:
        return kind, *[(exact(k), exact(v)) for k, v in x.items()]
    if kind is float or kind is complex:
        return kind, repr(x)
    if kind is np.ndarray or isinstance(x, np.generic):
        return kind, x.shape, x.dtype, x.tobytes()
    return kind, x


def checker(attrs):
    """A function that tells whether attributes equal to these (``==``) are the very same."""
    leaves = []
    pattern = tuple([(name, _pattern(x, leaves)) for name, x in attrs.items()])
    if None in leaves or len(leaves) > _MOST_LEAVES:
        known = exact(attrs)
        return lambda given: exact({name: given[name] for name in attrs}) == known
    return _written(pattern)


def _pattern(x, leaves):
    """What ``_test`` needs to know of a value; adds an entry to ``leaves``, which is None where that is not enough."""
    kind = type(x)
    if kind is tuple:
        return tuple([_pattern(item, leaves) for item in x])
    plain = kind in (bool, int, float, str, type(None), type(...)) or isinstance(x, np.dtype)
    leaves.append(kind if plain else None)
    return repr(x) if kind is float and x == 0 else kind


@functools.lru_cache(1024)
def _written(pattern):
    names = {"__name__": __name__}
    tests = [test for name, form in pattern for test in _tests(f"given[{name!r}]", form, names)]
    return eval(compile(f"lambda given: {' and '.join(tests) or True}", f"{__file__} (checker)", "eval"), names)      # a file of the library, not of the user


def _tests(text, form, names):
    """Conditions that hold if what is read by a text, and is equal to a value of this form, is of the same types, with zeros of the same signs."""
    if type(form) is tuple:
        return [f"type({text}) is tuple", *[test for k, part in enumerate(form) for test in _tests(f"{text}[{k}]", part, names)]]
    if type(form) is str:
        return [f"type({text}) is float and repr({text}) == {form!r}"]
    name = f"kind{len(names)}"
    names[name] = form
    return [f"type({text}) is {name}"]
