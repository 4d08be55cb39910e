"""Chainer's ``static_graph``: a traced method, and what its chain has besides."""
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.graph_optimizations.static_graph import static_graph
from hybridnn.graph_optimizations.static_graph_utilities import static_code


class Plain(hnn.Chain):
    """Two layers."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.first, self.last = L.Linear(None, 5), L.Linear(5, 3)
        self.calls = 0

    def forward(self, x):
        return self.last(F.relu(self.first(x)))


class Static(Plain):
    """The same, called through ``static_graph``."""

    @static_graph(verbosity_level=2, minimize_cache_size=True, force_test_define_by_run=True, enable_double_backprop=True)
    def __call__(self, x):
        self.count()
        return super().__call__(x)

    @static_code(func_name="count")
    def count(self):
        """A side effect."""
        self.calls += 1


def test_a_static_chain_does_what_its_python_does():
    plain, static = Plain(), Static()
    x = np.random.rand(4, 2).astype("f")
    plain(x)
    static(x)
    static.copyparams(plain)
    for i in range(1, 12):
        x = hnn.Variable(np.random.rand(4, 2).astype("f"))
        assert static.calls == i
        for net in (plain, static):
            net.cleargrads()
            F.sum(net(x) ** 2).backward()
        for a, b in zip(plain.params(), static.params(), strict=True):
            np.testing.assert_allclose(b.grad, a.grad, 1e-5, 1e-6)
    assert static.__call__.stats.calls == 12


def test_a_static_chain_has_a_schedule_manager():
    assert Static().schedule_manager.end_forward() is None
    assert not hasattr(Plain(), "schedule_manager")


@pytest.mark.parametrize("decorate", [hnn.static_graph, hnn.static_graph()])
def test_a_function_can_be_static(decorate):
    double = decorate(lambda x: x * 2)
    assert [double(hnn.Variable(np.array(n))).item() for n in range(3)] == [0, 2, 4]


def test_a_method_can_be_made_static_later():
    class Late(Plain):
        """Has no static method at first."""

    Late.__call__ = hnn.static_graph(Plain.__call__)
    net = Late()
    assert net(np.ones((1, 2), "f")).shape == (1, 3)
    assert net.__call__.stats.calls == 1


def test_static_code_leaves_functions_as_they_are():
    assert hnn.static_code(len) is hnn.static_code()(len) is len
