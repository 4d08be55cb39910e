"""Dicts and counters from outside in which a traced function keeps a log."""
import itertools
import logging
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from types import SimpleNamespace

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F

pytestmark = pytest.mark.parametrize("mode", MODES)


def default_list(log, loss):
    log.setdefault("loss", []).append(float(loss.array))
    return log.setdefault("scale", 2.0) * loss


def by_name(log, loss):
    log.update(loss=float(loss.array), steps=log.setdefault("steps", 0) + 1)
    return loss


def by_dict(log, loss):
    log.update({"loss": float(loss.array), "shape": loss.shape}, steps=3)
    log.update([("loss", 1.0), ("done", True)])
    return loss, log["loss"]


def assigned_before(log, loss):
    log["scale"] = 3.0
    loss = loss * log.setdefault("scale", 2.0)
    log.update(scale=0.5)
    return loss, log.setdefault("scale"), log["scale"]


def in_a_loop(log, loss):
    for name in ("a", "b", "a"):
        log.setdefault(name, []).append(name)
    return loss


@pytest.mark.parametrize("kind", [dict, OrderedDict, lambda: defaultdict(float)])
@pytest.mark.parametrize("note", [default_list, by_name, by_dict, assigned_before, in_a_loop])
def test_dicts(mode, note, kind):
    def make(wrap):
        log, logs = kind(), []
        f = wrap(lambda x: note(log, F.sum(x * x)))

        def step(seed):
            return f(arr(2, 3, seed=seed))

        def emptied():
            log.clear()
            return step(1)

        def other_members():
            log.update(loss=[], steps=5, scale=4.0, a=[1])
            logs[:] = [log["loss"]]
            return step(2)

        def of_other_types():
            log.update(loss=[0], steps=np.float32(2), scale=1, b=[])
            return step(3)

        def other_order():
            for name in reversed(list(log)):
                log[name] = log.pop(name)
            return step(4)
        return [log, logs], [lambda: step(0), emptied, other_members, of_other_types, other_order]
    skipped(check(make, mode), mode, 3)       # emptied dicts are given up soon


def counted(c, loss):
    c["steps"] += 1
    return loss * c["steps"]


def counted_by_size(c, loss):
    c["rows"] += 3
    c["sum"] += float(loss.array)
    return loss, c["rows"]


@pytest.mark.parametrize("count", [counted, counted_by_size])
def test_counters_of_the_standard_library(mode, count):
    def make(wrap):
        c = Counter()
        f = wrap(lambda x: count(c, F.sum(x * x)))

        def step(seed):
            return f(arr(2, 3, seed=seed))

        def emptied():
            c.clear()
            return step(1)

        def set_back():
            c["steps"] = -3
            c.update(rows=10)
            return step(2)

        def of_another_type():
            c["steps"] = 0.5
            return step(3)
        return [c], [lambda: step(0), emptied, set_back, of_another_type]
    skipped(check(make, mode), mode)


NUMBERS = itertools.count()      # of loggers, which stay for good


def test_loggers_found_by_name(mode):
    """``logging.getLogger(name)`` in the function itself; what it logs is seen as soon as somebody wants to."""
    def make(wrap):
        seen, name = [], f"tests.{next(NUMBERS)}"
        handler = logging.Handler()
        handler.emit = lambda record: seen.append(record.getMessage())

        @wrap
        def f(x):
            logger = logging.getLogger(name)
            loss = F.sum(x * x)
            logger.debug("loss %.3f", loss.item())
            return loss, logger.isEnabledFor(logging.INFO)

        def at(level):
            logging.getLogger(name).setLevel(level)
            return f(arr(2, 3))

        def another():
            del logging.Logger.manager.loggerDict[name]
            logging.getLogger(name).addHandler(handler)
            return f(arr(2, 3))
        logging.getLogger(name).addHandler(handler)
        return [seen], [lambda: f(arr(2, 3)), lambda: at(logging.DEBUG), lambda: at(logging.INFO), another, lambda: at(logging.DEBUG)]
    skipped(check(make, mode), mode, least=5)


@pytest.mark.parametrize("kind", [Counter, lambda: defaultdict(int), lambda: [0] * 3])
def test_counts_by_a_number_that_changes(mode, kind):
    """Each number's count begins at its first call; each is proved once."""
    def make(wrap):
        c = kind()

        @wrap
        def f(task, x):
            c[task] += 1
            return F.sum(x * x)

        def round_of_calls():
            return [f(k, arr(2, 3)) for k in (0, 1, 2)]
        return [c], [round_of_calls, lambda: f(0, arr(2, 3)), lambda: f(2, arr(2, 3)), lambda: c.__setitem__(1, 0.5), lambda: f(1, arr(2, 3))]
    skipped(check(make, mode), mode, least=30)


def test_a_counter_that_looks_things_up_itself(mode, monkeypatch):
    """The class of all counters is changed between calls."""
    c, seen = Counter(a=1), []
    f = hnn.trace(lambda x: (c["a"], F.sum(x))[0], mode=mode)

    def look(self, key):
        seen.append(key)
        return 5
    with hnn.using_config("trace_compile", "sync"):
        for _ in range(6):
            assert f(arr(2, 3)) == 1
        monkeypatch.setattr(Counter, "__getitem__", look, raising=False)
        assert [f(arr(2, 3)) for _ in range(4)] == [5] * 4 and seen == ["a"] * 4
        monkeypatch.undo()
        assert f(arr(2, 3)) == 1


def test_defaults_are_made_by_the_program_only(mode):
    """A guard that looks at a member makes none where another guard fails."""
    def make(wrap):
        log, looks = defaultdict(float), [True]
        log["a"] = 1.0

        @wrap
        def f(x):
            return F.sum(x) * (log["a"] if looks[0] else 3.0)

        def looks_no_more():
            looks[0] = False
            log.clear()
            return f(arr(2, 3))

        def looks_again():
            looks[0] = True
            return f(arr(2, 3))
        return [log], [lambda: f(arr(2, 3)), looks_no_more, looks_again]
    skipped(check(make, mode), mode, 3)


@pytest.mark.parametrize("sums", [
    lambda sizes, x: [F.sum(x[:, :n]) for n in itertools.accumulate(sizes)], lambda sizes, x: list(itertools.accumulate(sizes, initial=1)),
    lambda sizes, x: list(itertools.accumulate([n * 0.5 for n in sizes], initial=float(F.sum(x).array)))])
def test_sums_of_sizes(mode, sums):
    def make(wrap):
        sizes = [1, 2, 1]

        @wrap
        def f(x):
            return F.sum(x), sums(sizes, x)

        def longer():
            sizes.append(1)
            return f(arr(2, 6))

        def other():
            sizes[1] = 3
            return f(arr(2, 6))

        def of_floats():
            sizes[0] = 0.5
            return f(arr(2, 6))
        return [sizes], [lambda: f(arr(2, 6)), longer, other, of_floats, lambda: f(arr(2, 6, seed=4))]
    skipped(check(make, mode), mode, 3)


def listed(x):
    found = defaultdict(list)
    for k in range(3):
        found["loss"].append(F.sum(x * k).item())
        found[k].append(k)
    return {k: np.mean(v) for k, v in found.items()}, found


def summed(x):
    found = defaultdict(float, count=1)
    for k in range(3):
        found["sum"] += F.sum(x * k).item()
        found["count"] += 1
    return found


def nested(x):
    found = defaultdict(dict)
    found["train"]["loss"] = F.sum(x).array
    return found, found["eval"], found.get("else"), "none" in found, len(found)


def copied(x):
    found = defaultdict(list, {"x": [x]})
    other = found.copy()
    other["y"].append(F.sum(x))
    return found, other, dict(other), other.default_factory


def named(x):
    found = defaultdict(str)
    found["a"] += "b"
    found.setdefault("c", F.sum(x))
    return found.pop("c"), sorted(found.items())


@pytest.mark.parametrize("body", [listed, summed, nested, copied, named])
def test_dicts_with_defaults_that_the_call_makes(mode, body):
    def make(wrap):
        f = wrap(lambda x: body(F.exp(x)))
        return [], [lambda: f(arr(3)), lambda: f(arr(2, 3))]
    world = check(make, mode)
    if body is not copied:
        skipped(world, mode)


def test_defaults_of_the_programs_own(mode):
    """And what has none: such a dict raises as others do."""
    def make(wrap):
        made = []

        @wrap
        def f(x, strict):
            found = defaultdict(None if strict else lambda: made.append(0) or 0.5)
            found["y"] += F.sum(x).item()
            return found["y"]
        return made, [lambda: f(arr(3), False), lambda: f(arr(3), True)]
    check(make, mode)


def several(log, loss):
    log.rows += [loss.item(), 2.0]


def in_a_dict(log, loss):
    log.named["loss"] += [loss.item()]
    log.named["loss"] += log.rows[-1:]


def extended(log, loss):
    log.rows.extend((loss.item(), 0.5))
    log.queue.extend([loss.item()])


def grown(log, loss):
    log.rows += [loss.item()]
    log.rows.append(len(log.rows))
    return log.rows[-1]


@pytest.mark.parametrize("note", [several, in_a_dict, extended, grown])
def test_lists_that_grow_by_several(mode, note):
    def make(wrap):
        log = SimpleNamespace(rows=[0.5], named={"loss": []}, queue=deque(maxlen=4))
        kept = [log.rows, log.named["loss"]]
        net = hnn.links.Linear(3, 2)
        opt = hnn.optimizers.SGD(0.1).setup(net)

        @wrap
        def f(x):
            loss = F.sum(F.tanh(net(x)))
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, note(log, loss)
        return [log, kept, net], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1))]
    skipped(check(make, mode), mode)


def last_few(losses, loss):
    losses.append(loss)
    del losses[:-3]
    return sum(losses) / len(losses), losses[-1], losses[-2:], np.mean(losses), len(losses) > 2


def sliced_in_place(losses, loss):
    losses.append(loss)
    losses[:] = losses[-3:]
    return sum(losses), losses[-2:], len(losses)


def window_returned(losses, loss):
    losses.append(loss)
    window = losses[-3:]
    return window, losses[-2:], window, losses[:2]


def after_two(losses, loss):
    losses += [loss, loss + 1]
    del losses[0:-1]
    return losses[-1], np.mean(losses)


def deleted_first(losses, loss):
    del losses[:-2]
    return sum(losses)


@pytest.mark.parametrize("note", [last_few, sliced_in_place, window_returned, after_two, deleted_first])
def test_windows(mode, note):
    """Lists that keep the last few of what a function appends."""
    def make(wrap):
        losses, seen = [1.0] if note is deleted_first else [], []
        f = wrap(lambda x: note(losses, F.sum(x * x).item()))

        def step(k):
            if note is deleted_first:
                losses.append(float(k))
            seen.append(f(arr(2, 3, seed=k)))
            return seen[-1]

        def changed(new):
            losses[:] = new
            return step(1)
        return [losses, seen], [lambda k=k: step(k) for k in range(3)] + [lambda v=v: changed(v) for v in ([1.0, 2.0, 3.0, 4.0, 5.0], [2.0], [1])]
    skipped(check(make, mode), mode, least=6)


@pytest.mark.parametrize("note", [
    lambda losses: (losses.__delitem__(slice(None, -2)), losses[-1]), lambda losses: losses[0], lambda losses: losses[-3], lambda losses: [*losses],
    lambda losses: losses.append(5.0), lambda losses: losses.pop(0), lambda losses: losses.__setitem__(0, 1.0), lambda losses: losses[:1],
    lambda losses: losses[-3:],
])
def test_what_follows_a_window(mode, note):
    def make(wrap):
        losses = []

        def body(x):
            losses.append(F.sum(x).item())
            del losses[:-2]
            return note(losses)
        f = wrap(body)
        return [losses], [lambda k=k: f(arr(2, 3, seed=k)) for k in range(4)]
    check(make, mode)


@pytest.mark.parametrize("most", [2, 40])
def test_windows_that_are_replaced(mode, most):
    """A list that gets a member, and is then replaced by its last ones."""
    def make(wrap):
        log, other = {"loss": []}, SimpleNamespace(losses=[])

        def body(x):
            log["loss"].append(F.sum(x).item())
            log["loss"] = log["loss"][-most:]
            other.losses = other.losses[-most:] + [F.max(x).item()]
            return sum(log["loss"]) / len(log["loss"]), log["loss"], other.losses[-1]
        f = wrap(body)

        def reset():
            log["loss"] = []
            return f(arr(2, 3))
        return [log, other], [lambda k=k: f(arr(2, 3, seed=k)) for k in range(3)] + [reset]
    world = check(make, mode, steps=[0, 1, 2] * 30 + [3] + [0, 1] * 30)
    skipped(world, mode, least=10 if most == 2 else 0)      # else each length is proved on its own, until the calls that take have to be earned


@pytest.mark.parametrize("note", [
    lambda c, x, v: c.update(n=2, loss=v), lambda c, x, v: c.update({"n": len(x)}), lambda c, x, v: c.update(["n", "n"], n=3),
    lambda c, x, v: c.update(x=1, n=v), lambda c, x, v: c.update([x.shape[0], "n"]),
    lambda c, x, v: (c.update(n=1), c["n"] / 2, c.get("loss"), list(c.items()), sum(c.values())),
])
def test_counters_that_are_updated(mode, note):
    def make(wrap):
        c = Counter()
        f = wrap(lambda x: (note(c, x, F.sum(x).item()), c["n"]))

        def step(k=0):
            return f(arr(2, 3, seed=k))

        def emptied():
            c.clear()
            return step()

        def patched():
            kept, Counter.update = Counter.update, lambda self, *args, **kw: 5
            try:
                return step()
            finally:
                Counter.update = kept
        return [c], [step, lambda: step(1), emptied, patched]
    skipped(check(make, mode, steps=[0, 1] * 6 + [2] + [0, 1] * 6 + [3, 0, 1]), mode, least=5)


@pytest.mark.parametrize("kind", [list, deque])
@pytest.mark.parametrize("wide", [False, True])
def test_tuples_that_wait(mode, kind, wide):
    """Steps of which the oldest is taken out, and learned from, once there are enough."""
    Step = namedtuple("Step", "s a r")

    def make(wrap):
        waiting, seen = kind(), []

        def body(s, a, r):
            waiting.append(Step(s, a, r) if wide else (s, a, r))
            if len(waiting) < 3:
                return None
            total = sum(0.5 ** k * item[2] for k, item in enumerate(waiting))
            first = waiting.pop(0) if kind is list else waiting.popleft()
            s0, a0, _ = first
            seen.append(first)
            return F.sum(F.exp(s0)) * total, a0, first
        f = wrap(body)

        def forget():
            waiting.clear()
            return f(arr(3), 1, 0.5)

        def other():
            waiting[-1] = ("a", 1, 0.25)
            return f(arr(3), 2, 1.0)
        return [waiting, seen], [*[lambda k=k: f(arr(3, seed=k), k, 0.5 * k) for k in range(4)], forget, lambda: f(arr(2), 1, 2.0), other]
    skipped(check(make, mode, steps=[0, 1, 2, 3] * 5 + [4, 0, 1, 2, 3, 5, 0, 1, 2, 3, 6, 0, 1]), mode, least=6)


@pytest.mark.parametrize("look", [lambda window: np.array(window, "f")[None], lambda window: np.mean(window) * np.ones((1, 4), "f"),
                                  lambda window: np.full((1, 4), sum(window) / max(len(window), 1), "f")])
@pytest.mark.parametrize("grows", [True, False])
def test_a_window_is_looked_at_before_the_call_appends_to_it(mode, look, grows):
    """As where a model forecasts the next value of a series and then learns it; others append to the window between calls, as well."""
    def make(wrap):
        window, errors = deque([0.0, 1.0, 0.5, 2.0], maxlen=4), []

        @wrap
        def observe(y):
            x = look(window)
            forecast = F.sum(F.tanh(hnn.Variable(x) * 0.5))
            if grows:
                window.append(y)
            errors.append(abs(forecast.item() - y))
            return forecast, errors[-1], sum(window)

        def between():
            window.append(0.25)
            window.rotate(1)
            return observe(1.5)

        def refilled():
            window.clear()
            window.extend([1.0, 2.0, 3.0, 4.0])
            return observe(0.5)

        def others():
            window[1] = 3
            found = observe(2.5)
            window[0] = 0.5
            return found
        return [window, errors], [*[lambda k=k: observe(0.5 * k) for k in range(3)], between, refilled, others]
    skipped(check(make, mode, steps=[0, 1, 2] * 6 + [3, 0, 1, 4, 0, 1, 2, 3, 3, 1, 5, 0, 1, 2, 0, 1, 2]), mode)


@pytest.mark.parametrize("kind", [list, lambda: deque(maxlen=7)])
def test_elements_of_arrays_join_a_log(mode, kind):
    def make(wrap):
        log, rows = kind(), kind()

        @wrap
        def f(x):
            y = F.tanh(x)
            log.extend(y.array[0])
            log.extend(x.array.sum(axis=0))
            log.extend((y * y).array.argmax(axis=1))
            return F.sum(y)

        @wrap
        def g(x):
            rows.extend(F.exp(x).array)
            return x * 2
        return [log, rows], [lambda: f(hnn.Variable(arr(2, 3))), lambda: (f(hnn.Variable(arr(2, 3, seed=1))), list(log)[-5:], type(log[-1]).__name__),
                             lambda: g(hnn.Variable(arr(2, 3)))]
    skipped(check(make, mode), mode)
