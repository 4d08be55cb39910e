"""What a traced function assigns outside: counters and other numbers, members of lists and dicts, variables of enclosing functions, hyperparameters."""
import itertools
import math

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers
from hybridnn.optimizer_hooks import WeightDecay

pytestmark = pytest.mark.parametrize("mode", MODES)


class Box:
    def __init__(self, **values):
        self.__dict__.update(values)


@pytest.mark.parametrize("count", [
    lambda box, y: setattr(box, "n", box.n + 1),
    lambda box, y: setattr(box, "n", (box.n + 1) % 3),
    lambda box, y: setattr(box, "n", box.n // 2 if box.n % 2 == 0 else box.n * 3 + 1),
    lambda box, y: setattr(box, "x", 0.9 * box.x + 0.1 * float(y.array)),
    lambda box, y: setattr(box, "x", min(1.0, box.x * 1.5 + 1e-3)),
    lambda box, y: setattr(box, "x", max(box.x, abs(float(y.array)))),
    lambda box, y: setattr(box, "items", [box.n, y, (box.x, "a")]),
    lambda box, y: setattr(box, "last", y.array),
    lambda box, y: setattr(box, "x", -box.x),
    lambda box, y: setattr(box, "x", round(box.x + 0.26, 1)),
    lambda box, y: setattr(box, "n", box.n + 1) or setattr(box, "x", math.cos(math.pi * box.n / 10)),
    lambda box, y: setattr(box, "n", 1 - box.n) or setattr(box, "x", 2.0 ** box.n),
    lambda box, y: setattr(box, "n", box.n + 1) or setattr(box, "x", np.sqrt(np.log(box.n + 1) / 2)),
    lambda box, y: setattr(box, "n", box.n + 1) or setattr(box, "x", np.interp(box.n, [0, 20, 40], [1.0, 0.5, 0.0]) + np.float32(box.n)),
    lambda box, y: setattr(box, "n", box.n + 1) or setattr(box, "x", float(1 / np.sqrt(box.n) + np.arctan2(box.n, 3) + np.exp(-box.n))),
])
def test_attributes(mode, count):
    def make(wrap):
        box = Box(n=0, x=0.5)

        @wrap
        def f(x):
            y = F.sum(F.tanh(x))
            count(box, y)
            return y, box.n, box.x

        def put(**values):
            box.__dict__.update(values)
            return f(arr(3))
        return [box], [lambda: f(arr(3)), lambda: put(n=7), lambda: put(n=1, x=0.25), lambda: put(n=2.0), lambda: put(n=True), lambda: put(n=10 ** 30),
                       lambda: put(n=0, x=math.nan), lambda: put(x=-0.0), lambda: put(x=3), lambda: put(n=1, x=1e308), lambda: put(n=0, x=0.5)]
    skipped(check(make, mode, steps=[0] * 12 + [k for j in range(1, 11) for k in [j, 0, 0, j, 0, 10]] + [0] * 6), mode, 5)


def test_numbers_that_are_computed_first(mode):
    """Python's arithmetic on numbers from outside, before they meet a Variable."""
    def make(wrap):
        box = Box(beta=0.9, t=1, k=2)

        @wrap
        def f(x, lr, tau=0.5):
            box.t += 1
            half, rest = lr * 0.5, 1 - tau
            y = x * half + (x * rest) / (1 - box.beta ** box.t)
            return y * (box.k * 2), y - -lr, (y + tau) ** 2, half if half > rest else rest

        def put(**values):
            box.__dict__.update(values)
            return f(arr(3), 0.1)
        return [box], [lambda: f(arr(3), 0.1), lambda: f(arr(3), 0.2), lambda: f(arr(3), 0.1, tau=0.25), lambda: put(t=-1), lambda: put(beta=0.5),
                       lambda: put(t=1, beta=1), lambda: put(beta=0.9, k=3), lambda: put(k=10 ** 400), lambda: put(k=2), lambda: f(arr(3), 3),
                       lambda: f(hnn.Variable(arr(3)), np.float32(2.0)), lambda: f(arr(3), 4.0)]
    skipped(check(make, mode, steps=[0] * 12 + [k for j in range(1, 12) for k in [j, 0, 0, j, 0]] + [0] * 6), mode)


def test_exponents_are_numbers_too(mode):
    def make(wrap):
        f = wrap(lambda x, n: x ** n + x ** (n * 2))
        return [], [lambda: f(arr(3), 2), lambda: f(arr(3), 3), lambda: f(arr(3), 2.0), lambda: f(arr(3), 0)]
    check(make, mode)


def test_periods(mode):
    """Something else happens every few calls."""
    def make(wrap):
        box = Box(t=0, period=3, sums=0)

        @wrap
        def after(x):
            box.t += 1
            return F.exp(x) if box.t % box.period == 0 else F.sum(x)

        @wrap
        def before(x):
            y = F.exp(x) if box.t % box.period == 0 and box.t > 1 else F.sum(x)
            box.t = box.t + 1
            return y

        def slower():
            box.period = 2
            return after(arr(3))
        return [box], [lambda: after(arr(3)), lambda: before(arr(3)), slower]
    skipped(check(make, mode, steps=[0] * 30 + [1] * 40 + [2] + [0] * 20), mode, 50)


def test_variables_of_enclosing_functions(mode):
    def make(wrap):
        seen, best, space = 0, math.inf, {"total": 0}
        exec("def add(n):\n    global total\n    total = total + n\n    return total", space)
        add = space["add"]

        @wrap
        def f(x):
            nonlocal seen, best
            y = F.sum(x * x)
            seen += len(x)
            best = min(best, float(y.array))
            return y, seen, add(seen), best

        def reset():
            nonlocal seen
            seen, space["total"] = 0, 1.5
            return f(arr(3))

        def text():
            nonlocal seen
            seen = 0
            return f(arr(3)), seen
        return [], [lambda: f(arr(3)), lambda: f(arr(2)), reset, text]
    skipped(check(make, mode), mode)


def test_members(mode):
    def make(wrap):
        log = {"n": 0, "losses": [0.0, 0.0], "seen": {}}
        history, row = [], [1, 2.0, None]

        @wrap
        def f(x):
            y = F.sum(x)
            log["n"] += 1
            log["losses"][-1] = log["losses"][0]
            log["losses"][0] = float(y.array)
            log["seen"]["last"] = y
            history.append(float(y.array))
            history.append((log["n"], y.array))
            row[0], row[1] = row[1], row[0]
            return y, log["n"], row[0]

        def emptied():
            history.clear()
            log["seen"].clear()
            return f(arr(3))

        def shorter():
            del log["losses"][1]
            return f(arr(3)) or log["losses"].append(1.0)

        def reordered():
            log["n"] = log.pop("n")
            return f(arr(3))

        def gone():
            n = log.pop("n")
            try:
                f(arr(3))
            finally:
                log["n"] = n
        return [log, history, row], [lambda: f(arr(3)), emptied, shorter, reordered, gone, lambda: f(arr(2))]
    skipped(check(make, mode), mode)


def test_members_that_are_looked_at(mode):
    """Containers that are gone through, counted or searched in the call that changes them."""
    def make(wrap):
        log, history, d = {"a": 1, "b": 2}, [], {}

        @wrap
        def grows(x):
            history.append(len(x))
            return F.exp(x), len(history), sum(history)

        @wrap
        def goes(x):
            log["a"] = log["b"] + 1
            return F.exp(x), [k for k in log], {k: v for k, v in log.items()}, "a" in log

        @wrap
        def adds(x):
            d["x"] = 1
            return F.exp(x), "x" in d, "y" in d, list(d)

        @wrap
        def hands(x):
            pair[0] = x
            return F.concat(pair, axis=0)
        pair = [arr(2), arr(2)]
        return [log, history, d], [lambda: grows(arr(3)), lambda: goes(arr(3)), lambda: adds(arr(3)), lambda: (d.clear(), adds(arr(3)))[1],
                                   lambda: hands(arr(2, seed=5)), lambda: hands(arr(2, seed=6))]
    check(make, mode)


def test_learning_rates(mode):
    def make(wrap):
        net = L.Linear(3, 2)
        opt = optimizers.MomentumSGD(0.1).setup(net)
        box = Box(t=0, base=0.1)

        @wrap
        def f(x):
            opt.lr = box.base * 0.9 ** box.t
            box.t += 1
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, opt.lr

        @wrap
        def later(x):
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            opt.lr *= 0.5
            return loss

        @wrap
        def only(x):
            opt.lr = opt.lr * 0.5
            return F.exp(x), opt.lr

        def own():
            net.W.update_rule.hyperparam.lr = 0.01
            return f(arr(2, 3))

        def back():
            del net.W.update_rule.hyperparam.lr
            return f(arr(2, 3))

        def based(base):
            box.base = base
            return f(arr(2, 3))
        return [net, opt.hyperparam, box], [lambda: f(arr(2, 3)), lambda: f(arr(3, 3)), lambda: based(0.05), own, back, lambda: later(arr(2, 3)),
                                            lambda: only(arr(2)), lambda: based(1)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("rate", [
    lambda box: 0.05 * (1 + np.cos(np.pi * box.t / 40)), lambda box: box.rates[0], lambda box: np.float32(0.1) * 0.5,
    lambda box: np.interp(box.t, [0, 40], [0.1, 0]),
])
def test_learning_rates_that_are_numpys(mode, rate):
    """They count as Python's floats: parameters of float32 stay so at every step of the arithmetic."""
    def make(wrap):
        net = L.Linear(3, 2)
        decay = WeightDecay(np.float64(1e-2))
        opt = optimizers.Adam(np.float64(0.1)).setup(net)
        opt.add_hook(decay)
        box = Box(t=0, rates=np.linspace(0.1, 0.01, 4), **{"k": np.float32(2)})

        def step(x):
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, opt.alpha, f"{box.k:.2f}"
        plain = wrap(step)

        @wrap
        def before(x):
            opt.alpha = rate(box)
            box.t += 1
            return step(x)

        @wrap
        def direct(x):
            opt.hyperparam.alpha = rate(box)
            return step(x)

        @wrap
        def after(x):
            loss = step(x)
            box.t += 1
            opt.alpha = rate(box)
            return loss

        def outside(value):
            opt.alpha, decay.rate, box.k = value, value * value, value
            return plain(arr(2, 3))
        return [net, opt.hyperparam, box], [lambda: before(arr(2, 3)), lambda: outside(np.float64(0.25)), lambda: after(arr(2, 3)), lambda: direct(arr(2, 3)),
                                            lambda: outside(np.float32(0.5)), lambda: outside(0.125)]
    traces = check(make, mode)
    assert not traces.reasons
    for t in traces[:4]:
        assert t.stats.python_skipped >= (5 if mode == "auto" else 0), t.explain()


@pytest.mark.parametrize("count", [
    lambda box, y, t: int((y.argmax(1) == t).sum()), lambda box, y, t: (y.argmax(1) == t).sum().item() * 2 - len(t), lambda box, y, t: box.n * int(t[0]),
    lambda box, y, t: abs(int(y.argmax(1)[0]) - int(t[0])), lambda box, y, t: -max(int(t[0]), int(t[1])), lambda box, y, t: int(t[0]) // 2,
    lambda box, y, t: 1 if int((y.argmax(1) == t).sum()) > 1 else 0,
])
def test_counts_behind_an_update(mode, count):
    """What is right, counted over the batches of an epoch, each behind the update of the one before."""
    def make(wrap):
        net = L.Linear(3, 2)
        opt = optimizers.SGD(0.1).setup(net)
        box = Box(n=0, x=0.0, of=4)

        @wrap
        def f(xs, ts):
            n, x, right = 0, 0.0, 0
            for a, t in zip(xs, ts):
                y = net(a)
                loss = F.softmax_cross_entropy(y, t)
                net.cleargrads()
                loss.backward()
                opt.update()
                right += count(box, y.array, t)
                x += float(loss.array) * len(t)
                n += len(t)
            box.n += right
            box.x = 0.5 * box.x + x / n
            return right, right / n, x / n, box.n * 0.5 + box.of

        def run(*labels):
            return f([arr(2, 3), arr(2, 3, seed=1)], [np.array(labels), np.array(labels[::-1])])

        def put(**values):
            box.__dict__.update(values)
            return run(0, 1)
        return [net, box], [lambda: run(0, 1), lambda: run(1, 1), lambda: put(n=10 ** 20), lambda: put(n=5), lambda: put(of=10 ** 400),
                            lambda: put(of=0.5, n=1), lambda: put(n=True), lambda: run(0, 0)]
    check(make, mode)


def kept_in_a_dict(box, y):
    box.d["sum"] += y.array
    return box.d["sum"] / box.d["n"]


def kept_in_a_list(box, y):
    box.items[0] += y.array
    return float(box.items[0])


def kept_as_an_attribute(box, y):
    box.x = 0.9 * box.x + 0.1 * y.array
    return f"{box.x:.3f}"


def kept_if_best(box, y):
    if y.array < box.d["sum"]:
        box.d["sum"] = y.array
    return box.d["sum"]


def kept_of_two_kinds(box, y):
    box.x = box.x * np.float64(0.5) + y.array
    return np.sqrt(np.abs(box.x))


@pytest.mark.parametrize("keep", [kept_in_a_dict, kept_in_a_list, kept_as_an_attribute, kept_if_best, kept_of_two_kinds])
def test_sums_that_are_numpys_numbers(mode, keep):
    """``total += loss.array`` makes a ``numpy.float32`` of a float."""
    def make(wrap):
        box = Box(d={"sum": 0.0, "n": 1}, items=[0.0], x=0.0)

        @wrap
        def f(x):
            y = F.sum(F.tanh(x))
            box.d["n"] += 1
            return keep(box, y), y

        def put(value):
            box.d["sum"] = box.items[0] = box.x = value
            return f(arr(3))
        return [box.d, box.items, box], [lambda: f(arr(3)), lambda: put(np.float64(2)), lambda: put(np.float32(3)), lambda: put(np.float16(1)), lambda: put(1),
                                         lambda: put(np.float32(np.nan)), lambda: put(np.int32(2)), lambda: put(np.zeros((), "f")), lambda: put(0.0)]
    skipped(check(make, mode), mode, 5)


def test_properties_that_are_assigned(mode):
    def make(wrap):
        class Meter:
            def __init__(self):
                self.sum, self.count, self.parts = 0.0, 0, (1, 2)

            @property
            def value(self):
                return self.sum / self.count if self.count else 0.0

            @value.setter
            def value(self, x):
                self.sum, self.count = self.sum + x, self.count + 1

        class Watched:
            def __setattr__(self, name, value):
                seen.append(name)
                object.__setattr__(self, name, value)
        meter, watched, seen = Meter(), Watched(), []
        watched.x = 0.0

        @wrap
        def f(x):
            loss = F.mean(x)
            meter.value = loss.item()
            meter.parts = meter.parts[::-1]
            return loss, meter.value

        @wrap
        def g(x):
            watched.x = watched.x + 1
            return F.exp(x)
        return [meter, seen], [lambda: f(arr(3)), lambda: g(arr(3)), lambda: f(arr(2))]
    check(make, mode)


@pytest.mark.parametrize("error", [False, True])
def test_replays_are_checked(mode, error):
    def make(wrap):
        net, log, cell = L.Linear(3, 1), {"n": 0, "all": [0.5]}, 0
        opt = optimizers.Adam().setup(net)
        box = Box(t=0)

        @wrap
        def f(x):
            nonlocal cell
            box.t += 1
            log["n"] += 1
            log["all"].append(box.t)
            cell = cell + 2
            opt.alpha = 0.001 / (1 + box.t)
            loss = F.sum(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss, cell
        return [net, log, box, opt.hyperparam], [lambda: f(arr(2, 3)), lambda: f(arr(3, 3))]
    skipped(check(make, mode, check=1.0 if error else 0.0), mode, 0 if error else 10)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2)])
def test_numbers_that_nobody_uses(mode, value):
    """An attribute that is only looked for has to be there all the same."""
    def make(wrap):
        box, row = Box(x=value), [value, value]

        @wrap
        def f(x):
            assert row[1] is not None
            box.x, row[0]
            return F.exp(x) if hasattr(box, "x") else x

        def gone():
            del box.x
            try:
                return f(arr(3))
            finally:
                box.x = value

        def changed(n):
            row[1] = n
            return f(arr(3))
        return [box, row], [lambda: f(arr(3)), gone, lambda: changed(None), lambda: changed(value)]
    skipped(check(make, mode), mode)


def test_learning_rates_of_calls_that_fail(mode):
    """A rate that was set before an operation raises is set once."""
    def make(wrap):
        emb = L.EmbedID(4, 3)
        opt = optimizers.SGD(0.1).setup(emb)
        box = Box(t=0)

        @wrap
        def f(ids):
            opt.lr *= 0.5
            box.t += 1
            loss = F.sum(emb(ids) ** 2)
            emb.cleargrads()
            loss.backward()
            opt.update()
            return loss

        @wrap
        def after(ids):
            loss = F.sum(emb(ids) ** 2)
            opt.lr = opt.lr * 0.5
            emb.cleargrads()
            loss.backward()
            opt.update()
            return loss

        def reset():
            opt.lr = 0.1
            return f(np.array([1, 2], "i"))
        return [emb, opt.hyperparam, box], [lambda: f(np.array([1, 2], "i")), lambda: f(np.array([1, 9], "i")), reset,
                                            lambda: after(np.array([1, 2], "i")), lambda: after(np.array([1, 9], "i"))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    "F.exp(x) if hasattr(x, 'shape') else x", "F.exp(x) * getattr(x, 'ndim', 7)", "F.exp(getattr(F.tanh(x), 'array', x))",
    "F.exp(x) * getattr(w, 'size', 0) if hasattr(w, 'array') else x", "F.exp(x) * (2 if hasattr(box, 'seen') else 1)", "F.exp(x) * getattr(box, 'seen', 1)"])
def test_properties_that_are_asked_for_by_name(mode, body):
    """The program's own run as often as they do without a trace."""
    class Box:
        def __init__(self):
            self.log, self.k = [], 2.0

        @property
        def seen(self):
            self.log.append("seen")
            return self.k

    def make(wrap):
        box = Box()
        space = {"F": F, "box": box, "w": hnn.Parameter(arr(3))}
        f = wrap(eval(f"lambda x: {body}", space))

        def changed(k):
            box.k = k
            return f(var(3))

        def gone():
            del box.k
            try:
                return f(var(3))
            finally:
                box.k = 2.0
        return [box.log], [lambda: f(var(3)), lambda: changed(3.0), gone, lambda: changed(2.0)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("begin", [0, 7, -2])
@pytest.mark.parametrize("use", [
    lambda counter, x: F.sum(x) * (1 + 0.01 * next(counter)),
    lambda counter, x: (next(counter), F.sum(x), next(counter)),
    lambda counter, x: F.sum(x) if next(counter) % 4 else F.sum(x) * next(counter),
    lambda counter, x: (F.sum(x * x), [next(counter) for _ in range(3)], f"step {next(counter)}"),
    lambda counter, x: F.sum(x) / np.sqrt(abs(next(counter)) + 1),
    lambda counter, x: next(counter, None) and F.sum(x),
])
def test_counts_of_itertools(mode, use, begin):
    def make(wrap):
        counters = [itertools.count(begin)]
        f = wrap(lambda x: use(counters[0], x))

        def call():
            return f(var(3)), repr(counters[0]).split(" at ")[0]

        def other(counter):
            counters[0] = counter
            return call()
        return [], [call, lambda: (next(counters[0]), call()), lambda: other(itertools.count(1, 2)), lambda: other(itertools.count(0.5)),
                    lambda: other(itertools.count(1 << 70)), lambda: other(iter([3] * 100)), lambda: other(itertools.count(begin))]
    skipped(check(make, mode), mode)
    check(make, mode, check=1.0)


@pytest.mark.parametrize("use", [
    "x * (box.n % 5 + 1)",
    "x * min(n, 30)",
    "x * (n if n < 30 else 30)",
    "x * pair[0] // 3",
    "x * (1 if box.n >= 20 else 2)",
    "x + np.random.randint(0, min(box.n, 30) + 1, 3)",
    "x * table[np.random.randint(0, min(box.n, 20) + 1, 3)]",
    "x * table[box.n % 20]",
    "x * np.exp(-n / 50)",
    "[x * k for k in range(box.n % 2 + 1)]",
])
def test_ints_that_others_count(mode, use):
    """The function only reads them: the environment, or the buffer, counts its steps."""
    def make(wrap):
        box, n, pair, table = Box(n=1), 1, [1, 2], np.arange(21.0, dtype="f")

        @wrap
        def f(x):
            return body(x, n)
        body = eval(f"lambda x, n: {use}", {"box": box, "pair": pair, "table": table, "np": np})

        def after(more):
            nonlocal n
            n += more
            box.n, pair[0] = n, n
            return f(arr(3))
        return [box], [lambda: after(1), lambda: after(0), lambda: after(3), lambda: after(-7)]
    skipped(check(make, mode, steps=[0] * 24 + [k for j in (1, 2, 3) for k in [j, 0, 0, j, 0]] + [0] * 24), mode, 16)
