"""Training loops written by hand: gradients that the program clips, scales, forgets, or takes from before the call."""
import inspect
import math
import operator
from collections import deque

import numpy as np
import pytest
from worlds import MODES, arr, check, net, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizer_hooks, optimizers, training
from hybridnn.trace.numpy_functions import is_array_function, place_of_output

pytestmark = pytest.mark.parametrize("mode", MODES)


def loss_of(model, x):
    return F.mean(model.b(F.tanh(model.a(x))) ** 2)


def clip(g, most):
    np.clip(g, -most, most, out=g)


def clip_by_place(g, most):
    np.clip(g, -most, most, g)


def clip_by_method(g, most):
    if g is not None:
        g.clip(-0.05, 0.05, out=g)


def two_sides(g, most):
    np.maximum(np.minimum(g, most, out=g), -most, out=g)


def scale(g, most):
    np.multiply(g, most, g)
    np.add(g, g, out=(g,))


def square(g, most):
    g *= g
    np.negative(g, g)


def replace_nan(g, most):
    g[~np.isfinite(g)] = 0
    np.multiply(np.tanh(g), 0.5, out=g)


@pytest.mark.parametrize("how", [clip, clip_by_place, clip_by_method, two_sides, scale, square, replace_nan])
def test_gradients_that_numpy_writes(mode, how):
    def make(wrap):
        model = net()
        opt = optimizers.SGD(0.1).setup(model)
        most, kept = [0.05], []

        @wrap
        def f(x):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            for p in model.params():
                if p.grad is None:
                    continue
                how(p.grad, most[0])
            opt.update()
            return loss

        def other_limit():
            most[0] = 0.02
            return f(arr(2, 3))

        def held():
            kept[:] = [p.grad for p in model.params()]
            return f(arr(2, 3))

        def without():
            model.a.W.cleargrad()
            model.a.disable_update()
            return f(arr(2, 3))
        return [model, most, kept], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * 2), lambda: f(arr(5, 3)), other_limit, held,
                                     lambda: f(arr(2, 3) * np.float32("nan")), without]
    skipped(check(make, mode, tolerance=5.0), mode)


def into_constants(a, x):
    m = np.zeros((2, 3), np.float32)
    np.add(x, a, out=m)
    np.multiply(m, m, m)
    return m


def into_itself(a, x):
    m = x * 2
    m *= m
    np.clip(m, 0, 1, m)
    return m


def used_before(a, x):
    m = np.ones((2, 3), np.float32)
    before = m + 1
    np.subtract(m, x, out=m)
    return before * m


def sums(a, x):
    m = np.zeros(3, np.float32)
    np.sum(x, 0, None, m)
    np.cumsum(m * 2, out=None)
    return m


@pytest.mark.parametrize("body", [into_constants, into_itself, used_before, sums])
def test_results_in_arrays_of_the_function(mode, body):
    def make(wrap):
        a = np.ones(3, np.float32)
        f = wrap(lambda x: F.exp(x) * body(a, x))

        def changed():
            a[...] += 1
            return f(arr(2, 3))
        return [a], [lambda: f(arr(2, 3)), changed, lambda: f(arr(2, 3, seed=4)), lambda: f(arr(2, 3).astype("d")), lambda: f(arr(2, 3) * np.float32("nan"))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("write", [
    lambda a: np.clip(a, 0, 3, a), lambda a: np.round(a, 0, a), lambda a: np.sum(arr(2, 3), 0, None, a), lambda a: np.mean(arr(2, 3), 0, None, a),
    lambda a: np.clip(a, 0, 3, out=a), lambda a: np.add(a, 1, a), lambda a: np.dot(arr(3, 3), a, a), lambda a: np.cumsum(a, 0, None, a),
    lambda a: np.take(a, [1, 0, 0], 0, a), lambda a: np.max(arr(2, 3), 0, a), lambda a: np.concatenate([a[1:], a[:1]], 0, a)])
def test_results_in_arrays_from_outside(mode, write):
    def make(wrap):
        a = arr(3)

        @wrap
        def f(x):
            write(a)
            return x * 2

        def changed():
            a[...] = [1.3, -2.4, 7.5]
            return f(arr(2, 3))
        return [a], [lambda: f(arr(2, 3)), changed, lambda: f(arr(4, 3))]
    check(make, mode)


def test_where_functions_take_arrays_for_their_results(mode):
    for fn in filter(is_array_function, [*vars(np).values(), *vars(np.linalg).values()]):
        if isinstance(fn, (np.ufunc, type)):
            continue
        names = inspect.signature(fn).parameters
        by_place = "out" in names and names["out"].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
        assert place_of_output(fn) == (list(names).index("out") if by_place else None), fn
    assert place_of_output(np.add) == 2 and place_of_output(operator.add) is None


def forget_before(model, opt, x):
    for p in model.params():
        p.grad = None
    loss = loss_of(model, x)
    loss.backward()
    opt.update()
    return loss


def forget_after(model, opt, x):
    loss = loss_of(model, x)
    loss.backward()
    for p in model.params():
        if p.grad is not None:
            p.data -= 0.1 * p.grad
            p.grad = None
    return loss


def forget_if_there(model, opt, x):
    for p in model.params():
        if p.grad is not None:
            p.grad = None
    loss = loss_of(model, x)
    loss.backward()
    for p in model.params():
        if p.grad is None:
            continue
        p.array -= 0.1 * p.grad
    return loss


def forget_what_was_given(model, opt, x):
    loss = loss_of(model, x)
    model.cleargrads()
    loss.backward()
    for p in model.params():
        p.grad = np.clip(p.grad, -0.1, 0.1)
    opt.update()
    model.a.W.grad = None
    model.b.cleargrads()
    return loss, model.a.W.grad is None, [p.grad is None for p in model.b.params()]


def forget_twice(model, opt, x):
    loss = loss_of(model, x)
    loss.backward()
    model.a.W.grad = np.clip(model.a.W.grad, -0.1, 0.1)
    opt.update()
    for p in model.params():
        p.grad = None
    loss = F.sum(model.a.W * model.a.W)
    loss.backward()
    norm = sum((p.grad ** 2).sum() for p in model.params() if p.grad is not None)
    model.cleargrads()
    return loss, norm


def half(model, opt, x):
    loss = F.sum(F.tanh(model.a(x)))
    model.cleargrads()
    loss.backward()
    for p in model.params():
        if p.grad is None:
            continue
        p.data -= 0.1 * p.grad
    return loss, [p.grad is None for p in model.params()]


def norm_from_before(model, opt, x):
    norm = sum([float((p.grad ** 2).sum()) for p in model.params() if p.grad is not None])
    loss = loss_of(model, x * 2)
    model.cleargrads()
    loss.backward()
    opt.update()
    return loss, norm


def step_from_before(model, opt, x):
    for p in model.params():
        if p.grad is None:
            continue
        p.data -= 0.1 * p.grad
    return F.sum(model.a(x))


def accumulate(model, opt, x):
    before = model.a.W.grad
    loss = loss_of(model, x)
    loss.backward()
    opt.update()
    return loss, before is None or before.sum(), model.a.W.grad


def given_back(model, opt, x):
    grads = [p.grad for p in model.params()]
    opt.update()
    return grads, model.a.W.grad, F.sum(model.a(x))


def into_an_operation(model, opt, x):
    g = model.a.W.grad
    return F.sum(F.matmul(x, g.T if g is not None else model.a.W.array.T)), g


FROM_BEFORE = [forget_before, forget_after, forget_if_there, forget_what_was_given, forget_twice, half, norm_from_before, step_from_before, accumulate,
               given_back, into_an_operation]


@pytest.mark.parametrize("hook", [None, hnn.optimizer_hooks.WeightDecay])
@pytest.mark.parametrize("step", FROM_BEFORE)
def test_gradients_that_come_and_go(mode, step, hook):
    def make(wrap):
        model, shared = net(), []
        opt = optimizers.SGD(0.1).setup(model)
        if hook is not None:
            opt.add_hook(hook(0.01))
        loss_of(model, arr(2, 3)).backward()
        f = wrap(lambda x: step(model, opt, x))

        def run(change):
            change()
            return f(arr(2, 3))

        def backward():
            model.cleargrads()
            loss_of(model, arr(2, 3, seed=5)).backward()

        def one():
            backward()
            model.a.W.grad = None

        def shares():
            model.a.W.grad = model.a.W.array

        def one_for_two():
            model.a.W.grad = model.a.W.array * 2
            shared[:] = [model.a.W.grad]

        def in_columns():
            model.a.W.grad = np.asfortranarray(arr(4, 3))

        def as_variables():
            for p in model.params():
                shared[:] = [p.grad_var]

        def not_finite():
            model.b.b.grad = np.full(2, np.nan, np.float32)
        changes = [lambda: None, model.cleargrads, backward, one, shares, one_for_two, in_columns, as_variables, not_finite]
        return [model, shared], [*[lambda c=c: run(c) for c in changes], lambda: (backward(), f(model.a.W.grad[:2]))[1]]
    world = check(make, mode)
    if not (hook and step in (accumulate, given_back, forget_what_was_given)):       # what hooks change in place was somebody's before
        skipped(world, mode)


def every_gradient(model, loss):
    return all(np.isfinite(p.grad).all() for p in model.params())


def no_gradient(model, loss):
    return not any([np.isnan(p.grad).any() or np.isinf(p.grad).any() for p in model.params()])


def loss_and_norms(model, loss):
    return all([np.isfinite(loss.array), *[float((p.grad ** 2).sum()) < 1e6 for p in model.params()]])


@pytest.mark.parametrize("good", [every_gradient, no_gradient, loss_and_norms])
def test_steps_that_are_left_out(mode, good):
    def make(wrap):
        model = net()
        opt = optimizers.MomentumSGD(0.1).setup(model)
        left_out = [0]

        @wrap
        def f(x):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            if good(model, loss):
                opt.update()
            else:
                left_out[0] += 1
            return loss
        steep = arr(2, 3)
        steep[0, 1] = np.inf
        return [model, left_out], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3) * np.float32("nan")), lambda: f(steep), lambda: f(arr(5, 3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("late", [True, False])
def test_epochs_are_counted(mode, late):
    class Counting(optimizers.Adam):
        def new_epoch(self, auto=False):
            super().new_epoch(auto)
            self.alpha *= 0.5

    def make(wrap):
        model = net()
        opt = optimizers.Adam().setup(model)
        other = Counting().setup(model)
        current = [opt]

        @wrap
        def f(x, last):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            if last and not late:
                current[0].new_epoch()
            current[0].update()
            if last and late:
                current[0].new_epoch()
            return loss, current[0].epoch

        def set_back():
            opt.epoch = 0
            return f(arr(2, 3), True)

        def counts_itself():
            opt.use_auto_new_epoch = True
            return f(arr(2, 3), True)

        def counts_no_more():
            opt.use_auto_new_epoch = False
            return f(arr(2, 3), True)

        def hidden():
            opt.new_epoch = lambda: None
            return f(arr(2, 3), True)

        def bare():
            opt.__dict__.pop("new_epoch", None)
            return f(arr(2, 3), True)

        def another():
            current[0] = other
            return f(arr(2, 3), True)
        return [model, opt, other], [lambda: f(arr(2, 3), True), lambda: f(arr(2, 3), False), set_back, counts_itself, counts_no_more, hidden, bare, another]
    world = check(make, mode)
    skipped(world, mode) if late else None


def last(history, loss):
    history.append(float(loss.array))
    return history[-1]


def last_but_one(history, loss):
    before = history[-1]
    history.append(float(loss.array))
    history.append(0.5)
    return history[-2], before, history[-3], history[-1], history[0]


def how_many(history, loss):
    n = len(history)
    history.append(float(loss.array))
    return n, len(history), len(history) * 2.0 + history[-1]


def every_third(history, loss):
    if len(history) % 3 == 0:
        loss = loss * 2
    history.append(float(loss.array))
    return loss, len(history)


def stored_behind(history, loss):
    history.append(float(loss.array))
    history[-1] = 7.0
    return history[-1], history[0]


def mean_of_three(history, loss):
    history.append(float(loss.array))
    return np.mean(history[-3:]), sum(history[-3:]) / len(history[-3:]), max(history[-2:])


def mean_before(history, loss):
    mean, spread = np.mean(history[-2:]), np.std(history[-4:])
    history.append(float(loss.array))
    return mean, spread, np.array(history[-2:]), np.median(history[-1:])


def near_the_mean(history, loss):
    history.append(float(loss.array))
    history.append(0.5)
    return loss * 2 if np.mean(history[-3:]) < history[-1] else loss


def changed_behind(history, loss):
    history.append(float(loss.array))
    history[0] = 3.0
    return np.mean(history[-3:]), history[-1]


def converged(history, loss):
    history.append(float(loss.array))
    return len(history) > 1 and abs(history[-1] - history[-2]) < 1e-3


def two_windows(history, loss):
    history.append(float(loss.array))
    return np.mean(history[-2:]) < np.mean(history[-4:-2]) if len(history) > 3 else None


def falling(history, loss):
    history.append(float(loss.array))
    return all(b <= a for a, b in zip(history[-3:], history[-2:])), len(history[-3:-1]), sum(history[1:]), len(history[-2:-5])


def lower_than_all(history, loss):
    history.append(float(loss.array))
    a, b = history[-2:]
    return history[-1] < min(history[:-1]), len(history[:-1]), b - a, max(history[-2:-1])


def looked_at_before(history, loss):
    before = history[-1]
    history.append(float(loss.array))
    return before, history[-2] - before, history[-1]


@pytest.mark.parametrize("look", [last, last_but_one, how_many, every_third, stored_behind, mean_of_three, mean_before, near_the_mean, changed_behind,
                                  converged, two_windows, falling, lower_than_all, looked_at_before])
def test_histories(mode, look):
    def make(wrap):
        model, history = net(), [0.25]
        count = [0]

        @wrap
        def f(x):
            return look(history, loss_of(model, x))

        def step():
            count[0] += 1
            return f(arr(2, 3, seed=count[0]))

        def shorter():
            del history[3:]
            return step()

        def begun():
            history[:] = [1.5]
            return step()

        def of_other_things(thing):
            history.append(thing)
            return step()
        return [model, history], [step, shorter, begun, lambda: of_other_things(None), lambda: of_other_things(1), lambda: of_other_things(np.float64(0.5)),
                                  lambda: f(arr(4, 3))]
    world = check(make, mode)
    skipped(world, mode) if look not in (stored_behind, changed_behind) else None


@pytest.mark.parametrize("most", [None, 4, 1])
@pytest.mark.parametrize("early", [True, False])
def test_windows_of_what_came_last(mode, most, early):
    """``np.mean`` of a deque, before or after the call appends to it."""
    def make(wrap):
        model, window = net(), deque([0.25, 0.5], most)

        @wrap
        def f(x):
            mean = np.mean(window) if early else None
            loss = loss_of(model, x)
            window.append(float(loss.array))
            if not early:
                window.append(0.5)
            return loss, mean, np.max(window), np.mean(window), window[-1]

        def without(x):
            window.clear()
            return f(x)

        def with_another(thing):
            window.append(thing)
            return f(arr(2, 3))
        return [model], [lambda: (f(arr(2, 3)), [*window]), lambda: without(arr(2, 3)) if not early else None, lambda: with_another(1),
                         lambda: with_another(2.0), lambda: with_another(np.float64(0.5)), lambda: f(arr(4, 3))]
    check(make, mode)


def popped_behind(window, value):
    window.append(value)
    if len(window) > 4:
        window.pop(0)
    return sum(window) / len(window), max(window), np.mean(window), window[-1], np.median(window[-2:])


def popped_before(window, value):
    oldest = window.pop(0)
    window.append(value)
    return oldest, oldest * 2, len(window), window[0], min(window)


def deleted(window, value):
    window.append(value)
    while len(window) > 3:
        del window[0]
    return sum(window), window[1], window[-2]


def all_popped(window, value):
    return [window.pop(0) for _ in range(len(window))], window.append(value), window.append(1.5), window[0], len(window)


def popped_and_assigned(window, value):
    window.append(value)
    window.pop(0)
    window[0] = 2.5
    return window[0], sum(window[-2:])


def pushed_into_what_is_kept_short(window, value):
    window.append(value)
    window.append(window.pop(0))
    return window.pop(0) < value, np.std(window), window.copy()


@pytest.mark.parametrize("kind", [list, deque])
@pytest.mark.parametrize("look", [popped_behind, popped_before, deleted, all_popped, popped_and_assigned, pushed_into_what_is_kept_short])
@pytest.mark.parametrize("checked", [False, True])
def test_windows_kept_short_by_hand(mode, look, kind, checked):
    """``window.pop(0)``, ``window.popleft()`` and ``del window[0]``."""
    class Popping(deque):
        def pop(self, k):
            return self.popleft()

    def make(wrap):
        model, window = net(), (list if kind is list else Popping)([0.25, 0.5, 0.75, 1.0])
        opt = optimizers.SGD(0.1).setup(model)

        @wrap
        def f(x):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss, look(window, float(loss.array))

        def of(*things):
            window.clear()
            window.extend(things)
            return f(arr(2, 3))
        return [model, window], [lambda: f(arr(2, 3)), lambda: of(0.5), lambda: of(), lambda: of(0.5, None, 2.0), lambda: of(1, 2, 3), lambda: of(1.0, 2.0, 3),
                                 lambda: of(*[np.float64(k) for k in range(5)]), lambda: of(*[0.5] * 9), lambda: f(arr(4, 3))]
    world = check(make, mode, **{"check": 1.0} if checked else {})
    if look in (popped_behind, popped_before) and kind is list:
        skipped(world, mode) if not checked else None


def test_counts_of_deques_that_others_fill(mode):
    """``len(memory)`` where it decides, and where it is a number; nothing is appended in the call."""
    def make(wrap):
        model, memory = net(), deque([0.5], 6)

        @wrap
        def f(x):
            if len(memory) < 4:
                return None
            return loss_of(model, x) * len(memory), np.mean(memory), sum(memory) / max(len(memory), 1)

        def call():
            memory.append(memory[-1] * 0.5)
            return f(arr(2, 3))
        return [model, memory], [call, lambda: memory.clear() or memory.extend([1.0, 2.0]) or f(arr(2, 3))]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("record", [
    lambda log, loss: log.append({"loss": float(loss.array), "n": len(log)}) or log[-1],
    lambda log, loss: log.append({"loss": loss}) or log[-1].update(n=3) or log[-1]["loss"],
    lambda log, loss: log.append((loss.item(), 2)) or log[-1][0] * log[-1][1],
    lambda log, loss: log.append([loss.item()]) or log[-1].append(len(log)) or log[-1],
    lambda log, loss: log.append([]) or log[-1].append(log[-1]) or loss,
    lambda log, loss: log.append([loss]) or log.append(log[-1]) or log[-2] is log[-1],
])
def test_records_that_are_looked_at_again(mode, record):
    def make(wrap):
        model, log = net(), []
        opt = optimizers.SGD(0.1).setup(model)

        @wrap
        def f(x):
            loss = loss_of(model, x)
            model.cleargrads()
            loss.backward()
            opt.update()
            return record(log, loss)

        def cleared():
            log.clear()
            return f(arr(2, 3))
        return [model], [lambda: (f(arr(2, 3)), log[-2:]), cleared, lambda: f(arr(4, 3))]
    check(make, mode)


@pytest.mark.parametrize("scores", [
    lambda loss, y, t, total: (math.exp(loss.item()), math.exp(total["loss"] / total["n"])),
    lambda loss, y, t, total: (math.sqrt(total["loss"]), 2 ** loss.item(), -math.log(loss.item()), total["n"] // loss.item()),
    lambda loss, y, t, total: ((y.array.argmax(1) == t).sum() / max(1, (y.array > 0).sum()), min(0.5, (y.array > 0).mean()), int(loss.item() * 100)),
    lambda loss, y, t, total: round(loss.item(), 2) if math.log10(loss.item()) < 0 else math.exp(loss.array),
    lambda loss, y, t, total: 1 / (loss.item() - total["loss"] / total["n"]),
])
def test_scores_behind_updates(mode, scores):
    """Functions that may raise, of what was there before the update: perplexities, roots of means."""
    def make(wrap):
        model, total = net(), {"loss": 0.0, "n": 0}
        opt = optimizers.SGD(0.1).setup(model)

        @wrap
        def f(x, t):
            y = model(x)
            loss = F.mean(y * y)
            model.cleargrads()
            loss.backward()
            opt.update()
            total["loss"] += loss.item()
            total["n"] += len(x)
            return scores(loss, y, t, total)

        def step(*shape):
            return f(arr(*shape), np.arange(shape[0]) % 2)

        def huge():
            model.b.array[...] = 1e18
            return step(2, 3)

        def of_total(loss):
            total["loss"] = loss
            return step(2, 3)
        return [model, total, opt], [lambda: step(2, 3), huge, lambda: of_total(-3.0), lambda: of_total(1e9), lambda: step(4, 3)]
    check(make, mode)


def test_updaters_of_ones_own(mode):
    """A step that asks its updater for its optimizers."""
    def make(wrap):
        first, second = net(), net()

        class Two(training.updaters.StandardUpdater):
            def step(self, x):
                one, two = [self.get_optimizer(name) for name in ("main", "other")]
                y = self.get_all_optimizers()["main"].target.a(x)
                one.update(lambda: F.sum(y * y))
                two.update(loss_of, two.target, x)
                return y, self.device is None

        opts = {"main": optimizers.Adam(0.01).setup(first), "other": optimizers.SGD(0.1).setup(second)}
        updater = Two({"main": hnn.iterators.SerialIterator([0], 1)}, opts)
        step = wrap(updater.step)

        def other():
            updater._optimizers["other"] = optimizers.MomentumSGD(0.05).setup(second)
            return step(arr(2, 3))
        return [first, second], [lambda: step(arr(2, 3)), lambda: step(arr(2, 3) * 2), other]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("whole", [False, True])
def test_best_paths(mode, whole):
    """A chain of labels that is trained and read in one step; the paths are arrays."""
    def make(wrap):
        model = hnn.Chain(a=L.Linear(3, 4), crf=L.CRF1d(4))
        opt = optimizers.Adam(0.01).setup(model)

        @wrap
        def step(xs, ys):
            scores = [model.a(x) for x in xs]
            loss = model.crf(scores, ys, transpose=whole)
            _, paths = model.crf.argmax(scores, transpose=whole)
            right = sum((p == y).sum() for p, y in zip(paths, ys))
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss, paths, right

        def call(sizes, seed):
            r = np.random.default_rng(seed)
            return step([r.normal(size=(n, 3)).astype("f") for n in sizes], [r.integers(0, 4, n).astype("i") for n in sizes])
        return [model], [lambda: call((3, 2, 2), 1), lambda: call((3, 2, 2), 2), lambda: call((2, 2), 3)]
    skipped(check(make, mode), mode)


def test_gradients_of_frozen_parameters_are_there_or_made(mode):
    """An update gives zeros to parameters without a gradient, also to those that it leaves alone: it matters whether they have one."""
    def make(wrap):
        net = hnn.Chain(a=L.Linear(3, 2, initialW=0.5), b=L.Linear(3, 2, initialW=0.25))
        opt = optimizers.MomentumSGD(0.1).setup(net)
        net.a.disable_update()
        net.cleargrads()

        @wrap
        def f(x):
            loss = F.sum(net.b(x))
            net.b.cleargrads()
            loss.backward()
            opt.update()
            return loss.array

        def cleared():
            net.cleargrads()
            return f(arr(2, 3))

        def given():
            net.a.W.grad = np.ones((2, 3), "f")
            return f(arr(2, 3))
        return net, [lambda: f(arr(2, 3)), cleared, given]
    skipped(check(make, mode, held=True), mode)


@pytest.mark.parametrize("hook", [None, optimizer_hooks.WeightDecay(0.01), optimizer_hooks.GradientClipping(0.5)])
@pytest.mark.parametrize("frozen", [True, False])
def test_parameters_without_arrays_may_get_them(mode, frozen, hook):
    """A layer that nobody has called yet: an update passes over its parameters until they have arrays, and then gives them gradients."""
    def make(wrap):
        net = hnn.Chain(a=L.Linear(3, 2, initialW=0.5), b=L.Linear(None, 2, initialW=0.25))
        opt = optimizers.MomentumSGD(0.1).setup(net)
        if hook is not None:
            opt.add_hook(hook)

        def begin():
            if frozen:
                net.b.disable_update()
            net.cleargrads()

        @wrap
        def f(x):
            loss = F.sum(net.a(x))
            net.cleargrads()
            loss.backward()
            opt.update()
            return loss.array, net.b.W.update_rule.t

        def called():
            net.b(arr(2, 5))
            return f(arr(2, 3))

        def shared():
            other = net.b.copy()
            f(arr(2, 3))
            other(arr(2, 5))
            return f(arr(2, 3))

        def anew(change=lambda b: None):
            net.b = L.Linear(None, 2)
            opt.setup(net)
            change(net.b)
            begin()
            return f(arr(2, 3))

        def filled():
            net.b.W.zerograd()
            return f(arr(2, 3)), called()
        begin()
        again = [lambda: f(arr(2, 3))] * 8
        return net, [*again, called, anew, *again, shared, lambda: anew(lambda b: b.W.update_rule.add_hook(lambda rule, p: None)), anew, *again, filled]
    skipped(check(make, mode), mode)


def test_pairs_of_the_last_steps(mode):
    """L-BFGS by hand, which keeps its last steps in lists, and takes them out at the front."""
    def make(wrap):
        model = net()
        x, steps, changes = arr(4, 3), [], []

        def gradient(w):
            at = 0
            for p in model.params():
                p.array[...] = w[at:at + p.size].reshape(p.shape)
                at += p.size
            model.cleargrads()
            loss = loss_of(model, x)
            loss.backward()
            return loss.item(), np.concatenate([p.grad.ravel() for p in model.params()])

        def step():
            w = np.concatenate([p.array.ravel() for p in model.params()])
            loss, g = gradient(w)
            d, scales = g, []
            for s, y in zip(reversed(steps), reversed(changes)):
                scales.append((s @ d) / (y @ s))
                d = d - scales[-1] * y
            for (s, y), scale in zip(zip(steps, changes), reversed(scales)):
                d = d + s * (scale - (y @ d) / (y @ s))
            moved = w - np.float32(0.1) * d
            steps.append(moved - w)
            changes.append(gradient(moved)[1] - g)
            if len(steps) > 3:
                steps.pop(0)
                changes.pop(0)
            return loss
        f = wrap(step)

        def forget():
            del steps[1:], changes[1:]
            return f()
        return [model, steps, changes], [f, forget, f]
    skipped(check(make, mode, steps=[0] * 12 + [1] + [0] * 6, tolerance=100.0), mode, 5)
