"""The examples of the article that the project grew from (Tokui 2016), section by section, as a user would write them."""

import gc
import weakref

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.computational_graph import build_computational_graph


def variables(n, shape=(4,)):
    rng = np.random.default_rng(7)
    return [hnn.Variable(rng.uniform(0.5, 1.5, shape)) for _ in range(n)]


class Counted(hnn.FunctionNode):
    """x * y, which counts its gradients."""

    calls = 0

    def forward(self, inputs):
        self.retain_inputs((0, 1))
        return inputs[0] * inputs[1],

    def backward(self, indexes, gs):
        Counted.calls += 1
        x, y = self.get_retained_inputs()
        return gs[0] * y, gs[0] * x


@pytest.fixture
def counted():
    Counted.calls = 0
    return lambda x, y: Counted().apply((x, y))[0]


class TestSection2Backpropagation:
    def test_equations_1_and_2_chain_rule(self):
        x1, x2, x3 = variables(3)
        z = x1 * x2
        y = F.exp(z) / x3
        y.grad = np.full_like(y.array, 2.0)
        y.backward()
        dz = 2 * np.exp(z.array) / x3.array
        np.testing.assert_allclose(x1.grad, x2.array * dz)
        np.testing.assert_allclose(x2.grad, x1.array * dz)
        np.testing.assert_allclose(x3.grad, -2 * np.exp(z.array) / x3.array ** 2)

    def test_the_shared_factor_is_computed_once(self, counted):
        x1, x2, x3 = variables(3)
        y = counted(x1 * x2, x3)
        F.sum(y).backward()
        assert Counted.calls == 1
        np.testing.assert_allclose(x1.grad, x2.array * x3.array)
        np.testing.assert_allclose(x2.grad, x1.array * x3.array)

    @pytest.mark.parametrize("decorate", [lambda f: f, hnn.trace], ids=["eager", "traced"])
    def test_equations_3_and_4_gradients_of_all_paths_are_summed(self, decorate):
        def loss(x):
            z1, z2 = F.sin(x), x * x
            return F.sum(z1 * z2)
        f, x = decorate(loss), variables(1)[0]
        for _ in range(4):
            x.cleargrad()
            f(x).backward()
            np.testing.assert_allclose(x.grad, np.cos(x.array) * x.array ** 2 + np.sin(x.array) * 2 * x.array)

    def test_a_value_behind_a_branch_is_visited_once_with_the_whole_sum(self, counted):
        x, w = variables(2)
        z = counted(x, w)
        y = F.sum(F.sin(z) + F.exp(z) + z * z)
        y.backward()
        assert Counted.calls == 1
        np.testing.assert_allclose(x.grad, w.array * (np.cos(z.array) + np.exp(z.array) + 2 * z.array))


class TestSection32Figure3:
    """z = x1 * x2, y = z - x3: the extended graph has dz = identity(dy), dx3 = neg(dy), dx1 = x2 * dz, dx2 = x1 * dz."""

    def gradients(self):
        xs, dy = variables(3), hnn.Variable(np.arange(1.0, 5.0))
        z = xs[0] * xs[1]
        y = z - xs[2]
        return xs, dy, hnn.grad([y], [z, *xs], [dy], enable_double_backprop=True)

    def test_values(self):
        (x1, x2, _), dy, (dz, dx1, dx2, dx3) = self.gradients()
        for g, wanted in ((dz, dy.array), (dx1, x2.array * dy.array), (dx2, x1.array * dy.array), (dx3, -dy.array)):
            np.testing.assert_array_equal(g.array, wanted)

    def test_nodes(self):
        _, _, gradients = self.gradients()
        assert [g.creator.label for g in gradients] == ["Identity", "_ * _", "_ * _", "__neg__"]

    def test_edges(self):
        (x1, x2, _), dy, (dz, dx1, dx2, dx3) = self.gradients()

        def comes_from(g):
            return {x for x in build_computational_graph([g]).nodes if not hasattr(x, "inputs")} - {g.node}
        assert comes_from(dz) == comes_from(dx3) == {dy.node}
        assert comes_from(dx1) == {dy.node, dz.node, x2.node}
        assert comes_from(dx2) == {dy.node, dz.node, x1.node}

    def test_forward_and_backward_have_one_form(self):
        """The extended graph can be differentiated like any other: d(sum dx1)/dx2 = dy, d(sum dx1)/d(dy) = x2."""
        (_, x2, _), dy, (_, dx1, _, _) = self.gradients()
        g2, gdy = hnn.grad([F.sum(dx1)], [x2, dy])
        np.testing.assert_array_equal(g2.array, dy.array)
        np.testing.assert_array_equal(gdy.array, x2.array)

    def test_recorded_by_a_trace(self):
        @hnn.trace
        def gradients(x1, x2, x3, dy):
            z = x1 * x2
            y = z - x3
            return hnn.grad([y], [x1, x2, x3], [dy], enable_double_backprop=True)
        xs, dy = variables(3), hnn.Variable(np.arange(1.0, 5.0))
        for _ in range(4):
            dx1, dx2, dx3 = gradients(*xs, dy)
            np.testing.assert_array_equal(dx1.array, xs[1].array * dy.array)
            np.testing.assert_array_equal(dx2.array, xs[0].array * dy.array)
            np.testing.assert_array_equal(dx3.array, -dy.array)
        assert gradients.stats.recordings == 1 and gradients.stats.hits == 3


def f(x, t):
    return 2 * x if t == 0 else 3 * x


class TestSection41Equation5:
    @pytest.mark.parametrize("t, factor", [(0, 2), (1, 3), (-4, 3)])
    def test_eager(self, t, factor):
        x = variables(1)[0]
        y = f(x, hnn.Variable(np.array(t)))
        F.sum(y).backward()
        np.testing.assert_array_equal(y.array, factor * x.array)
        np.testing.assert_array_equal(x.grad, np.full(4, factor))

    def test_the_graph_holds_only_the_path_taken(self):
        """Figure 5: an operation on x and nothing else; no `if`, and no other branch."""
        for t, label in enumerate(("_ * 2", "_ * 3")):
            y = f(variables(1)[0], hnn.Variable(np.array(t)))
            assert [n.label for n in build_computational_graph([y]).nodes if hasattr(n, "inputs")] == [label]

    def test_traced_both_paths_are_cached(self):
        traced = hnn.trace(f)
        for t in [0, 1, 1, 0, 5, 0, 1] * 4:
            x = variables(1)[0]
            y = traced(x, hnn.Variable(np.array(t)))
            F.sum(y).backward()
            factor = 2 if t == 0 else 3
            np.testing.assert_array_equal(y.array, factor * x.array)
            np.testing.assert_array_equal(x.grad, np.full(4, factor))
        assert traced.stats.recordings == traced.stats.paths == 2
        assert traced.stats.hits == traced.stats.calls - 2

    def test_errors_are_pythons_own(self):
        """An error in a branch shows the user's line, on a recording and on a replay's detour alike."""
        @hnn.trace
        def g(x, t):
            return 2 * x if t == 0 else x.no_such_attribute
        x = variables(1)[0]
        for t in (0, 0, 0, 1, 0, 1):
            if t == 0:
                g(x, hnn.Variable(np.array(t)))
                continue
            with pytest.raises(AttributeError, match="no_such_attribute") as info:
                g(x, hnn.Variable(np.array(t)))
            assert "x.no_such_attribute" in str(info.traceback[-1].statement)


class Recurrent(hnn.Chain):
    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.x, self.h = L.Linear(1, units), L.Linear(units, units)

    def forward(self, h, x):
        return F.tanh(self.x(x) + self.h(h))


class TestSection41TruncatedBackpropagation:
    def run(self, net, xs, cut):
        """Gradient of the last state's sum, with the graph cut behind step ``cut``."""
        h = hnn.Variable(np.zeros((1, 3), "f"))
        for i, x in enumerate(xs):
            h = net(h, x)
            if i == cut:
                h.unchain_backward()
        net.cleargrads()
        F.sum(h).backward()
        return net.h.W.grad.copy()

    def test_gradients_stop_at_the_cut(self):
        net, xs = Recurrent(3), [np.full((1, 1), v, "f") for v in (0.5, -1, 2)]
        full, cut = self.run(net, xs, None), self.run(net, xs, 1)
        h = hnn.Variable(np.zeros((1, 3), "f"))
        for x in xs[:2]:
            h = net(h, x)
        net.cleargrads()
        F.sum(net(hnn.Variable(h.array), xs[2])).backward()     # as if the state were an input
        np.testing.assert_array_equal(cut, net.h.W.grad)
        assert abs(full - cut).max() > 1e-3

    def test_what_is_cut_off_is_freed(self):
        h = variables(1)[0]
        nodes = []
        gc.disable()
        try:
            for _ in range(20):
                h = F.sin(h)
                nodes.append(weakref.ref(h.creator))
            h.unchain_backward()
            assert sum(n() is not None for n in nodes) <= 1
        finally:
            gc.enable()

    @pytest.mark.parametrize("decorate", [lambda f: f, hnn.trace], ids=["eager", "traced"])
    def test_an_lstm_keeps_its_state_and_forgets_its_past(self, decorate):
        """Stateful between calls: the state goes on, the graph does not, also for the cell that the loss does not see."""
        np.random.seed(1)
        net = L.LSTM(1, 3)

        @decorate
        def step(xs):
            loss = 0
            for x in xs:
                loss += F.sum(net(x))
            net.cleargrads()
            loss.backward()
            loss.unchain_backward()
            return loss
        wanted, xs = self.by_hand(), np.random.RandomState(0).randn(6, 2, 2, 1).astype("f")
        for x, (value, gradient) in zip(xs, wanted, strict=True):
            assert float(step(list(x))) == pytest.approx(value, rel=1e-5, abs=1e-5)
            np.testing.assert_allclose(net.lateral.W.grad, gradient, rtol=1e-4, atol=1e-6)
            assert net.c.creator is None and net.h.creator is None

    def by_hand(self):
        """The same with the state carried over as plain arrays."""
        np.random.seed(1)
        net, c, h = L.StatelessLSTM(1, 3), None, None
        for x in np.random.RandomState(0).randn(6, 2, 2, 1).astype("f"):
            loss = 0
            for i in x:
                c, h = net(c, h, i)
                loss += F.sum(h)
            net.cleargrads()
            loss.backward()
            yield float(loss), net.lateral.W.grad.copy()
            c, h = hnn.Variable(c.array), hnn.Variable(h.array)


class AutoEncoder(hnn.Chain):
    """As in the article, to the letter."""

    def __init__(self, encoder, decoder):
        super().__init__(encoder=encoder, decoder=decoder)

    def __call__(self, x):
        return F.mean_squared_error(x, self.decoder(self.encoder(x)))


class Deep(hnn.Chain):
    def __init__(self, units):
        super().__init__()
        with self.init_scope():
            self.first, self.second = L.Linear(None, 8), L.Linear(None, units)

    def forward(self, x):
        return F.sigmoid(self.second(F.relu(self.first(x))))


PAIRS = {"linear": lambda: (L.Linear(6, 2), L.Linear(2, 6)), "deep": lambda: (Deep(3), Deep(6)),
         "mixed": lambda: (hnn.Sequential(L.Linear(None, 5), F.tanh), L.Linear(5, 6)),
         "nested": lambda: (Deep(4), hnn.Sequential(Deep(3), L.Linear(3, 6)))}


class TestSection42AutoEncoder:
    @pytest.mark.parametrize("pair", PAIRS)
    @pytest.mark.parametrize("decorate", [lambda f: f, hnn.trace], ids=["eager", "traced"])
    def test_any_encoder_and_decoder_learn(self, pair, decorate):
        encoder, decoder = PAIRS[pair]()
        model = AutoEncoder(encoder, decoder)
        optimizer = hnn.optimizers.Adam(0.02).setup(model)
        x = np.random.RandomState(0).rand(16, 6).astype("f")

        @decorate
        def step(x):
            loss = model(x)
            model.cleargrads()
            loss.backward()
            optimizer.update()
            return loss
        losses = [float(step(x)) for _ in range(15)]
        assert losses[-1] < losses[0]
        assert model.encoder is encoder and model.decoder is decoder
        assert {name.split("/")[1] for name, _ in model.namedparams()} == {"encoder", "decoder"}

    def test_it_is_saved_without_further_code(self, tmp_path):
        a, b = AutoEncoder(*PAIRS["deep"]()), AutoEncoder(*PAIRS["deep"]())
        x = np.random.RandomState(0).rand(4, 6).astype("f")
        a(x), b(x)
        hnn.serializers.save_npz(tmp_path / "model.npz", a)
        hnn.serializers.load_npz(tmp_path / "model.npz", b)
        np.testing.assert_array_equal(a(x).array, b(x).array)

    def test_parameters_are_data_nodes_of_the_graph(self):
        """Section 3.5: the gradient of a parameter is that of a value, not a side effect of an operation."""
        model = AutoEncoder(L.Linear(6, 2), L.Linear(2, 6))
        loss = model(np.ones((1, 6), "f"))
        nodes = set(build_computational_graph([loss]).nodes)
        assert {p.node for p in model.params()} <= nodes
        grads = hnn.grad([loss], list(model.params()))
        model.cleargrads()
        loss.backward()
        for p, g in zip(model.params(), grads, strict=True):
            np.testing.assert_allclose(p.grad, g.array)
