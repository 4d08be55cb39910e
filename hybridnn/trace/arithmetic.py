"""Python's arithmetic on numbers in a followed function."""
import operator

import numpy as np

from hybridnn.trace.computed import Computed, is_last, sources_of
from hybridnn.trace.free_numbers import MOST, is_small
from hybridnn.trace.numpy_functions import CANNOT_FAIL, SAME_TYPE, called_method
from hybridnn.trace.refs import Doubt, Ref

__all__ = ["combine"]

BITS = {"b": 1, "i": 63, "u": 64}      # of elements of arrays
MOST_BITS, UNKNOWN = 1000, 1 << 20     # floats hold ints of 1023 bits, rounded
SUMS = (operator.add, operator.sub, operator.neg, operator.pos, abs, min, max)


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
    if fn not in CANNOT_FAIL or any(type(r.value) not in (int, float, bool) or r.kind == "static" and not is_small(r.value) for r in args):
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
    if type(args[0].value) is bool:
        return 1
    if fn is int or isinstance(fn, operator.methodcaller) and called_method(fn) == "item":
        return BITS.get(args[0].value.dtype.kind, UNKNOWN) if isinstance(args[0].value, (np.ndarray, np.generic)) else UNKNOWN
    found = [_bits(observer, r) for r in args] if fn in SUMS or fn is operator.mul else [UNKNOWN]
    return sum(found) if fn is operator.mul else max(found) + 1
