"""``deque``, ``Counter``, ``OrderedDict`` and ``defaultdict`` made during the call, and what the module ``operator`` makes to read from objects."""
import functools
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from operator import attrgetter, itemgetter, methodcaller
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import MODES, arr, check, check_errors, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def breadth_first(x, net):
    below = {0: [1, 2], 1: [3], 2: [], 3: []}
    waiting, h, seen = deque([0]), {0: x}, []
    while waiting:
        n = waiting.popleft()
        seen.append(net(h[n]))
        for k in below[n]:
            h[k] = seen[-1] + k
            waiting.append(k)
    return sum(seen), waiting


def shifted(x):
    stack, rest = deque(), deque([x, x * 2, x * 3])
    for op in [0, 0, 1, 0, 1]:
        if op:
            b, a = stack.pop(), stack.pop()
            stack.append(F.tanh(a - b))
        else:
            stack.append(rest.popleft())
    return stack[0] if len(stack) == 1 and not rest else x


def windowed(x):
    last = deque(maxlen=2)
    for k in range(4):
        last.append(x * k)
    return F.stack(list(last)), last, last.maxlen


def all_methods(x):
    d = deque([1, 2, 3, 4])
    d.rotate(1)
    d.extendleft([7, 8])
    d.insert(1, 9)
    d.reverse()
    e = d.copy()
    d.clear()
    e[0] = 5
    del e[1]
    return d, e, e.index(4), e.count(8), list(reversed(e)), [*e][1], list(deque([1, 2, 3], 2)), isinstance(d, deque)


def changed_while_read(x):
    d, out = deque([x, x * 2]), []
    for k, y in enumerate(d):
        d[1] = x * 5
        out.append(y * k)
    return out


def grown_while_read(x):
    d = deque([x])
    for y in d:
        d.append(y)
    return d


def shared(x):
    d = deque([x])
    c = defaultdict(list, a=d)
    d.append(x * 2)
    return c, d, c["b"], c


def zero():
    return 0.5


class Settings:
    def __init__(self):
        self.rate, self.inner = 2.0, SimpleNamespace(scale=3.0)

    @property
    def double(self):
        return self.rate * 2

    def __getitem__(self, key):
        return {"k": 4}[key]

    def times(self, x, by=1):
        return x * self.rate * by


SETTINGS = Settings()
first, scale, twice, times = itemgetter(0), attrgetter("inner.scale"), attrgetter("double", "rate"), methodcaller("times", 2, by=3)


def counted(x):
    c = Counter("abca")
    c.update(["a", "d"])
    c.update({"z": 2}, b=1)
    c["q"] += 3
    missing = c["none"]
    return c, missing, c.most_common(2), c.total(), sorted(c.elements()), len(c), "none" in c, list(c.items()), c.get("none"), c.copy()


def by_default(x):
    loose = defaultdict(lambda: 1.5, a=2)
    loose["n"] += 1
    strict, lists, sets = defaultdict(zero), defaultdict(deque), defaultdict(set)
    strict["a"] += 1
    lists["a"].append(x)
    sets["a"].add(1)
    nested = defaultdict(lambda: defaultdict(int))
    nested["a"]["b"] += 2
    return dict(loose), strict, lists, sets["a"] == {1}, dict(nested["a"]), defaultdict(None, a=1), loose.get("n"), "z" in loose


def ordered(x):
    d = OrderedDict(a=1, b=x, c=3)
    d.move_to_end("a")
    d.move_to_end("c", last=False)
    last, (key, value) = {"k": 1, "l": x}.popitem(), d.popitem(last=False)
    e = {"x": 1}
    e.clear()
    return d, last, key, value, d.popitem(), e


@pytest.mark.parametrize("body", [
    lambda x, net: breadth_first(x, net), lambda x, net: shifted(x), lambda x, net: windowed(x), lambda x, net: all_methods(x),
    lambda x, net: changed_while_read(x), lambda x, net: shared(x), lambda x, net: counted(x), lambda x, net: by_default(x), lambda x, net: ordered(x),
    lambda x, net: np.stack(deque([x, x * 2])) * sum(deque([1, 2])) * max(deque([3, 4])) + np.mean(deque([1.0, 2.0])),
    lambda x, net: [a * k for k, a in enumerate(deque([x, x])) if deque([1])] if 2 in deque([1, 2]) else None,
    lambda x, net: Counter(k % 2 for k in range(5)),
    lambda x, net: itemgetter("a")({"a": x}) * itemgetter(1)([1, 2]) + itemgetter(0, 2)((x, 1, x))[1],
    lambda x, net: (first([x, 1]), itemgetter(slice(1))([1, 2]), itemgetter("k")(SETTINGS), itemgetter(0)(x), itemgetter((0, 1))(x * 2)),
    lambda x, net: x * scale(SETTINGS) * twice(SETTINGS)[0] * attrgetter("rate")(SETTINGS) * times(SETTINGS),
    lambda x, net: attrgetter("array", "shape")(net(x))[1],
    lambda x, net: list(map(attrgetter("shape"), net.params())) + list(map(methodcaller("reshape", (-1,)), [net(x), net(x)])) + list(map(first, [[x], (1,)])),
    lambda x, net: sum(map(methodcaller("times", 2), [SETTINGS, SETTINGS])),
    lambda x, net: sorted({"b": 1, "a": 2}.items(), key=itemgetter(1)) + [max([(1, x), (3, x * 2)], key=itemgetter(0))],
    lambda x, net: functools.reduce(operator.add, [net(x), x, 1.0]) + functools.reduce(operator.mul, x.shape, 1),
    lambda x, net: functools.reduce(np.maximum, [x, x * 2, x - 1]),
    lambda x, net: functools.reduce(F.maximum, [net(x), x]) - functools.reduce(np.hypot, [x, x]),
    lambda x, net: operator.getitem(net(x), 0) * operator.neg(2) + operator.iadd(net(x), x) * operator.contains([1], 1) * operator.not_(0) * operator.is_(x, x),
    lambda x, net: (operator.iadd(parts := [x], [1]), parts, operator.getitem([x, 1], 1), operator.is_not(x, None), operator.neg(x)),
])
def test_made_collections(mode, body):
    def make(wrap):
        net = L.Linear(3, 3)
        f = wrap(lambda x: (body(x, net), F.sum(net(x))))
        return [net], [lambda: f(arr(2, 3)), lambda: f(arr(3, 3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda x: deque().pop(), lambda x: deque([1])[2], lambda x: grown_while_read(x), lambda x: defaultdict(None)["a"], lambda x: OrderedDict().popitem(),
    lambda x: OrderedDict(a=1).move_to_end("b"), lambda x: itemgetter("b")({"a": 1}), lambda x: attrgetter("nothing")(SETTINGS), lambda x: first(x, x),
    lambda x: functools.reduce(operator.add, [x, "a"]), lambda x: deque([1]).index(2), lambda x: Counter("a").most_common("a"), lambda x: deque([x]) + [1],
])
def test_errors(mode, body):
    check_errors(body, mode, arr(2, 3))


def test_returned_anew(mode):
    """What a call returns, or keeps, belongs to it."""
    def make(wrap):
        kept = []
        state = SimpleNamespace(queue=None)

        def body(x):
            state.queue = deque([F.tanh(x), 1], 3)
            return state.queue, Counter(a=1), defaultdict(zero, a=[x])
        f = wrap(body)

        def run():
            queue, count, default = f(arr(2, 3))
            queue.append(4)
            count["a"] += 1
            default["b"] += 1
            kept.append((queue, count, default))
            return state.queue is queue, default.default_factory is zero, type(count) is Counter
        return [state, kept], [run] * 3
    skipped(check(make, mode), mode)


def test_program_that_patches(mode):
    """What Counter, and functions behind getters, do is looked at on every call."""
    def make(wrap):
        f = wrap(lambda x: (F.sum(x) * Counter("aab")["z"], Counter("aab")["a"], twice(SETTINGS)))

        def patched():
            kept, Counter.__missing__ = Counter.__missing__, lambda self, key: 7
            try:
                return f(arr(2, 3))
            finally:
                Counter.__missing__ = kept

        def other():
            SETTINGS.rate = 5.0
            try:
                return f(arr(2, 3))
            finally:
                SETTINGS.rate = 2.0
        return [], [lambda: f(arr(2, 3)), patched, other]
    skipped(check(make, mode), mode)


def test_itemgetter_of_changing_argument(mode):
    """Members of arguments are read anew; so is what a getter that the function makes of one takes."""
    def make(wrap):
        net = L.Linear(3, 3)
        get = itemgetter("x", "n")

        def body(batch):
            x, n = get(batch)
            loss = F.sum(net(x)) * n
            net.cleargrads()
            loss.backward()
            return loss.item(), max([("a", loss.item()), ("b", F.sum(x).item())], key=itemgetter(1))
        f = wrap(body)
        return [net], [lambda k=k: f({"x": arr(2, 3, seed=k), "n": k}) for k in range(4)]
    with hnn.using_config("user_rate", 1):
        check(make, mode)
