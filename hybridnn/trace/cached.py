"""What a function that ``functools.lru_cache`` wraps has found before, without asking it: it counts who asks, and remembers in what order.

CPython tells the collector what such a wrapper holds: a dict from keys to results, or to links that hold one, and the keys and results of the links in turn.
"""
import functools
import gc
import itertools

from hybridnn.trace.refs import is_pure

__all__ = ["LRU", "is_found", "key_of", "known_result"]

LRU = type(functools.lru_cache(int))
LINK = "_lru_list_elem"
NOTHING = object()


def key_of(wrapper, args):
    """The key of a call with these arguments, which are constants; None if it has another form."""
    if wrapper.cache_parameters()["typed"]:
        return None
    return args[0] if len(args) == 1 and type(args[0]) in (int, str) else tuple(args)


def known_result(wrapper, key):
    """(the dict of the cache, what is there under the key, the key as it stands beside the result or None, the result); None if it is not found."""
    held = gc.get_referents(wrapper)
    bounded = wrapper.cache_parameters()["maxsize"] is not None
    for table in [x for x in held if type(x) is dict and x is not wrapper.__dict__]:
        entry = table.get(key, NOTHING)
        if entry is NOTHING or bounded is not (type(entry).__name__ == LINK):
            continue
        if not bounded:
            return table, entry, None, entry
        beside = [(k, result) for k, result in itertools.pairwise(held) if is_pure(k) and k == key]
        return (table, entry, *beside[0]) if len(beside) == 1 else None
    return None


def is_found(wrapper, key, table, entry, beside, result):
    """Whether the result is still the one that the wrapper would give."""
    if table.get(key, NOTHING) is not entry:
        return False
    if beside is None:
        return True
    held = gc.get_referents(wrapper)
    return any([x is result and held[i - 1] is beside for i, x in enumerate(held)])
