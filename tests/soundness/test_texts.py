"""Texts of numbers that change from call to call: lines of a log, names, what is returned."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

pytestmark = pytest.mark.parametrize("mode", MODES)


def logged(k, loss, net, log):
    log.append(f"iteration {k:>4d}: loss={float(loss.array):.2f} {k * 2!r} {0.5 * k}")


def nested(k, loss, net, log):
    name = f"run {k}"
    log.append({"name": name, "texts": [f"{name}/{loss.array.mean():.1f}", f"{name!r:>12}"]})


def returned(k, loss, net, log):
    return f"{float(loss.array):.1f}", f"{loss.shape} {k}", str(k)


def after_the_update(k, loss, net, log):
    log.append(f"{float(np.abs(net.W.array).max()):.1f} of {k}")
    net.b.array *= 0.5
    log.append(f"{net.b.array.sum():.1f}")


def assigned(k, loss, net, log):
    log[0] = f"{k}"
    return f"{log[0]}!"


def decides(k, loss, net, log):
    if f"{float(loss.array):.0f}" > "1":
        log.append("big")
    return f"{k}" in ("1", "2"), len(f"{k * 10}")


def methods(k, loss, net, log):
    log.append(f"{k}".rjust(5) + "a" * k)


def characters(k, loss, net, log):
    log.append(f"{k:c}")


def widths(k, loss, net, log):
    log.append(f"{float(loss.array):{k + 4}.1f}")


@pytest.mark.parametrize("body", [logged, nested, returned, after_the_update, assigned, decides, methods, characters, widths])
def test_texts_of_numbers(mode, body):
    def make(wrap):
        net, log, numbers = L.Linear(3, 2), ["first"], [0, 1, 2, 3, 1, 0]
        net.W.array[...], net.b.array[...] = arr(2, 3), 0
        opt = hnn.optimizers.SGD(0.01).setup(net)

        @wrap
        def f(x, k):
            loss = F.sum(F.tanh(net(x)) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return body(k, loss, net, log), loss

        def turn():
            numbers.append(numbers.pop(0))
            return f(arr(4, 3), numbers[0]), list(log)

        def wrong():
            try:
                return f(arr(4, 3), -1)
            except OverflowError as error:
                return str(error)
        return [net, log], [turn, lambda: f(arr(4, 3) * 2, 5), wrong]
    w = check(make, mode, tolerance=10.0)
    if body in (logged, nested, returned, after_the_update, assigned):
        skipped(w, mode)


def as_key(x, batch, state):
    return {f"loss/{batch['task']}": F.sum(x) * batch["task"]}


def looked_up(x, batch, state):
    return state["heads"]["h%d" % batch["task"]] * F.sum(x)  # noqa: UP031


def stored(x, batch, state):
    state["log"][f"{batch['name']}_{state['epoch']}"] = F.sum(x).item()
    return dict(state["log"])


def compared(x, batch, state):
    return F.sum(x) if f"{batch['task']}" == "1" else F.mean(x)


def of_a_float(x, batch, state):
    return {"rate " + str(round(batch["rate"], 3)): F.sum(x)}


def counted(x, batch, state):
    state["t"] += 1
    return {f"t{state['t']}": F.sum(x)}


def of_a_value(x, batch, state):
    return {f"{int(F.sum(x).array)}": F.sum(x)}


@pytest.mark.parametrize("body", [as_key, looked_up, stored, compared, of_a_float, counted, of_a_value])
def test_texts_that_decide(mode, body):
    """Keys of logs, names of heads: what they are made of is looked at."""
    def make(wrap):
        state = {"heads": {"h0": 2.0, "h1": 3.0}, "log": {}, "epoch": 0, "t": 0}
        f = wrap(lambda x, batch: body(F.exp(x), batch, state))

        def turn(task, epoch):
            state["epoch"] = epoch
            return f(arr(3), {"task": task, "name": "ab"[task], "rate": 0.1 * task})
        return state, [lambda: turn(0, 0), lambda: turn(1, 0), lambda: turn(0, 1)]
    world = check(make, mode)
    if body not in (counted, of_a_value):
        skipped(world, mode, 5)
