"""Programs that assign members of lists and dicts among their arguments: ``batch["h"] = h``."""
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


@pytest.mark.parametrize("check_", [0.0, 1.0])
def test_members(mode, check_):
    """New ones, old ones whose values are used before and after, what is counted and gone through."""
    def make(wrap):
        buffer, same = np.zeros(3, "f"), {"x": arr(3)}

        @wrap
        def f(batch, k):
            old = batch["x"]
            batch["x"] = F.exp(old) * k
            batch["old"], batch["k"] = old, k
            batch.update(n=3)
            buffer[...] = buffer * 0.5 + old
            batch["x"] = batch["x"] + 1
            return len(batch), list(batch), "old" in batch, batch["x"], {**batch}, batch.setdefault("new", 2.0), batch

        def again():
            same["x"] = arr(3, seed=5)
            return f(same, 2.0)
        return [same, buffer], [lambda: f({"x": arr(3)}, 2.0), lambda: f({"x": arr(3), "old": 1}, 2.0), lambda: f({"x": arr(3, seed=3)}, 3.0), again]
    world = check(make, mode, check=check_)
    if not check_:
        skipped(world, mode)


def test_nested(mode):
    def make(wrap):
        @wrap
        def f(batch):
            inner = batch["inner"]
            inner["h"] = F.exp(inner["x"])
            batch["inner"] = {"of": inner}
            inner["k"] = 2
            batch["list"][0] = inner["h"] * 2
            return inner, batch, batch["list"]
        return [], [lambda: f({"inner": {"x": arr(3)}, "list": [1, 2]}), lambda: f({"inner": {"x": arr(3), "k": 1}, "list": [None]}),
                    lambda: f({"inner": {"x": arr(3)}, "list": []})]
    skipped(check(make, mode), mode)


def test_the_same_dict_by_other_ways(mode):
    """As another argument, as a global or attribute, as the attributes of an object."""
    def make(wrap):
        settings, state = {"x": arr(3), "s": 1.0}, types.SimpleNamespace(x=arr(3), s=2.0)

        @wrap
        def f(batch, other):
            y = F.exp(batch["x"]) * settings["s"] * state.s
            batch["s"] = 5.0
            batch["h"] = y
            return y, settings["s"], state.s, batch["s"], "h" in other, len(other), batch is other

        def call(batch, other=None):
            settings["s"], state.s = 1.0, 2.0
            batch.pop("h", 0)
            return f(batch, batch if other is None else other)
        return [settings, state], [lambda: call({"x": arr(3), "s": 0}, {"x": 1, "s": 0}), lambda: call({"x": arr(3), "s": 0}),
                                   lambda: call(settings, {"x": 1, "s": 2}),
                                   lambda: call(vars(state), {"x": 1, "s": 2}), lambda: call({"x": 1, "s": 0, "y": 0}, settings)]
    skipped(check(make, mode), mode)


def test_step(mode):
    def make(wrap):
        net = L.Linear(3, 2, initialW=arr(2, 3))
        optimizer = optimizers.SGD(0.1).setup(net)

        @wrap
        def step(batch):
            batch["h"] = F.tanh(net(batch["x"]))
            batch["loss"] = F.softmax_cross_entropy(batch["h"], batch["t"])
            net.cleargrads()
            batch["loss"].backward()
            optimizer.update()
            batch["loss"] = float(batch["loss"].array)
            return batch

        def batch(n, label, **more):
            return step({"x": arr(n, 3), "t": np.array([0, label] * (n // 2)), **more})
        return [net], [lambda: batch(4, 1), lambda: batch(4, 2), lambda: batch(2, 0), lambda: batch(4, 0, h=None)]
    skipped(check(make, mode), mode)


def test_vouched(mode):
    """In ``mode="pure"``, too, what a function does to its arguments is done."""
    def make(wrap):
        batch, items, x = {"x": arr(3)}, [arr(3), None], arr(3)

        @wrap
        def f(batch):
            batch["h"] = F.exp(batch["x"])
            return batch["h"] * 2

        @wrap
        def g(items):
            items[1] = F.exp(items[0])
            items.append(len(items))
            return items.pop()

        @wrap
        def h(x):
            x *= 0.5
            return F.exp(x)

        def call():
            batch["x"] = batch["x"] * 0.9
            items[0] = batch["x"]
            x[0] = 1
            return f(batch), batch["h"], g(items), h(x)
        return [batch, items, x], [call]
    if mode == "auto":
        check(make, "pure")


def test_what_raises(mode):
    def make(wrap):
        @wrap
        def f(batch, k):
            y = F.exp(batch["x"])
            batch[k] = y
            return y, hnn.Variable(y.array), batch
        return [], [lambda: f({"x": arr(3)}, "k"), lambda: f({"x": arr(3)}, []), lambda: f(types.MappingProxyType({"x": arr(3)}), "k"),
                    lambda: f({"x": arr(3)}, True), lambda: f({"x": arr(3), 1: 2}, True)]
    check(make, mode)


def test_argument_that_is_no_dict(mode):
    """Whose own code runs once."""
    def make(wrap):
        log = []

        class Mapping:
            def __init__(self):
                self.members = {"x": arr(3)}

            def __getitem__(self, key):
                log.append(key)
                return self.members[key]

            def __setitem__(self, key, value):
                log.append((key,))
                self.members[key] = value

        @wrap
        def f(batch):
            old = batch["x"]
            batch["x"] = F.exp(old)
            return old, batch["x"]
        return [log], [lambda: f({"x": arr(3)}), lambda: f(Mapping())]
    skipped(check(make, mode), mode, least=5)


@pytest.mark.parametrize("check_", [0.0, 1.0])
def test_lists_that_keep_growing(mode, check_):
    """A log that is handed over with every call is no argument of another kind each time, also when it begins anew, another one comes, or others fill it."""
    def make(wrap):
        log, history, kept = [], {"loss": [], "n": 0}, []

        @wrap
        def f(x, log, history=None):
            y = F.sum(F.exp(x))
            log.append(float(y.array))
            if history is not None:
                history["loss"].append(log[-1])
                history["n"] += 1
            return y, len(log), np.mean(log[-3:])

        @wrap
        def both(x, a, b):
            a.append(float(F.sum(F.exp(x)).array))
            return len(b), a is b

        def anew():
            log.clear()
            return f(arr(3), log)

        def another():
            history["loss"] = []
            return f(arr(3), log, history=history)
        return [log, history, kept], [
            *[lambda k=k: f(arr(3, seed=k), log, history=history) for k in range(3)], anew, another, lambda: f(arr(3), log, history=history),
            lambda: log.extend(range(300)), lambda: f(arr(3), log, history=history), lambda: f(arr(3), [*log[:4]], history={"loss": [], "n": 0}),
            lambda: both(arr(3), kept, kept), lambda: both(arr(3), kept, log), lambda: both(arr(3), [arr(2)], kept),
            lambda: f(arr(3), [arr(3)], history={"loss": (), "n": 1}), lambda: f(arr(3), (), history=history)]
    world = check(make, mode, check=check_)
    if not check_:
        skipped(world, mode, least=20)


def test_log_from_inside(mode):
    """The function knows the list otherwise, too."""
    def make(wrap):
        log = []

        @wrap
        def f(x, given):
            log.append(float(F.sum(F.exp(x)).array))
            return len(log), given[-1] if given else None, len(given)
        return [log], [*[lambda: f(arr(3), log)] * 12, lambda: f(arr(3), [2.0]), lambda: f(arr(3), [])]
    check(make, mode)


def test_keys_and_values_of_the_words_so_far(mode):
    """Lists of Variables that a sequence fills: how long they are matters, and the next one has others, or begins anew."""
    def make(wrap):
        again = [{"k": [], "v": []} for _ in range(2)]

        @wrap
        def word(x, caches):
            with hnn.no_backprop_mode():
                for cache in caches:
                    cache["k"].append(F.exp(x))
                    cache["v"].append(x * 2)
                    K, V = F.stack(cache["k"]), F.stack(cache["v"])
                    x = x + F.matmul(F.softmax(F.matmul(x[None], K, transb=True)), V)[0]
            return x

        def sequence(caches):
            x, found = var(3), []
            for _ in range(7):
                x = word(x * 0.1, caches)
                found.append(x.array)
            return found, [len(c["k"]) for c in caches]

        def refilled():
            for cache in again:
                cache["k"].clear()
                cache["v"].clear()
            return sequence(again)
        return [again], [lambda: sequence([{"k": [], "v": []} for _ in range(2)]), refilled]
    skipped(check(make, mode), mode, least=40)
