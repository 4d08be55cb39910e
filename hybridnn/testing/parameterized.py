"""Test classes with parameters, and products of parameters."""
import functools
import itertools
import types
import unittest

from hybridnn.testing.bundle import make_decorator

__all__ = ["from_pytest_parameterize", "parameterize", "parameterize_pytest", "product", "product_dict"]


def parameterize(*params):
    """Class decorator: one test class per dict of ``params``, with the dict's items as attributes."""
    return make_decorator(lambda base: (_case(base, i, param) for i, param in enumerate(params)))


def _case(base, i, param):
    members = {k: _as_member(v) for k, v in param.items()}
    members["__str__"] = lambda self: f"{base.__str__(self)}  parameter: {param}"
    return _class_name(base.__name__, i, param), members, functools.partial(_with_note, base, param)


def _as_member(value):
    """A function is called without the instance, as it would be in the dict."""
    return staticmethod(value) if isinstance(value, types.FunctionType) else value


def _class_name(base, i, param):
    text = ", ".join(f"{k}={_shorten(_show(v), 100)}" for k, v in sorted(param.items()))
    return f"{base}_param_{i}_{{{_shorten(text, 5000)}}}"


def _show(value):
    name = getattr(value, "__name__", None)
    return name if isinstance(name, str) else repr(value)


def _shorten(text, limit):
    before, after = (limit - 3) // 2, (limit - 2) // 2
    return text if len(text) <= limit else f"{text[:before]}...{text[-after:]}"


def _with_note(base, param, method):
    @functools.wraps(method)
    def run(self, *args, **kwargs):
        try:
            return method(self, *args, **kwargs)
        except unittest.SkipTest:
            raise
        except Exception as error:
            shown = ", ".join(f"{k}={v!r}" for k, v in sorted(param.items()))
            error.add_note(f"{base.__name__}.{method.__name__} with {shown}")
            raise
    return run


def from_pytest_parameterize(names, values):
    """Dicts from names as ``"a,b"`` and a list of tuples (of single values if there is one name)."""
    names = [n.strip() for n in names.split(",")]
    return [{names[0]: v} if len(names) == 1 else dict(zip(names, v, strict=True)) for v in values]


def parameterize_pytest(names, values):
    """``parameterize`` with the arguments of ``pytest.mark.parametrize``."""
    return parameterize(*from_pytest_parameterize(names, values))


def product(parameter):
    """All combinations of a dict of lists (a key may be ``"a,b"`` with a list of tuples), or of a list of lists of dicts."""
    if isinstance(parameter, dict):
        return product_dict(*[from_pytest_parameterize(names, values) for names, values in sorted(parameter.items())])
    if not isinstance(parameter, list):
        raise TypeError(f"product takes a dict or a list, not {type(parameter).__name__}")
    if not all(isinstance(group, list) and all(isinstance(d, dict) for d in group) for group in parameter):
        raise TypeError("product takes a list of lists of dicts")
    return product_dict(*parameter)


def product_dict(*parameters):
    """All unions of one dict of each list."""
    return [{k: v for d in dicts for k, v in d.items()} for dicts in itertools.product(*parameters)]


# Chainer's tests put ``_pairwise_product_dict`` in the place of ``product_dict`` while they are collected, and this back.
_product_dict_orig = product_dict


def _pairwise_product_dict(*parameters):
    """Some of ``product_dict``'s combinations, in its order, in which each two dicts of two lists meet at least once."""
    lists = [list(dicts) for dicts in parameters]
    if len(lists) <= 2:
        return _product_dict_orig(*lists)
    rows = sorted(_nd_indices_to_cover_each_2d([len(dicts) for dicts in lists]))
    return [{k: v for dicts, i in zip(lists, row, strict=True) for k, v in dicts[i].items()} for row in rows]


def _nd_indices_to_cover_each_2d(lengths):
    """Tuples of indices below ``lengths``, until each pair of (position, index) was seen: greedily, the longest positions first."""
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    sides = [[(rank, index) for index in range(lengths[position])] for rank, position in enumerate(order)]
    unseen = {pair for left, right in itertools.combinations(sides, 2) for pair in itertools.product(left, right)}
    while unseen and all(lengths):
        row = dict(min(unseen))
        for rank, side in enumerate(sides):
            if rank not in row:
                row[rank] = max(side, key=lambda item: sum(tuple(sorted((item, other))) in unseen for other in row.items()))[1]
        unseen.difference_update(itertools.combinations(sorted(row.items()), 2))
        yield tuple(row[order.index(position)] for position in range(len(lengths)))
