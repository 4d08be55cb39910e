"""Gradients that the outputs of one operation are given: backward uses those of all that are alive, wherever among them it begins."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn import Variable


class Two(hnn.FunctionNode):
    def forward(self, inputs):
        return inputs[0] * 2, inputs[0] * 3

    def backward(self, indexes, grads):
        a, b = grads
        return (0 if a is None else a * 2) + (0 if b is None else b * 3),


class OldTwo(hnn.Function):
    def forward(self, inputs):
        return inputs[0] * 2, inputs[0] * 3

    def backward(self, inputs, grads):
        a, b = grads
        return (0 if a is None else a * 2) + (0 if b is None else b * 3),


KINDS = {"operation": lambda x: F.split_axis(x, 2, 0), "node": lambda x: Two().apply((x,)), "function": lambda x: OldTwo()(x)}
EXPECTED = {"operation": [1, 1, 10, 10], "node": [32] * 4, "function": [32] * 4}
kinds = pytest.mark.parametrize("kind", KINDS)


def given(ys):
    """The outputs' own gradients: 1 and 10."""
    for y, g in zip(ys, (1, 10)):
        y.grad = np.full(y.shape, g, y.dtype)
    return ys


def seen(*variables):
    return [None if v.grad is None else v.grad.tolist() for v in variables]


@kinds
@pytest.mark.parametrize("begin", [0, 1])
@pytest.mark.parametrize("double", [False, True])
def test_backward_uses_the_gradients_of_the_other_outputs(kind, begin, double):
    x = Variable(np.arange(4.))
    ys = given(KINDS[kind](x))
    ys[begin].backward(enable_double_backprop=double)
    assert seen(x, *ys) == [EXPECTED[kind], None, None]


@kinds
def test_backward_from_further_on_uses_them_too(kind):
    x = Variable(np.arange(4.))
    a, b = given(KINDS[kind](x))
    F.sum(a * 2).backward(retain_grad=True)
    assert seen(a, b) == [[2] * len(a), [10] * len(b)]
    assert seen(x) == [[2, 2, 10, 10] if kind == "operation" else [34] * 4]


def test_no_gradients_of_outputs_that_are_gone_cut_off_or_reached():
    x = Variable(np.arange(4.))
    a, b = given(F.split_axis(x, 2, 0))
    del b
    a.backward()
    assert seen(x) == [[1, 1, 0, 0]]
    x = Variable(np.arange(4.))
    a, b = given(F.split_axis(x, 2, 0))
    b.unchain()
    a.backward()
    assert seen(x, b) == [[1, 1, 0, 0], [10, 10]]
    x = Variable(np.arange(4.))
    a, b = given(F.split_axis(x, 2, 0))
    F.sum(a + b).backward()
    assert seen(x, a, b) == [[1] * 4, [1, 1], [10, 10]]


def test_a_function_that_is_applied_again_begins_anew():
    function = Two()
    x, z = Variable(np.arange(4.)), Variable(np.arange(4.))
    a, b = given(function.apply((x,)))
    c, d = function.apply((z,))
    F.sum(c).backward()
    assert seen(z, a, b) == [[2] * 4, [1] * 4, [10] * 4]


def test_grad_does_not_use_them():
    x = Variable(np.arange(4.))
    a, b = given(F.split_axis(x, 2, 0))
    g, = hnn.grad([a], [x])
    assert g.array.tolist() == [1, 1, 0, 0] and seen(a, b) == [[1, 1], [10, 10]]


@kinds
def test_outputs_of_a_traced_function(kind):
    traced = hnn.trace(lambda x: KINDS[kind](x * 2))
    for k in range(12):
        x = Variable(np.arange(4.) + k)
        a, b = given(traced(x))
        (a if k % 2 else b).backward()
        assert seen(x, a, b) == [[2 * g for g in EXPECTED[kind]], None, None]


@kinds
def test_inside_a_traced_function(kind):
    def f(x, other):
        a, b = KINDS[kind](x * 2)
        a.grad = x.array[:len(a)] * 0 + 1
        if other:
            b.grad = x.array[:len(b)] * 0 + 10
        a.backward()
        return a, b
    traced = hnn.trace(f)
    for k in range(24):
        x, y = Variable(np.arange(4.) + k), Variable(np.arange(4.) + k)
        other = k in (3, 7, 8, 9, 20)
        assert seen(x, *traced(x, other)) == seen(y, *f(y, other))


def test_inside_a_traced_function_by_a_value_that_python_looks_at():
    def f(x, w):
        a, b = F.split_axis(x * w, 2, 0)
        b.grad = np.ones(2) if float(F.sum(a).array) > 4 else None
        F.sum(a * a).backward()
        return b
    traced = hnn.trace(f)
    for k in range(24):
        values = np.arange(4.) + (3 if k in (5, 12, 13, 21) else 0)
        x, y, v, w = Variable(values), Variable(values), Variable(np.ones(4)), Variable(np.ones(4))
        assert seen(traced(x, v), x, v) == seen(f(y, w), y, w)


def test_an_earlier_backward_of_a_traced_function_does_without_gradients_set_later():
    def f(x, s):
        a, b = F.split_axis(x * 2, 2, 0)
        F.sum(b * b).backward()
        if s:
            a.grad = np.ones(2)
            F.sum(a * b).backward()
        return a, b
    traced = hnn.trace(f)
    for k in range(12):
        x, y = Variable(np.arange(4.) + k), Variable(np.arange(4.) + k)
        s = k in (4, 7, 8)
        assert seen(x, *traced(x, s)) == seen(y, *f(y, s))


def test_a_later_backward_does_not_put_back_gradients_that_an_earlier_one_kept():
    def f(x, w, s):
        t = w * x
        F.sum(t * t).backward(retain_grad=True)
        if s:
            t.grad = np.ones(4)
        F.sum(x * w).backward(retain_grad=True)
        return t
    traced = hnn.trace(f)
    for k in range(12):
        x, y, v, w = [Variable(np.arange(4.) + k) for _ in range(4)]
        s = k in (4, 7, 8)
        assert seen(x, v, traced(x, v, s)) == seen(y, w, f(y, w, s))


class Squared(hnn.FunctionNode):
    def forward(self, inputs):
        self.retain_inputs((0,))
        return inputs[0] * inputs[0],

    def backward(self, indexes, grad_outputs):
        return self.get_retained_inputs()[0] * grad_outputs[0] * 2,


def test_a_second_backward_through_a_function_after_the_path_was_left_in_the_first():
    def f(x, s):
        if s:
            x.grad = np.ones(4)
        y = Squared().apply((F.tanh(x) * x,))[0]
        F.sum(y).backward()
        return y
    traced = hnn.trace(f)
    for s in (False, True, False, True):
        x, z = Variable(np.arange(4.)), Variable(np.arange(4.))
        F.sum(traced(x, s) * 3).backward()
        F.sum(f(z, s) * 3).backward()
        np.testing.assert_allclose(x.grad, z.grad, rtol=1e-12)
