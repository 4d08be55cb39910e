"""One object or an equal one: what ``is`` tells, and containers that are arguments and are reached by another way as well."""
import collections
import functools
import types

import pytest
from worlds import MODES, arr, check, skipped

import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


def test_equal_values_that_are_other_objects(mode):
    def make(wrap):
        st = types.SimpleNamespace(name="abc", v=0.5, t=(1, 2), box=[1], n=1000, no=None)

        @wrap
        def f(x, name, v, t, box, n):
            return F.exp(x) * (2 if name is st.name else 3), v is st.v, t is st.t, box is st.box, n is st.n

        def same():
            return f(arr(3), st.name, st.v, st.t, st.box, st.n)

        def others():
            return f(arr(3), "".join(["a", "bc"]), float("0.5"), tuple([1, 2]), [1], int("1000"))
        return [st], [same, others, lambda: (setattr(st, "name", "".join(["ab", "c"])), same()), lambda: (setattr(st, "v", float("0.5")), same()),
                      lambda: f(arr(3), st.name, float("0.5"), st.t, st.box, st.n)]
    skipped(check(make, mode), mode)


def test_arguments_that_are_one_object(mode):
    def make(wrap):
        f = wrap(lambda x, p, q, r=None: (F.exp(x), p is q, p is p, p is not r, r is None, p[0] is q[0], p is ..., p is True))
        boxes, pair = [arr(3)], (1.5, 2)
        return [], [lambda: f(arr(3), boxes, boxes), lambda: f(arr(3), boxes, list(boxes)), lambda: f(arr(3), pair, pair),
                    lambda: f(arr(3), pair, (1.5, 2), pair), lambda: f(arr(3), "ab", "ab"), lambda: f(arr(3), "ab", "".join(["a", "b"]))]
    skipped(check(make, mode), mode)


def test_containers_of_arguments_that_the_call_changes(mode):
    def make(wrap):
        st = types.SimpleNamespace(box=[0.5, 1.0], table={"a": 0.5}, k=1.0)

        @wrap
        def members(x, box, table):
            st.box[0] = st.box[0] + 0.25
            st.table["a"] = st.table["a"] * 2
            return F.exp(x) * box[0] * table["a"], box, table

        @wrap
        def namespace(x, table):
            st.k = st.k * 0.9
            return F.exp(x) * table["k"]

        @wrap
        def length(x, boxes):
            st.box.append(1)
            return F.exp(x) * len(boxes[0]) * boxes[0][0]

        def restored():
            st.box[:] = [0.5, 1.0]
            return length(arr(3), (st.box,))
        return [st], [lambda: members(arr(3), list(st.box), dict(st.table)), lambda: members(arr(3), st.box, dict(st.table)),
                      lambda: members(arr(3), list(st.box), st.table), lambda: namespace(arr(3), {"k": 1.0}), lambda: namespace(arr(3), vars(st)),
                      lambda: length(arr(3), ([0.5, 2],)), restored]
    skipped(check(make, mode), mode)


def test_one_nan_or_two(mode):
    """A NaN equals no other, but containers take it for itself."""
    def make(wrap):
        x, one = arr(3), float("nan")

        @wrap
        def f(x, k, j):
            return F.exp(x) * k, len({k: 1, j: 2}), [k, j].index(j), k in [j], len({k, j})
        return [], [lambda: f(x, one, one), lambda: f(x, one, float("nan")), lambda: f(x, float("nan"), one), lambda: f(x, complex(one), complex(one))]
    check(make, mode)


@pytest.mark.parametrize("expression", """
(pair[:] is pair, tuple(pair) is pair, pair * 1 is pair, pair + () is pair, () + pair is pair, pair[:2] is pair, list(pair) is pair, pair[:1] is pair)
[pair, pair[:], tuple(pair), pair + (1,)]
(pair[2:] is nothing, tuple([]) is nothing, (1, k) is pair)
(partial.func is double, functools.partial(double).func is double)
(queue.maxlen is None, table.default_factory is None)
(made.__dict__ is vars(made), vars(made) is made.__dict__)
(hasattr(made, "none"), getattr(made, "none", 5), hasattr(made, "some"))
""".strip().splitlines())
def test_objects_that_are_made_of_others(mode, expression):
    text = f"""
def f(x, k):
    pair, nothing, made = (k, 2), (), Made()
    partial = functools.partial(double, k)
    return F.exp(x), {expression}
"""

    def make(wrap):
        space = {"F": F, "functools": functools, "double": lambda v: v * 2, "queue": collections.deque(), "table": collections.defaultdict(),
                 "Made": type("Made", (), {"none": None})}
        exec(text, space)
        f, x = wrap(space["f"]), arr(3)
        return [], [lambda: f(x, 0.5), lambda: f(x, 2)]
    check(make, mode)


def test_true_is_put_where_one_was(mode):
    """An assignment of an equal value is no return to what was there before the call."""
    def make(wrap):
        place, x = types.SimpleNamespace(n=1, z=0), arr(3)

        @wrap
        def f():
            y = F.exp(x) * [3, 2][place.n]
            place.n = 5
            place.n = True
            text = "a" * place.z
            place.z = 7
            place.z = False
            return y, text

        def anew():
            place.n, place.z = 1, 0
            return f()
        return [place], [f, anew]
    check(make, mode, steps=[0, *[1] * 9, *[0] * 8, 1, 1, 0])


def test_texts_and_numbers_that_notice_being_hashed(mode):
    class Text(str):
        hashed = 0

        def __hash__(self):
            Text.hashed += 1
            return str.__hash__(self)

    class Number(int):
        def __hash__(self):
            Text.hashed += 1
            return 3

    def make(wrap):
        place, x = types.SimpleNamespace(text=Text("a"), number=Number(2)), arr(3)
        text, numbers = place.text, [place.number]
        f = wrap(lambda: (F.exp(x), place.text is text, numbers[0] is place.number))

        def call():
            Text.hashed = 0
            found = f()
            return found, Text.hashed
        return [], [call]
    check(make, mode)
