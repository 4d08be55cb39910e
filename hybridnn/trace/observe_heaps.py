"""``heapq`` and ``bisect.insort`` on lists that the program makes during the call, as the observer follows them."""
import bisect
import functools
import heapq
import operator

from hybridnn.trace.arithmetic import combine
from hybridnn.trace.calculations import calculate, chosen
from hybridnn.trace.computed import is_number
from hybridnn.trace.refs import Doubt, constant, mirror

__all__ = ["CHOOSING", "ORDERING", "Compared", "Heaps"]

ORDERING = frozenset([heapq.heapify, heapq.heappush, heapq.heappop, heapq.heappushpop, heapq.heapreplace, bisect.insort_left, bisect.insort_right])
CHOOSING = frozenset([heapq.nlargest, heapq.nsmallest])       # written in Python


class Compared:
    """An item of such a list, for the functions themselves."""
    __slots__ = ("observer", "ref")

    def __init__(self, observer, ref):
        self.observer, self.ref = observer, ref

    def __lt__(self, other):
        return _is_less(self.observer, self.ref, other.ref)

    def __gt__(self, other):
        return _is_less(self.observer, other.ref, self.ref)

    def __eq__(self, other):
        return _is_equal(self.observer, self.ref, other.ref)


class Heaps:
    """Calls of these."""

    def order_list(self, fn, args, kw):
        """The call of a function that changes a list, or gives a member of it, as it compares them."""
        box = self.use(args[0])
        if kw or box.kind != "mirror" or box.source is not None or type(box.value) is not list or len(args) > 2:
            raise Doubt(f"{fn.__name__}() of a list that came from outside, or with unusual arguments")
        if fn in (heapq.heappop, heapq.heapreplace) and not box.value:
            raise Doubt("an exception is raised")
        items = [Compared(self, r) for r in box.value]
        found = fn(items, *[Compared(self, r) for r in args[1:]])
        box.value[:] = [c.ref for c in items]
        return constant(None) if found is None else found.ref

    def choose_items(self, fn, args, kw):
        """``heapq.nlargest`` or ``nsmallest``."""
        if kw or len(args) != 2:
            raise Doubt(f"{fn.__name__}() with a key")
        self.guard("function", fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__)
        n, items = self.plain(args[0]), self._items(args[1])
        if type(n) is not int:
            raise Doubt("an exception is raised")
        kinds = {type(r.value) for r in items}
        if self._computes_numbers(*items) and len(kinds) == 1:
            return calculate(self, functools.partial(chosen, functools.partial(fn, n)), [mirror(list, items)], {})
        return mirror(list, [c.ref for c in fn(n, [Compared(self, r) for r in items])])


def _is_less(observer, x, y):
    """``x < y`` where no code of the user's runs: of constants, of numbers, whose order belongs to the path, and of tuples and lists of these."""
    x, y = _opened(observer, x), _opened(observer, y)
    if x.kind == y.kind == "mirror" and type(x.value) is type(y.value):
        for a, b in zip(x.value, y.value):
            if not _is_equal(observer, a, b):
                return _is_less(observer, a, b)
        return len(x.value) < len(y.value)
    if observer._computes_numbers(x, y):
        return _decided(observer, operator.lt, x, y)
    return observer.plain(x) < observer.plain(y)


def _is_equal(observer, x, y):
    x, y = _opened(observer, x), _opened(observer, y)
    if x is y:
        return True
    if x.kind == y.kind == "mirror" and type(x.value) is type(y.value):
        return len(x.value) == len(y.value) and all(_is_equal(observer, a, b) for a, b in zip(x.value, y.value, strict=True))
    if observer._computes_numbers(x, y):
        return _decided(observer, _same_or_equal, x, y)
    x, y = observer.plain(x), observer.plain(y)
    if x != x or y != y:
        raise Doubt("compares NaN, which may be one object")
    return x == y


def _opened(observer, ref):
    """A number as it is, a tuple as one of Refs."""
    if is_number(ref):
        return ref
    ref = observer.use(ref)
    return mirror(tuple, map(constant, ref.value)) if ref.kind == "static" and type(ref.value) is tuple else ref


def _same_or_equal(x, y):
    """As tuples compare their members: NaN, too, is equal to itself."""
    return x is y or x == y


def _decided(observer, fn, x, y):
    """How two numbers compare, of which one at least may be another one on the next call."""
    found = combine(observer, fn, x, y)
    if not observer.decides(found):
        raise Doubt("compares numbers of which it is not known how they come about")
    return found.value
