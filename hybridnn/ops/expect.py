"""Checks that the functions share: what an argument has to be, and the text when it is not."""

import operator

from hybridnn.errors import InvalidType
from hybridnn.spec import spec_of

__all__ = ["axis_tuple", "class_labels", "describe", "expect", "expect_arrays", "expect_choice", "expect_float", "label_hint", "tuple_of"]


def describe(**named):
    """``"x: float32[2,3], W: float32[4,3]"`` for the text of an error."""
    return ", ".join(f"{k}: {spec_of(v) if hasattr(v, 'shape') else repr(v)}" for k, v in named.items())


def expect(condition, op, expected, hint="", **named):
    """Raise ``InvalidType`` with the named arguments' shapes unless ``condition`` holds. ``hint``: a text, or a function that makes it."""
    if not condition:
        raise InvalidType(op, expected, describe(**named), hint() if callable(hint) else hint)


def expect_arrays(op, **named):
    """Raise unless every named argument is an array or a Variable."""
    for x in named.values():
        if not hasattr(x, "shape"):
            raise InvalidType(op, "arrays or Variables", ", ".join([f"{name}: {type(x).__name__}" for name, x in named.items()]),
                              "numpy.asarray(x, 'float32') makes an array of what holds numbers")


def expect_float(op, **named):
    """Raise unless every named argument is an array, or a Variable, of a floating dtype."""
    try:
        wrong = [name for name, x in named.items() if x.dtype.kind not in "fV"]
    except AttributeError:
        expect_arrays(op, **named)
        raise
    if wrong:
        raise InvalidType(op, f"{wrong[0]} of a floating dtype", describe(**{wrong[0]: named[wrong[0]]}), "x.astype('float32') converts it")


def expect_choice(op, name, value, choices):
    """Raise unless ``value`` is one of the strings in ``choices``."""
    if value not in choices:
        raise InvalidType(op, f"{name} as one of {', '.join(map(repr, choices))}", f"{name}={value!r}")


def tuple_of(value, n, op, name):
    """``n`` ints from an int or a sequence of ``n`` of them (stride, pad and their like)."""
    values = tuple(value) if hasattr(value, "__iter__") else (value,) * n
    if len(values) != n:
        raise InvalidType(op, f"{name} as one int or {n} of them", f"{name}={value!r}")
    return tuple([operator.index(v) for v in values])


def axis_tuple(axis, ndim, op):
    """``axis`` (an int, several, or None for all) as a sorted tuple of non-negative ints without repeats."""
    if axis is None:
        return tuple(range(ndim))
    try:
        axes = (operator.index(axis),)
    except TypeError:
        axes = tuple(axis)
    if any(not -ndim <= a < ndim for a in axes) or len({a % ndim for a in axes}) != len(axes):
        raise InvalidType(op, f"distinct axes between {-ndim} and {ndim - 1}", f"axis={axis!r}")
    return tuple(sorted(operator.index(a) % ndim for a in axes))


def label_hint(x, t):
    """What to do about labels ``t`` that do not fit scores ``x`` (n, classes, ...)."""
    if t.dtype.kind == "f" and x.dtype.kind in "iu":
        return "scores come first, labels second"
    if len(x.shape) < 2:
        return "scores have an axis of classes, the second"
    if t.dtype.kind == "f":
        return "class numbers are integers: t.astype('int32')"
    if t.shape == x.shape:
        return "t.argmax(axis=1) makes class numbers of rows that have a one for the class"
    if len(t.shape) == len(x.shape) > 1 and t.shape[1] == 1:
        return "t[:, 0] has one axis less"
    return ""


def class_labels(xp, t, classes, ignore_label, op, what="label", hint="labels are class numbers: the size of the class axis bounds them"):
    """(labels with 0 where ignored, mask of those that count or None); raises if a label that counts is not in
    ``range(classes)``.
    """
    valid = None if ignore_label is None else t != ignore_label
    safe = t if valid is None else xp.where(valid, t, t.dtype.type(0))
    # As unsigned integers negative labels are huge: one comparison serves both ends.
    if safe.size and safe.view(f"u{safe.dtype.itemsize}").max() >= classes:
        wrong = safe[(safe < 0) | (safe >= classes)].reshape(-1)[0]
        raise InvalidType(
            op,
            f"{what}s from 0 to {classes - 1}" + ("" if valid is None else f", or ignore_label={ignore_label}"),
            f"{what} {wrong}",
            hint,
        )
    return safe, valid
