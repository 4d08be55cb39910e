"""Exceptions that functions catch: of what is not there."""
import collections
import sys
from collections import OrderedDict, deque
from types import SimpleNamespace

import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


class Own(KeyError):
    pass


class Fields:
    __slots__ = ("a", "b")

    def __init__(self, a):
        self.a = a


def looked_up(y, s):
    try:
        w = s.table["scale"]
    except KeyError:
        w = 0.5
    return y * w


def by_else(y, s):
    try:
        w = s.table["scale"]
    except (IndexError, KeyError) as error:
        w, kept = 0.25, [error]
        del kept
    else:
        w = w * 2
    finally:
        s.n += 1
    return y * w, s.n


def returned(y, s):
    for k in ("a", "scale", "b"):
        try:
            return y * s.table[k], k
        except KeyError:
            continue
    return y


def nested(y, s):
    try:
        try:
            w = s.table["scale"]
        except IndexError:
            w = 7.0
    except LookupError:
        try:
            w = s.other
        except AttributeError:
            w = 3.0
    return y * w


def of_objects(y, s):
    made, found = Fields(2.0), []
    for obj, name in ((s, "scale"), (made, "b"), (made, "c"), (made, "a")):
        try:
            found.append(getattr(obj, name))
        except AttributeError:
            found.append(None)
    try:
        found.append(made.b)
    except AttributeError:
        made.b = 5.0
    return y * made.b, found


def of_lists(y, s):
    stack, empty, found = [y], deque(), []
    for box in (stack, empty, {}, OrderedDict(a=1), (1,)):
        try:
            found.append(box[1] if type(box) is not deque else box.pop())
        except IndexError:
            found.append("index")
        except KeyError:
            found.append("key")
    try:
        while True:
            found.append(stack.pop())
    except IndexError:
        pass
    return found


def of_iterators(y, s):
    it, found = iter([1, y]), []
    try:
        while True:
            found.append(next(it))
    except StopIteration:
        found.append("end")
    return found


def in_generator(y, s):
    def weights():
        for k in ("a", "scale"):
            try:
                yield s.table[k]
            except KeyError:
                yield 4.0
    return [y * w for w in weights()]


def in_blocks(y, s):
    try:
        with hnn.no_backprop_mode():
            z = y * 2
            return z * s.table["scale"]
    except KeyError:
        return z


def looks_at_it(y, s):
    try:
        w = s.table["scale"]
    except KeyError as error:
        return y, error.args, type(error).__name__, str(error)
    return y * w


def asks_for_it(y, s):
    try:
        w = s.table["scale"]
    except KeyError:
        w = 1.0 if sys.exc_info()[0] is KeyError else 2.0
    return y * w


def raises_another(y, s):
    try:
        return y * s.table["scale"]
    except KeyError as error:
        raise ValueError("no scale") from error


def not_caught(y, s):
    try:
        return y * s.table["scale"]
    except (IndexError, Own):
        return y


def helper(s):
    return s.table["scale"]


def in_a_helper(y, s):
    try:
        return y * helper(s)
    except KeyError:
        return y * 6


def makes_it(y, s):
    try:
        w = s.cache[y.shape]
    except KeyError:
        w = s.cache[y.shape] = 2.0
    return y * w


def of_maps(y, s):
    return y * collections.ChainMap({"a": 1}, s.table, {"scale": 9.0})["scale"]


SKIPPED = [looked_up, by_else, returned, nested, of_objects, of_lists, of_iterators, in_generator, makes_it, of_maps]


@pytest.mark.parametrize("body", [*SKIPPED, in_blocks, looks_at_it, asks_for_it, raises_another, not_caught, in_a_helper])
def test_caught(mode, body):
    def make(wrap):
        s = SimpleNamespace(table={"z": 1.0}, n=0, cache={})
        f = wrap(lambda x: body(F.exp(x), s))

        def step(k=0):
            return f(arr(2, 3, seed=k))

        def there():
            s.table["scale"], s.scale, s.other = 2.0, 3.0, 4.0
            try:
                return step()
            finally:
                del s.table["scale"], s.scale, s.other

        def empty():
            s.table.clear()
            s.cache.clear()
            return step(1)

        def other_type():
            before, s.table = s.table, collections.defaultdict(float, s.table)
            try:
                return step()
            finally:
                s.table = before
        return [s], [step, lambda: step(1), there, empty, other_type]
    skipped(check(make, mode, steps=[0, 1] * 4 + [2] * 3 + [0, 1, 3, 0, 0, 4, 4, 0, 1]), mode, least=6 if body in SKIPPED else 0)
