"""Methods and functions that a plan trusts are replaced between calls: of objects, of classes, and the code and defaults of functions."""
import sys
import types

import pytest
from worlds import MODES, arr, check, skipped, var

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


class Sgd(optimizers.SGD):
    """A class that a scenario can change."""


class Weight(hnn.Parameter):
    """Likewise."""


def nothing(*args, **kwargs):
    """What many a method is replaced by."""


def none_of_them(include_uninit=True):
    return iter(())


class Still(Weight):
    """A parameter that is never updated."""

    def update(self):
        """Nothing."""


class Kept(Weight):
    """A parameter that keeps its gradient."""

    def cleargrad(self):
        """Nothing."""


# name: (owner, attribute, other value). The owner is found from the optimizer; a function's attributes are its code and defaults.
RULE, NET = (lambda o: o.target.W.update_rule), (lambda o: o.target)
REPLACED = {
    "optimizer_update": (lambda o: o, "update", nothing),
    "optimizer_all": (lambda o: o, "_update_all", nothing),
    "optimizer_hooks": (lambda o: o, "call_hooks", nothing),
    "optimizer_safe": (lambda o: o, "is_safe_to_update", lambda: False),
    "optimizer_filling": (lambda o: o, "reallocate_cleared_grads", nothing),
    "class_all": (lambda o: Sgd, "_update_all", nothing),
    "class_safe": (lambda o: Sgd, "is_safe_to_update", lambda self: False),
    "rule_update": (RULE, "update", nothing),
    "rule_core": (RULE, "update_core", nothing),
    "rule_core_cpu": (RULE, "update_core_cpu", nothing),
    "rule_numbers": (RULE, "numbers", lambda p: (0.5,)),
    "rule_class": (lambda o: type(RULE(o)), "update", nothing),
    "parameter_update": (lambda o: o.target.W, "update", nothing),
    "parameter_cleargrad": (lambda o: o.target.W, "cleargrad", nothing),
    "kind_update": (lambda o: Weight, "update", nothing),
    "kind_cleargrad": (lambda o: Weight, "cleargrad", nothing),
    "parameter_is_still": (lambda o: o.target.W, "__class__", Still),
    "parameter_keeps": (lambda o: o.target.W, "__class__", Kept),
    "link_params": (NET, "params", none_of_them),
    "inner_params": (lambda o: o.target.l, "params", none_of_them),
    "link_cleargrads": (NET, "cleargrads", nothing),
    "inner_forward": (lambda o: o.target.l, "forward", lambda x: x[:, :3]),
    "function_defaults": (lambda o: F.leaky_relu, "__defaults__", (0.7,)),
    "function_code": (lambda o: F.leaky_relu, "__code__", (lambda x, slope=0.2: x * 3).__code__),
    "method_code": (lambda o: L.Linear.forward, "__code__", (lambda self, x, n_batch_axes=1: x[:, :3]).__code__),
}


def training(wrap):
    net = hnn.Chain()
    with net.init_scope():
        net.l, net.W = L.Linear(4, 3, initialW=arr(3, 4)), Weight(arr(3))
    opt = Sgd(0.1).setup(net)

    @wrap
    def step(x):
        loss = F.mean(F.leaky_relu(net.l(x)) * net.W + net.W * 2)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return net, opt, step


@pytest.mark.parametrize("name", REPLACED)
def test_replaced(mode, name):
    def make(wrap):
        net, opt, step = training(wrap)
        find, attribute, value = REPLACED[name]

        def replaced():
            owner = find(opt)
            there = attribute in vars(owner) or attribute.startswith("__")
            old = getattr(owner, attribute)
            setattr(owner, attribute, value)
            try:
                return step(arr(2, 4))
            finally:
                setattr(owner, attribute, old) if there else delattr(owner, attribute)
        return net, [lambda: step(arr(2, 4)), replaced]
    skipped(check(make, mode), mode, least=6)


def test_replaced_before_the_first_call(mode):
    def make(wrap):
        net, opt, step = training(wrap)
        seen = []
        core = net.W.update_rule.update_core
        net.W.update_rule.update_core = lambda p: (seen.append(1), core(p))
        net.l.params = types.MethodType(lambda link, include_uninit=True: (seen.append(2), L.Linear.params(link, include_uninit))[1], net.l)
        return [net, seen], [lambda: step(arr(2, 4)), lambda: step(arr(3, 4))]
    check(make, mode)


def test_a_parameter_learns_to_multiply(mode):
    class Other(hnn.Parameter):
        def __mul__(self, other):
            return F.tanh(self)

    def make(wrap):
        p = hnn.Parameter(arr(3))
        step = wrap(lambda x: F.sum(p * 2 + x))

        def during():
            p.__class__ = Other
            try:
                return step(var(3))
            finally:
                p.__class__ = hnn.Parameter
        return p, [lambda: step(var(3)), during]
    skipped(check(make, mode), mode, least=6)


def test_the_children_of_a_link_are_replaced(mode):
    def make(wrap):
        net, opt, step = training(wrap)

        def without_inner():
            old = net._children
            net._children = set()
            try:
                return step(arr(2, 4))
            finally:
                net._children = old
        return [net.l, net.W], [lambda: step(arr(2, 4)), without_inner]
    skipped(check(make, mode), mode, least=6)


@pytest.mark.parametrize("module, name, apply", [("activation", "relu", F.crelu), ("array", "concat", F.crelu),
                                                 ("loss", "_check_same", lambda x: F.mean_squared_error(x, x * 2))])
def test_what_the_librarys_functions_call(mode, module, name, apply):
    """By name, in their own module or another."""
    space = vars(sys.modules[f"hybridnn.functions.{module}"])

    def make(wrap):
        step = wrap(lambda x: apply(x) * 2)

        def replaced():
            old, space[name] = space[name], lambda x, *a, **k: None if module == "loss" else x[0] * 3 if name == "concat" else x * 3
            try:
                return step(var(3, 4))
            finally:
                space[name] = old
        return [], [lambda: step(var(3, 4)), replaced]
    skipped(check(make, mode), mode, least=6)
