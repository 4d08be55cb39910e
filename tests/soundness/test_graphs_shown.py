"""What Variables that come out of a call tell of their graph: ranks, labels, creators and their inputs, also where the graph has been given up."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers
from hybridnn.computational_graph import build_computational_graph
from hybridnn.errors import ReleasedGraphError

pytestmark = pytest.mark.parametrize("mode", MODES)

T = np.array([0, 2, 1, 0], "i")


def told(*variables):
    """All that the graphs behind some Variables tell."""
    found, stack, seen = [], [v.node for v in variables], []
    while stack:
        node = stack.pop(0)
        if node in seen:
            found.append(seen.index(node))
            continue
        seen.append(node)
        creator = node.creator
        found.append((node.label, node.rank, node.requires_grad, node.name, creator is None or (creator.label, creator.rank, type(creator).__name__)))
        stack += [] if creator is None else creator.inputs
    return found


class Double(hnn.FunctionNode):
    def forward(self, inputs):
        return 2 * inputs[0], inputs[0] + 1

    def backward(self, indexes, gys):
        return 2 * gys[0],


def net():
    model = hnn.ChainList(L.Linear(3, 4, initialW=arr(4, 3)), L.Linear(4, 3, initialW=arr(3, 4)))
    return model, optimizers.Adam(1e-2, eps=1e-3).setup(model)


LOSSES = {
    "last of all": lambda model, x, n: (F.softmax_cross_entropy(model[1](F.tanh(model[0](x))), T),),
    "a number": lambda model, x, n: (F.sum(model[1](F.tanh(model[0](x)))) / n,),
    "another number": lambda model, x, n: ((F.sum(model[1](model[0](x)) ** 2) * 0.5) * n,),
    "several": lambda model, x, n: (F.softmax_cross_entropy(h := model[1](F.tanh(model[0](x))), T), h),
    "outputs of one operation": lambda model, x, n: (F.sum((parts := F.split_axis(model[1](model[0](x)), 3, 1))[0]) ** 2, *parts),
    "no operation of several outputs": lambda model, x, n: (F.sum(h := F.relu(model[0](x))), h, F.exp(h)),
    "a function": lambda model, x, n: (F.sum(Double().apply((model[0](x),))[0]),),
    "a function last": lambda model, x, n: (Double().apply((F.sum(model[0](x)),))[0],),
}


@pytest.mark.parametrize("name", LOSSES)
def test_graphs_that_a_step_has_given_up(mode, name):
    def make(wrap):
        model, opt = net()

        @wrap
        def step(x, n):
            losses = LOSSES[name](model, x, n)
            model.cleargrads()
            losses[0].backward()
            opt.update()
            return losses

        def run(x, n):
            losses = step(x, n)
            return told(*losses), [(v.rank, v.label, v.creator.label, len(v.creator.inputs)) for v in losses]
        return model, [lambda: run(arr(4, 3), 4), lambda: run(arr(4, 3), 5.0), lambda: run(hnn.Variable(arr(4, 3)), 4),
                       lambda: run(hnn.Variable(arr(4, 3)) * 2, 4)]
    skipped(check(make, mode, tolerance=10.0), mode, 10 if "function" not in name else 0)


def test_a_drawing_of_it(mode):
    def make(wrap):
        model, opt = net()

        @wrap
        def step(x):
            loss = F.softmax_cross_entropy(model[1](F.tanh(model[0](x))), T)
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss
        return model, [lambda: sorted(str(getattr(n, "label", n)) for n in build_computational_graph([step(arr(4, 3))]).nodes)]
    skipped(check(make, mode), mode, 5)


UNCHAINED = {
    "the last operation": lambda model, x: [F.sum(model[1](h := F.tanh(model[0](x)))), h.creator.unchain()][0],
    "one whose Variable is gone": lambda model, x: [
        y := F.sum(model[1](F.tanh(model[0](x))) ** 2), y.creator.inputs[0].creator.inputs[0].creator.inputs[0].creator.unchain()][0],
    "all outputs of one": lambda model, x: [
        (parts := F.split_axis(model[0](x), 2, 1))[1].creator.unchain(), F.sum(parts[0] * model[1].b[:2] + parts[1])][1],
}


@pytest.mark.parametrize("name", UNCHAINED)
def test_a_call_unchains_operations(mode, name):
    def make(wrap):
        model, _ = net()

        @wrap
        def step(x):
            model.cleargrads()
            loss = UNCHAINED[name](model, x)
            loss.backward()
            return loss, [p.grad for p in model.params()]

        def run():
            return [step(arr(4, 3)), [None if p.grad is None else p.grad.copy() for p in model.params()]]
        return model, [run]
    check(make, mode)


def test_nobody_goes_back_through_it(mode):
    model, opt = net()

    @hnn.trace(mode=mode)
    def step(x):
        loss = F.sum(model[1](F.tanh(model[0](x))))
        model.cleargrads()
        loss.backward()
        opt.update()
        return loss
    for _ in range(5):
        loss = step(arr(4, 3))
    before = [p.grad.copy() for p in model.params()]
    for attempt in (loss.backward, (loss * 2).backward, lambda: hnn.grad([loss], [model[0].W])):
        with pytest.raises(ReleasedGraphError):
            attempt()
    for p, g in zip(model.params(), before, strict=True):
        np.testing.assert_array_equal(p.grad, g)


def test_graphs_that_an_update_leaves_behind_where_the_path_is_left(mode):
    def make(wrap):
        model, opt = net()
        seen = {"more": False}

        @wrap
        def step(x):
            h = F.tanh(model[0](x))
            loss = F.sum(model[1](h) ** 2) / 4
            model.cleargrads()
            loss.backward()
            opt.update()
            return loss, F.sum(h * 2) if seen["more"] else h

        def run():
            found = step(arr(4, 3))
            return told(*found), found

        def more():
            seen["more"] = not seen["more"]
            return run()
        return [model, seen], [run, more]
    check(make, mode, tolerance=10.0)


def test_powers_of_numbers_that_change_are_differentiated_twice_behind_a_branch(mode):
    def make(wrap):
        @wrap
        def f(x, k, n):
            x = hnn.Variable(x)
            y = F.sum(x ** k * n)
            g, = hnn.grad([y], [x], enable_double_backprop=True)
            if float(y.array) > 20:
                g, = hnn.grad([F.sum(g * g)], [x], enable_double_backprop=True)
            return y, g

        def run(*numbers):
            y, g = f(np.abs(arr(3)) + 1, *numbers)
            return y, g, told(g)
        numbers = [(2.5, 1.5), (3.5, 1.5), (4.5, 2.5), (5.5, 0.5), (4.5, 4.25), (5.5, 4.25)]
        return [], [lambda k=k, n=n: run(k, n) for k, n in numbers]
    w = check(make, mode, steps=[0, 0, 0, 1, 0, 2, 2, 3, 4, 5, 5, 3, 2, 0, 1, 5, 4])
    assert not w.reasons, w.reasons


def test_the_first_gradient_is_kept_where_a_function_ends_the_recording(mode):
    def make(wrap):
        w = hnn.Parameter(arr(3))

        @wrap
        def f():
            y = F.sum(Double().apply((w * 2,))[0])
            w.cleargrad()
            y.backward(retain_grad=True)
            return y, y.grad_var.requires_grad
        return [w], [f]
    check(make, mode)


def test_a_gradient_that_was_set_is_kept_as_it_was(mode):
    def make(wrap):
        w, state = hnn.Parameter(arr(3)), {"retain": False}

        @wrap
        def f():
            y = F.exp(w)
            y.grad = np.ones(3, "f")
            w.cleargrad()
            y.backward(retain_grad=state["retain"])
            return y

        def run(retain):
            state["retain"] = retain
            y = f()
            return y, None if y.grad is None else y.grad_var.requires_grad
        return [w], [lambda: run(False), lambda: run(True)]
    check(make, mode)
