"""Lists and dicts that a function replaces whole on each call, such as the hidden states of several layers: what is in them is read anew, and who else has
them sees what happens to them."""
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
from carrying import carrying
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)
HALF = np.float32(0.5)


class Own(list):
    """A list of the program's own class."""


def pair(k=0):
    return [arr(1, 3, seed=k), arr(1, 3, seed=k + 1) + 2]


def states(k=0):
    return dict(zip("hc", pair(k), strict=True))


def by_attribute(box, x):
    h, c = box.state
    h, c = HALF * h + x, c * HALF + x ** 2
    box.state = [h, c]
    return (h / c).sum()


def by_key(box, x):
    h, c = box.table["state"]
    box.table["state"] = [np.tanh(h + x), c]
    return h


def by_comprehension(box, x):
    box.state = [h * HALF + x for h in box.state]
    return sum(box.state)


def window(box, x):
    """The last few of what it has been given."""
    box.state = box.state[1:] + [x * HALF]
    return np.concatenate(box.state)


def appended_to_a_copy(box, x):
    rows = list(box.state)
    rows.append(x * HALF)
    del rows[0]
    box.state = rows
    return rows[0] - rows[-1]


def changed_behind(box, x):
    """The list that it has just assigned."""
    h, c = box.state
    box.state = [h, c]
    box.state[0] = h * HALF + x
    box.state.reverse()
    return box.state[0]


def in_two_places(box, x):
    h, c = box.state
    box.state = box.other = [h * HALF + x, c]
    box.other[1] = box.other[1] * HALF
    return box.state is box.other, box.other


def joined(box, x):
    """Two places that have one list from here on, until somebody assigns another one."""
    h, c = box.state[0], box.other[1]
    box.state = box.other = [c * HALF + x, h]
    return h


def swapped(box, x):
    box.state, box.other = box.other, box.state
    return box.state[0] + x


def turned(box, x):
    """Two lists of which one may be the other."""
    same = box.state is box.other
    h, c = box.state
    box.state, box.other = [c, h * HALF], [x, x]
    return same, h


def kept(box, x):
    box.history.append(box.state)
    box.state = [box.state[0] * HALF + x, box.state[1]]
    return box.state, box.history[-1]


def handed_out(box, x):
    before = box.state
    box.state = [before[0] * HALF + x, before[1]]
    return before


def put_first(box, x):
    """A member of the list that was there, which is then replaced."""
    before = box.state
    before[0] = x * HALF
    box.state = [before[1], before[0] + x]
    return before


def put_elsewhere(box, x):
    """A member of a list that may be the one that is replaced."""
    box.fixed[0] = x * HALF
    h, c = box.state
    box.state = [c, h]
    return h + box.fixed[0]


def now_and_then(box, x):
    """Replaces the list where another path appends to it."""
    if len(box.state) > 2:
        box.state = [box.state[-1] * HALF, x]
    else:
        box.state.append(x * HALF)
    return box.state[0]


def in_place(box, x):
    h, c = box.state
    h += x
    c *= HALF
    box.state = [c, h]
    return h.sum()


def layers(box, x):
    rows = []
    for h, c in box.rows:
        x = np.tanh(h + x)
        rows.append([x, c * HALF + x])
    box.rows = rows
    return x


def read_twice(box, x):
    first, second = box.state, box.state
    box.state = [first[1] * HALF, second[0]]
    return first is second, x


def with_numbers(box, x):
    t, m = box.counted
    t += 1
    box.counted = [t, 0.9 * m + t]
    return x * (m / (1 - 0.9 ** t))


def by_names(box, x):
    h, c = box.named["h"], box.named["c"]
    box.named = {"h": HALF * h + x, "c": c * HALF + h}
    return h


def by_items(box, x):
    box.named = {k: v * HALF + x for k, v in box.named.items()}
    return sum(box.named.values())


def merged(box, x):
    box.named = {**box.named, "h": box.named["h"] * HALF + x}
    return len(box.named), box.named.get("c")


def keyword_arguments(box, x):
    def cell(x, h, c):
        return dict(h=h * HALF + x, c=c * HALF + h)
    box.named = cell(x, **box.named)
    return box.named["h"]


def updated_first(box, x):
    before = box.named
    before.update(h=x * HALF)
    box.named = dict(before, c=before["h"] + x)
    return before


BODIES = [by_attribute, by_key, by_comprehension, window, appended_to_a_copy, changed_behind, in_two_places, joined, swapped, turned, kept, handed_out,
          put_first, put_elsewhere, now_and_then, in_place, layers, read_twice, with_numbers, by_names, by_items, merged, keyword_arguments, updated_first]


@pytest.mark.parametrize("body", BODIES)
def test_arrays(mode, body):
    def make(wrap):
        fixed = pair(7)
        box, W, f, put = carrying(wrap, body, state=pair(), other=pair(4), table={"state": pair(1)}, rows=[pair(2), pair(3)], named=states(5), history=[],
                                  counted=[0, 0.0], fixed=fixed)

        def changed():
            """What the last call has left, and given back."""
            y, _ = f(arr(1, 3))
            for rows in (y, box.state, box.other):
                if isinstance(rows, list):
                    rows[0] = rows[0] * 2
                    rows[-1][...] = 1
            box.named["h"] = box.named["h"] + 1
            return f(arr(1, 3))

        def endless():
            rows = pair()
            rows[1] = rows
            return put(state=rows)
        both = arr(1, 3)
        return [box, W], [
            lambda: f(arr(1, 3)), lambda: put(state=[both, both], named={"h": both, "c": both}), changed, lambda: put(state=pair(), counted=[3, 1]),
            lambda: put(state=[arr(3), arr(3)]), lambda: put(state=[arr(1, 3, dtype="float64"), arr(1, 3)]), lambda: put(state=tuple(pair())),
            lambda: put(state=Own(pair()), named=OrderedDict(states())), lambda: put(state=[W.array, pair()[0]]), lambda: put(state=fixed),
            lambda: put(state=[*pair(), arr(1, 3)]), lambda: put(state=box.other), lambda: put(named=dict(reversed(states().items()))),
            lambda: put(named={**states(), "d": 1.0}), lambda: put(rows=[[*pair()]] * 2), lambda: put(rows=[box.state, box.state]),
            lambda: put(state=[None, arr(1, 3)]), endless, lambda: put(state=[])]
    world = check(make, mode)
    skipped(world, mode, 10 if body is in_place else 50)


def variables(box, x):
    h, c = box.state
    h = F.tanh(h * x + c)
    box.state = [h, c * 0.5 + h]
    return F.sum(h)


def cut(box, x):
    h, c = box.state
    h = F.tanh(h * box.W + x)
    loss = F.sum(h + c)
    box.W.cleargrad()
    loss.backward()
    h.unchain_backward()
    box.state = [h, hnn.Variable(c.array + h.array)]
    return loss


def by_variable_names(box, x):
    h = F.tanh(box.named["h"] * box.W + x)
    box.named = {"h": hnn.Variable(h.array)}
    return F.sum(h)


@pytest.mark.parametrize("body", [variables, cut, by_variable_names])
def test_variables(mode, body):
    def make(wrap):
        box = SimpleNamespace(state=[var(2, 3), var(2, 3, seed=1)], named={"h": var(2, 3)}, W=hnn.Parameter(arr(2, 3)))

        @wrap
        def f(x):
            return body(box, x)

        def put(*state):
            box.state, box.named = [*state], {"h": state[0]}
            return f(arr(2, 3))

        def without():
            with hnn.no_backprop_mode():
                return f(arr(2, 3))

        def later():
            y = f(arr(2, 3))
            if y.creator is not None:
                box.W.cleargrad()
                y.backward()
            return y, box.W.grad
        v = var(2, 3)
        return [box], [lambda: f(arr(2, 3)), lambda: put(v, v), without, lambda: put(box.W, var(2, 3)), later, lambda: put(var(2, 3), var(2, 3, seed=1))]
    world = check(make, mode, tolerance=10.0)
    if body is not variables:
        skipped(world, mode, 5)


def test_that_are_changed_as_well(mode):
    """A list to which most calls append, and which another one replaces at times, counts as the same object in between."""
    def make(wrap):
        box = SimpleNamespace(losses=[], window=[1.0, 2.0], table={"a": 1.0}, n=0)

        @wrap
        def f(x):
            y = F.sum(F.exp(x))
            box.losses.append(y.array)
            box.window.append(box.window.pop(0))
            box.table["b"] = y.array
            box.n += 1
            if box.n % 20 == 0:
                box.losses, box.window, box.table = [box.losses[-1]], [3.0, 4.0], {"a": 2.0}
            return y

        def many():
            return [f(arr(1, 3)) for _ in range(45)]
        return [box], [lambda: f(arr(1, 3)), many, lambda: f(arr(2, 3))]
    skipped(check(make, mode), mode, 100)


def test_of_enclosing_functions(mode):
    def make(wrap):
        state, table = pair(), states()

        @wrap
        def f(x):
            nonlocal state, table
            h, c = state
            state, table = [h * HALF + x, c], {"h": table["c"], "c": table["h"] * HALF}
            return F.sum(F.exp(x * hnn.Variable(h + table["h"])))

        def run():
            return f(arr(1, 3)), state, table

        def put(*given):
            nonlocal state
            state = [*given]
            return run()
        return [], [run, lambda: put(*pair(3)), lambda: put(arr(3), arr(3)), lambda: put(arr(1, 3))]
    skipped(check(make, mode), mode, 10)


@pytest.mark.parametrize("changed", [False, True])
def test_that_others_replace(mode, changed):
    """Between the calls, as schedules do with settings, and queues with what comes next."""
    def make(wrap):
        worker = SimpleNamespace(settings={"rate": 0.5, "name": "tanh", "k": 2}, window=pair(), n=0)

        @wrap
        def f(x):
            settings = worker.settings
            y = getattr(F, settings["name"])(x) * settings["rate"] + sum(worker.window[k] for k in range(settings["k"]))
            if changed:
                settings["rate"] = settings["rate"] * 0.5
                worker.window.append(worker.window[0] * 2)
            return y, settings, worker.window

        def call(**other):
            worker.n += 1
            worker.settings, worker.window = {**worker.settings, "rate": 0.1 * worker.n, **other}, pair(worker.n)
            return f(var(1, 3))

        def same():
            worker.settings = before = dict(worker.settings)
            found = f(var(1, 3))
            before["rate"] += 1
            return found, f(var(1, 3))

        def shared():
            worker.window = [worker.window[0]] * 2
            return f(var(1, 3))
        return [worker], [call, lambda: call(name="exp"), lambda: call(k=1), same, shared, lambda: call(more=3), lambda: call(rate=3), call]
    skipped(check(make, mode), mode)
