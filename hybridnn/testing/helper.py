"""Warnings, mocks, requirements."""
import contextlib
import importlib
import importlib.metadata
import re
import unittest
import unittest.mock
import warnings

__all__ = ["assert_warns", "patch", "with_requires", "without_requires"]

_CONDITION = r"\s*(?:==|!=|<=|>=|~=|<|>)\s*\w+(?:\.\w+)*(?:\.\*)?\s*"


@contextlib.contextmanager
def assert_warns(expected):
    """The block has to raise a warning of class ``expected``; all its warnings are swallowed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    if not any(isinstance(w.message, expected) for w in caught):
        raise AssertionError(f"no {expected.__name__} was raised; seen: {', '.join(str(w.message) for w in caught) or 'none'}")


def with_requires(*requirements):
    """Skip the test unless all these packages are installed (``"scipy>=1.0"``)."""
    return unittest.skipUnless(_met(requirements), f"requires: {','.join(requirements)}")


def without_requires(*requirements):
    """Skip the test if all these packages are installed."""
    return unittest.skipIf(_met(requirements), f"runs without: {','.join(requirements)}")


def _met(requirements):
    return all(_met_one(r) for r in requirements)


def _met_one(requirement):
    found = re.fullmatch(rf"\s*([\w.-]+)\s*({_CONDITION}(,{_CONDITION})*)?", requirement)
    if found is None:
        raise ValueError(f"requirement {requirement!r}: expected a package and conditions like 'numpy>=1.20,!=1.22.*'")
    try:
        version = importlib.metadata.version(found[1])
    except importlib.metadata.PackageNotFoundError:
        return False
    return all(_compare(version, *c) for c in re.findall(r"([=!<>~]+)\s*([\w.*]+)", found[2] or ""))


def _compare(version, symbol, bound):
    a, b = [[int(n) for n in re.findall(r"\d+", v)][:3] for v in (version, bound)]
    known = len(b) - (symbol == "~=")
    a, b = [[*v, 0, 0, 0][:3] for v in (a, b)]
    like = a[:known] == b[:known]
    equal = like if bound.endswith(".*") else a == b
    return {"==": equal, "!=": not equal, "<=": a <= b, ">=": a >= b, "<": a < b, ">": a > b, "~=": like and a >= b}[symbol]


def patch(target, *args, **kwargs):
    """``unittest.mock.patch`` with a mock that calls the original unless ``wraps`` says otherwise.

    Args:
        target: the object's full name, ``"module.name"``.
    """
    if "wraps" not in kwargs:
        kwargs["wraps"] = _find(target)
    return unittest.mock.patch(target, *args, **kwargs)


def _find(name):
    module, _, rest = name.partition(".")
    found = importlib.import_module(module)
    for part in rest.split("."):
        found = getattr(found, part)
    return found
