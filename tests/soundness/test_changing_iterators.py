"""Iterators and views look at what they go through when somebody asks for an item, and it may have changed since they were made."""
import types

import pytest
import worlds

import hybridnn.functions as F

BODIES = """
numbers = [1.0, 2.0, 3.0]
for i, v in enumerate(numbers):
    out.append(v)
    if i < 2:
        numbers[i + 1] = v * k
---
i = 0
for v in state.numbers:
    out.append(v)
    i += 1
    if i < 3:
        state.numbers[i] = v * .5
state.numbers[1], state.numbers[2] = 0.2, 0.3
---
numbers = [1.0]
it = iter(numbers)
numbers.append(k)
out += [next(it), next(it, None), next(it, None)]
numbers.append(2)
out.append(next(it, None))
---
numbers = [1.0, k]
it = zip(numbers, [1, 2])
numbers[1] = 5
out += list(it)
---
numbers = [1.0, k]
it = reversed(numbers)
numbers[0] = 5
out += list(it)
---
it = reversed(state.numbers)
state.numbers[0] = 5
out += list(it)
state.numbers[0] = 0.1
---
numbers = [1.0, k, 2.0]
it = iter(numbers)
numbers.reverse()
out += list(it)
---
numbers = [1.0, k, 2.0]
for v in numbers:
    out.append(v)
    if v == 1.0:
        numbers.pop()
---
table = {"a": k}
it = iter(table.values())
table["a"] = 7
out += list(it)
---
table = {"a": k}
keys, values, items = table.keys(), table.values(), table.items()
table["b"] = 7
table["a"] = k + 1
out += [len(keys), *values, *items, "b" in keys, sum(values), dict(items)]
---
for name, v in state.table.items():
    out.append(v)
    state.table["b"] = k
state.table["b"] = 2.0
---
values = state.table.values()
state.table["a"] = k
out += list(values)
out += list(reversed(values))
state.table["a"] = 1.0
---
numbers = [1.0, k, 3.0]
it = map(lambda v: v * 2, numbers)
numbers[2] = 0
out += list(it)
---
numbers = [1.0, k, 3.0]
it = filter(None, numbers)
numbers[2] = 0
out += list(it)
---
numbers = [1, 2]
it = itertools.chain(numbers, [k])
numbers[1] = 9
out += list(it)
---
numbers = [1, 2, 3]
it = itertools.pairwise(numbers)
out.append(next(it))
numbers[2] = 9
out += list(it)
---
it = iter([1, k, 3])
out += list(itertools.islice(it, 2))
out += list(it)
---
numbers = [1, 2, 3]
it = itertools.accumulate(numbers)
out.append(next(it))
numbers[1] = 9
out += list(it)
---
numbers = [1, 2, 3]
it = itertools.zip_longest(numbers, [k])
out.append(next(it))
numbers[1] = 9
out += list(it)
---
numbers = [1, 2]
it = zip(numbers, [k, 2], strict=True)
numbers[1] = 9
out += list(it)
---
numbers = [1, 2, 3]
def change(*v):
    numbers[-1] = 9
    if len(numbers) < 5:
        numbers.append(4)
    return v[0] + 1
out += [functools.reduce(change, numbers), numbers]
---
numbers = [1, 2, 3]
def change(v):
    numbers[2] = 0
    return v
out += [min(numbers, key=change), max([k, 1], key=change), sorted([2, 1], key=change)]
---
it = iter(state.numbers)
state.numbers[1] = 7.0
out += list(it)
state.numbers[1] = 0.2
"""


@pytest.mark.parametrize("mode", worlds.MODES)
@pytest.mark.parametrize("body", BODIES.strip("\n").split("\n---\n"))
def test_containers_change_while_they_are_gone_through(mode, body):
    text = "import functools\nimport itertools\ndef f(x, k):\n    out = []\n    " + body.replace("\n", "\n    ") + "\n    return F.exp(x), out\n"

    def make(wrap):
        state = types.SimpleNamespace(numbers=[0.1, 0.2, 0.3], table={"a": 1.0, "b": 2.0})
        space = {"state": state, "F": F}
        exec(compile(text, "<program>", "exec"), space)
        f, x = wrap(space["f"]), worlds.arr(3)

        def other():
            state.numbers[:] = [0.4, 0.5, 0.6]
            return f(x, 0.5)
        return [state], [lambda: f(x, 0.5), lambda: f(x, 0.25), lambda: f(x, 2), other]
    worlds.skipped(worlds.check(make, mode), mode, 1)
