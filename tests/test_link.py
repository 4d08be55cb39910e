"""Link, Chain, ChainList and Sequential: registering, walking, copying, updating, devices, hooks, errors."""
import copy
import pickle

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import initializers
from hybridnn.errors import BackendError, InvalidType, UninitializedParameterError


def array(*shape):
    return np.random.randn(*shape).astype("f")


class AutoEncoder(hnn.Chain):
    """The seed's example (section 4.2): works with any encoder and decoder."""

    def __init__(self, encoder, decoder):
        super().__init__(encoder=encoder, decoder=decoder)

    def __call__(self, x):
        return F.mean_squared_error(x, self.decoder(self.encoder(x)))


class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1 = L.Linear(3, 2)
            self.bn = L.BatchNormalization(2)
            self.scale = hnn.Parameter(1, (2,))
        self.l1.note = "plain attribute"

    def forward(self, x):
        return self.bn(self.l1(x)) * self.scale


class TestRegistering:
    def test_parameters_are_taken_inside_init_scope_only(self):
        link = hnn.Link()
        with link.init_scope():
            link.a = hnn.Parameter(1, (2, 3))
            assert link.within_init_scope
        link.b = hnn.Parameter(1, (2,))
        assert not link.within_init_scope
        assert [p.name for p in link.params()] == ["a"]
        assert vars(link)["a"] is link.a and link._params == {"a"}

    def test_parameters_from_keywords(self):
        link = hnn.Link(x=(2, 3), y=2, u=(2, "float64"), v=None)
        assert (link.x.shape, link.y.shape, link.u.shape) == ((2, 3), (2,), (2,))
        assert (link.x.dtype, link.u.dtype) == (np.float32, np.float64)
        assert np.isnan(link.x.array).all() and np.isnan(link.x.grad).all()
        assert not link.v.is_initialized

    def test_a_name_is_taken_once(self):
        link = hnn.Link(x=2)
        for register in (link.add_param, lambda name: link.add_persistent(name, 1)):
            with pytest.raises(AttributeError, match="'x'"):
                register("x")
        with pytest.raises(AttributeError, match="nowhere"):
            link.register_persistent("nowhere")

    def test_persistent_and_parameter_exclude_each_other(self):
        link = hnn.Link(x=2)
        link.register_persistent("x")
        assert link._params == set() and link._persistent == {"x"}
        with link.init_scope():
            link.x = hnn.Parameter(0, 2)
        assert link._params == {"x"} and link._persistent == set()

    def test_deleting_unregisters(self):
        net = Net()
        del net.l1, net.scale
        assert [path for path, _ in net.namedparams()] == ["/bn/beta", "/bn/gamma"]
        del net.bn.avg_mean
        assert net.bn._persistent == {"N", "avg_var"}

    def test_links_are_taken_inside_init_scope_only(self):
        net = hnn.Chain()
        net.a = L.Linear(1, 1)
        with net.init_scope():
            net.b = L.Linear(1, 1)
        assert list(net.children()) == [net.b] and net.b.name == "b" and net["b"] is net.b
        with pytest.raises(AttributeError, match="'b'"), net.init_scope():
            net.b = L.Linear(1, 1)
        with pytest.raises(AttributeError, match="'a'"):
            net.add_link("a", L.Linear(1, 1))
        with pytest.raises(TypeError, match="should be a Link; got int"):
            net.add_link("c", 3)
        with pytest.raises(TypeError, match="add_link"), hnn.ChainList().init_scope():
            raise TypeError("add_link")
        chain_list = hnn.ChainList()
        with pytest.raises(TypeError, match="add_link"), chain_list.init_scope():
            chain_list.x = L.Linear(1, 1)

    @pytest.mark.parametrize("use", [lambda link: link(1), lambda link: link.init_scope().__enter__(),
                                     lambda link: link.add_param("w", 1)])
    def test_a_forgotten_init_is_noticed(self, use):
        class Forgetful(hnn.Link):
            def __init__(self):
                pass

            def forward(self, x):
                return x
        with pytest.raises(RuntimeError, match=r"^Link\.__init__\(\) has not been called\.$"):
            use(Forgetful())


class TestCalling:
    def test_forward_is_called(self):
        class Plus(hnn.Link):
            def forward(self, x, *, y=1):
                return x + y
        assert Plus()(1, y=4) == 5

    def test_forward_from_a_class_mixed_in(self):
        class Mixed:
            def __call__(self, x):
                return x + 1

        class Link(hnn.Link, Mixed):
            pass
        assert Link()(1) == 2
        with pytest.raises(AttributeError, match="Link defines no forward"):
            hnn.Link()(1)

    def test_the_seed_autoencoder(self):
        x = array(5, 4)
        for encoder, decoder in [(L.Linear(4, 2), L.Linear(2, 4)),
                                 (hnn.Sequential(L.Linear(4, 3), F.tanh, L.Linear(3, 2)), L.Linear(None, 4))]:
            model = AutoEncoder(encoder, decoder)
            loss = model(x)
            model.cleargrads()
            loss.backward()
            optimizer = hnn.optimizers.SGD(.1).setup(model)
            optimizer.update()
            assert float(model(x)) < float(loss)
            assert {path.split("/")[1] for path, _ in model.namedparams()} == {"encoder", "decoder"}

    def test_uninitialized_parameters_are_named(self):
        link = L.Linear(None, 3)
        with pytest.raises(UninitializedParameterError, match="W"):
            F.sum(link.W)
        with pytest.raises(UninitializedParameterError, match="W"):
            link.W.shape
        link(array(2, 5))
        assert link.W.shape == (3, 5)


class TestWalking:
    def test_order_and_paths(self):
        net = Net()
        assert [path for path, _ in net.namedparams()] == ["/scale", "/bn/beta", "/bn/gamma", "/l1/W", "/l1/b"]
        assert [id(p) for _, p in net.namedparams()] == [id(p) for p in net.params()]
        assert [path for path, _ in net.namedlinks()] == ["/", "/bn", "/l1"]
        assert list(net.links(skipself=True)) == [net.bn, net.l1]
        outer = hnn.ChainList(net, L.Linear(2, 2))
        assert [path for path, _ in outer.namedlinks()] == ["/", "/0", "/0/bn", "/0/l1", "/1"]
        assert [path for path, _ in outer.namedparams()][-1] == "/1/b"

    def test_uninitialized_parameters_can_be_left_out(self):
        link = L.Linear(None, 3)
        assert [p.name for p in link.params()] == ["W", "b"]
        assert [p.name for p in link.params(include_uninit=False)] == ["b"]
        assert [path for path, _ in link.namedparams(False)] == ["/b"]

    def test_count_params(self):
        assert Net().count_params() == 6 + 2 + 4 + 2
        with pytest.warns(UserWarning, match="/W of Linear has no shape yet"):
            assert L.Linear(None, 3).count_params() == 3

    def test_text(self):
        assert str(L.Linear(3, 2)) == "Linear(in_size=3, out_size=2, nobias=False)"
        assert str(hnn.Chain()) == "Chain()"
        nested = hnn.ChainList(hnn.Chain(a=L.Linear(3, 2)))
        assert str(nested) == ("ChainList(\n  (0): Chain(\n    (a): Linear(in_size=3, out_size=2, nobias=False),\n  ),\n)")


class TestGradients:
    def test_clear_zero_add(self):
        a, b = Net(), Net()
        for net in (a, b):
            net.cleargrads()
            assert all(p.grad is None for p in net.params())
        F.sum(a(array(4, 3)) ** 2).backward()
        b.addgrads(a)
        b.addgrads(a)
        for p, q in zip(a.params(), b.params(), strict=True):
            np.testing.assert_allclose(q.grad, 2 * p.grad, rtol=1e-6)
        with pytest.warns(DeprecationWarning, match="cleargrads"):
            b.zerograds()
        assert all((p.grad == 0).all() for p in b.params())

    def test_parameters_without_a_shape(self):
        cleared, zeroed, added = (L.Linear(None, 2) for _ in range(3))
        cleared.cleargrads()
        with pytest.warns(DeprecationWarning, match="cleargrads"):
            zeroed.zerograds()
        known = L.Linear(3, 2)
        known.W.grad = np.ones((2, 3), "f")
        added.cleargrads()
        added.addgrads(known)
        for link in (cleared, zeroed):
            link(array(1, 3))
        assert cleared.W.grad is None and (zeroed.W.grad == 0).all() and (added.W.grad == 1).all()

    def test_first_gradients(self):
        assert np.isnan(hnn.Parameter(0, 2).grad).all() and hnn.Parameter(np.ones(2)).grad is None
        assert hnn.Parameter(np.ones(2), 2).dtype == np.float32 and hnn.Parameter().initializer.dtype is None
        param = hnn.Parameter(initializers.Normal(), (2, 3))
        param.initialize((2, 3))
        assert param.grad is None
        link = L.Linear(2, 2)
        link.cleargrads()
        assert np.isnan(link.copy("init").W.grad).all() and link.copy("copy").W.grad is None

    def test_updates_can_be_switched_off(self):
        net = Net()
        assert not net.update_enabled
        hnn.optimizers.SGD().setup(net)
        assert net.update_enabled
        net.disable_update()
        assert not net.update_enabled
        net.l1.enable_update()
        assert net.update_enabled and not net.bn.update_enabled


class TestCopy:
    def test_share(self):
        net = Net()
        net.l1.W.grad = np.ones_like(net.l1.W.array)
        shared = net.copy()
        assert type(shared) is Net and shared.name is None and shared.l1.name == "l1"
        assert shared.l1 is not net.l1 and shared.l1.W is not net.l1.W and shared.l1.W.array is net.l1.W.array
        assert shared.l1.W.grad is None and (net.l1.W.grad == 1).all()
        shared.l1.W.grad = np.zeros_like(shared.l1.W.array)
        assert (net.l1.W.grad == 1).all()
        assert shared.l1.note == "plain attribute"

    def test_shared_parameters_get_their_shape_together(self):
        layers = L.Linear(None, 3).repeat(3, mode="share")
        layers[1](array(2, 3))
        assert layers[0].W.shape == (3, 3) and layers[2].W.is_initialized
        assert all(layer.W.array is layers[1].W.array for layer in layers)
        for other in (copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):
            assert other[0].W.array is other[2].W.array is not layers[0].W.array
        first = L.Linear(2, 2)
        second = first.copy()
        first.W.initialize((2, 2))
        assert second.W.array is first.W.array
        lazy = L.Linear(None, 2)
        independent = lazy.copy("copy")
        lazy(array(1, 2))
        assert not independent.W.is_initialized

    def test_copy(self):
        net = Net()
        copied = net.copy("copy")
        assert all(not np.shares_memory(p.array, q.array) for p, q in zip(net.params(), copied.params(), strict=True))
        np.testing.assert_array_equal(net.l1.W.array, copied.l1.W.array)
        copied.bn.avg_mean += 1
        assert (net.bn.avg_mean == 0).all()

    def test_init_draws_each_parameter_once(self):
        np.random.seed(3)
        link = L.Linear(3, 2)
        first = link.W.array.copy()
        np.random.seed(3)
        drawn = link.copy("init")
        np.testing.assert_array_equal(drawn.W.array, first)
        after = np.random.random()
        np.random.seed(3)
        np.random.normal(size=(2, 3))
        assert np.random.random() == after

    def test_modes_are_checked(self):
        for link in (L.Linear(1, 1), hnn.Sequential()):
            with pytest.raises(ValueError, match="'share', 'copy', 'init'; got 'shallow'"):
                link.copy("shallow")
            with pytest.raises(ValueError, match="shallow"):
                link.repeat(2, "shallow")

    def test_children_added_to_a_copy_stay_there(self):
        net = Net()
        for mode in ("share", "copy"):
            copied = net.copy(mode)
            copied.add_link("more", L.Linear(1, 1))
            copied.l1.add_param("extra", 3)
            assert "more" not in net._children and "extra" not in net.l1._params
        lists = hnn.ChainList(L.Linear(1, 1))
        copied = lists.copy()
        copied.append(L.Linear(1, 1))
        assert len(lists) == 1 and len(copied) == 2 and copied[0] is not lists[0]

    def test_repeat(self):
        repeated = L.Linear(3, 3).repeat(3)
        assert type(repeated) is hnn.Sequential and len(repeated) == 3
        assert not np.array_equal(repeated[0].W.array, repeated[1].W.array)
        assert len(L.Linear(3, 3).repeat(0)) == 0
        link = L.Linear(3, 3)
        assert all(r.W.array is link.W.array for r in link.repeat(2, mode="share"))
        copies = link.repeat(2, mode="copy")
        assert all((r.W.array == link.W.array).all() and r.W.array is not link.W.array for r in copies)
        assert len(hnn.Sequential(L.Linear(2, 2), F.relu).repeat(2)) == 2

    def test_copyparams(self):
        a, b = Net(), Net()
        b.bn.avg_mean[:] = 5
        b.bn.N = 7
        a.copyparams(b)
        for (_, p), (_, q) in zip(a.namedparams(), b.namedparams(), strict=True):
            np.testing.assert_array_equal(p.array, q.array)
        assert (a.bn.avg_mean == 5).all() and a.bn.N == 7 and a.bn.avg_mean is not b.bn.avg_mean
        c = Net()
        c.copyparams(b, copy_persistent=False)
        assert (c.bn.avg_mean == 0).all()

    def test_copyparams_between_lazy_links(self):
        known, lazy = L.Linear(3, 2), L.Linear(None, 2)
        lazy.copyparams(known)
        np.testing.assert_array_equal(lazy.W.array, known.W.array)
        both = L.Linear(None, 2)
        both.copyparams(L.Linear(None, 2))
        assert not both.W.is_initialized

    def test_copyparams_between_different_structures_changes_nothing(self):
        a, b = hnn.Chain(x=L.Linear(2, 2), y=L.Linear(2, 3)), hnn.Chain(x=L.Linear(2, 2), y=L.Linear(2, 4))
        before = a.x.W.array.copy()
        with pytest.raises(InvalidType, match=r"/y/W of shape \(3, 2\)"):
            a.copyparams(b)
        with pytest.raises(InvalidType, match="without /y/W, /y/b"):
            a.copyparams(hnn.Chain(x=L.Linear(2, 2)))
        with pytest.raises(InvalidType, match="addgrads"):
            a.addgrads(hnn.Chain(x=L.Linear(2, 2)))
        np.testing.assert_array_equal(a.x.W.array, before)

    def test_deepcopy_and_pickle(self):
        net = Net()
        net.l1.W.grad = np.full_like(net.l1.W.array, 2)
        for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            np.testing.assert_array_equal(other.l1.W.array, net.l1.W.array)
            np.testing.assert_array_equal(other.l1.W.grad, net.l1.W.grad)
            assert [path for path, _ in other.namedparams()] == [path for path, _ in net.namedparams()]


class TestChainList:
    def test_it_is_a_list(self):
        a, b, c = (L.Linear(1, i) for i in (1, 2, 3))
        links = hnn.ChainList(a, b)
        links.append(c)
        links.insert(0, c)
        links[1] = b
        assert list(links) == [c, b, b, c] and len(links) == 4 and links[-1] is c
        del links[0]
        links[0:2] = [a]
        assert [link.name for link in links] == ["0", "1"] and links[:1] == [a]
        assert links.pop() is c and links.index(a) == 0
        links.extend([b, c])
        links.reverse()
        assert list(links) == [c, b, a]
        links.clear()
        assert not links
        for wrong in (lambda: links.append(F.relu), lambda: links.insert(0, 1), lambda: hnn.ChainList(1)):
            with pytest.raises(TypeError, match="children of ChainList are Links"):
                wrong()
        with pytest.raises(TypeError):
            links["a"] = a


class TestSequential:
    def test_calls_in_turn_and_spreads_tuples(self):
        s = hnn.Sequential(lambda x: (x, x + 1), lambda a, b: a * b, float)
        assert s(3) == 12.
        with pytest.raises(RuntimeError, match="empty Sequential"):
            hnn.Sequential()(1)
        with pytest.raises(ValueError, match="callable; got int"):
            hnn.Sequential(3)

    def test_children_are_numbered_as_in_files_of_chainer(self):
        """Facts of Chainer 7.8.1: tags of the children after links are added, inserted, replaced and deleted."""
        def link(tag):
            made = L.Linear(1, 1)
            made.tag = tag
            return made

        def tags(sequential):
            assert [child.name for child in sequential.children()] == [str(i) for i in range(len(list(sequential.children())))]
            return "".join(child.tag for child in sequential.children())
        s = hnn.Sequential(*[link(tag) for tag in "abcde"])
        assert tags(s) == "aedcb" and "".join(layer.tag for layer in s) == "abcde" and tags(s.copy()) == "aedcb"
        s.insert(0, link("f"))
        s.insert(-1, link("g"))
        assert tags(s) == "fgaedcb" and tags(s.copy()) == tags(s.copy("copy")) == "fgaedcb"
        s[2] = link("h")
        del s[0]
        assert tags(s) == "hgaedc" and s.pop().tag == "e" and tags(s) == "hgadc"
        del s[1:3]
        assert tags(s) == "gad" and [layer.tag for layer in s] == ["a", "d", "g"]
        t = hnn.Sequential(F.relu, *[link(tag) for tag in "abcd"])
        assert tags(t) == "abdc" and tags(t + s) == "abgdadc"
        t.remove_by_layer_type("Linear")
        assert tags(t) == "" and len(t) == 1

    def test_links_among_functions(self):
        a, b = L.Linear(3, 4), L.Linear(4, 2)
        s = hnn.Sequential(a, F.relu, b)
        assert len(s) == 3 and s[1] is F.relu and list(s.children()) == [a, b]
        assert [path for path, _ in s.namedparams()] == ["/0/W", "/0/b", "/1/W", "/1/b"]
        s.insert(0, F.tanh)
        s.insert(-1, b)
        assert list(s) == [F.tanh, a, F.relu, b, b]
        assert s(array(2, 3)).shape == (2, 2) if s.pop() is b else False
        s[0] = F.sigmoid
        s[-1] = L.Linear(4, 5)
        assert list(s.children())[1] is s[-1] and s[-1].name == "1"
        del s[0]
        s.remove(F.relu)
        assert len(s) == 2 and list(reversed(s))[1] is a and a in s and s.index(a) == 0 and s.count(a) == 1
        with pytest.raises(ValueError, match="no layer"):
            s.remove(F.relu)
        with pytest.raises(IndexError):
            s.insert(7, F.relu)
        with pytest.raises(ValueError):
            s[7] = F.relu
        s.clear()
        assert len(s) == 0 and list(s.children()) == []

    def test_arithmetic(self):
        s, t = hnn.Sequential(L.Linear(2, 2), F.relu), hnn.Sequential(L.Linear(2, 3))
        joined = s + t
        assert list(joined) == [*s, *t] and len(s) == 2
        s += t
        s.extend(t)
        assert len(s) == 4 and s[2] is s[3] is t[0]
        for wrong in (lambda: s + [F.relu], lambda: s.__iadd__(3)):
            with pytest.raises(ValueError, match="added to a Sequential only"):
                wrong()

    def test_by_type(self):
        s = hnn.Sequential(L.Linear(1, 1), F.relu, L.Linear(1, 1), hnn.Sequential(F.relu))
        assert s.count_by_layer_type("Linear") == 2 and s.count_by_layer_type("relu") == 1
        s.remove_by_layer_type("Linear")
        assert len(s) == 2 and s.count_by_layer_type("Sequential") == 1

    def test_flatten(self):
        a, b = L.Linear(1, 1), L.Linear(1, 1)
        s = hnn.Sequential(hnn.Sequential(a, hnn.Sequential(F.relu, b)), F.tanh)
        assert list(s.flatten()) == [a, F.relu, b, F.tanh] and len(s) == 2

    @pytest.mark.parametrize("mode", ["share", "copy", "init"])
    def test_copy(self, mode):
        s = hnn.Sequential(L.Linear(2, 2), lambda x: x + 1)
        copied = s.copy(mode)
        assert type(copied) is hnn.Sequential and copied[0] is not s[0] and list(copied.children()) == [copied[0]]
        assert (copied[0].W.array is s[0].W.array) == (mode == "share")
        assert np.array_equal(copied[0].W.array, s[0].W.array) == (mode != "init")
        copied.append(F.relu)
        assert len(s) == 2

    def test_copyparams(self):
        s, t = (hnn.Sequential(L.Linear(2, 2), F.relu, L.Linear(2, 1)) for _ in range(2))
        s.copyparams(t)
        np.testing.assert_array_equal(s[2].W.array, t[2].W.array)
        with pytest.raises(ValueError, match="come from a Sequential"):
            s.copyparams(hnn.ChainList())

    def test_pickle(self):
        s = hnn.Sequential(L.Linear(2, 2), F.relu)
        other = pickle.loads(pickle.dumps(s))
        x = array(3, 2)
        np.testing.assert_array_equal(other(x).array, s(x).array)
        with pytest.raises(ValueError, match="lambda cannot be pickled"):
            pickle.dumps(hnn.Sequential(lambda x: x))

    def test_text(self):
        text = str(hnn.Sequential(L.Linear(2, 1), lambda x: x + 1))
        assert "(0): Linear(in_size=2, out_size=1, nobias=False)," in text and "lambda x: x + 1" in text


class TestDevices:
    def test_the_cpu(self):
        net = Net()
        W = net.l1.W.array
        assert net.to_device("@numpy") is net and net.l1.W.array is W
        with pytest.warns(DeprecationWarning, match="to_device"):
            assert net.to_cpu() is net
        assert net.xp is np and net.device == hnn.get_device("@numpy") == hnn.get_device(-1) == hnn.get_device("-1")
        assert str(net.device) == "@numpy" and repr(net.device) == "<CpuDevice (numpy)>" and net.l1.W.device == net.device
        with hnn.using_device("@numpy"):
            pass

    @pytest.mark.parametrize("move", [lambda n: n.to_gpu(), lambda n: n.to_device("@cupy:0"), lambda n: hnn.get_device(0),
                                      lambda n: n.l1.W.to_gpu()])
    def test_no_gpu_is_said_clearly(self, move):
        from hybridnn import backend
        if backend.cupy is not None:
            pytest.skip("CuPy is installed")
        with pytest.raises(BackendError, match="CuPy is not installed"):
            move(Net())

    @pytest.mark.parametrize("spec, error", [("gpu", RuntimeError), ("cuda", RuntimeError), ("@numpy:1", ValueError), ("@cupy", ValueError),
                                             (1.5, TypeError), (None, TypeError)])
    def test_names_of_devices(self, spec, error):
        with pytest.raises(error, match=r"device|ChainerX"):
            hnn.get_device(spec)

    def test_a_visitor_sees_everything(self):
        class Seen:
            def __init__(self):
                self.links, self.arrays, self.variables = [], 0, []
            visit_device_resident = lambda self, link: self.links.append(type(link).__name__)
            visit_variable = lambda self, v: self.variables.append(v.name)

            def visit_array(self, a):
                self.arrays += 1
                return a
        seen, net = Seen(), Net()
        lstm = L.LSTM(3, 2)
        lstm(array(1, 3))
        hnn.ChainList(net, lstm).device_resident_accept(seen)
        assert seen.links == ["ChainList", "Net", "BatchNormalization", "Linear", "LSTM", "Linear", "Linear"]
        assert seen.arrays == 2 and len(seen.variables) == 5 + 3 + 2

    def test_residents_that_are_no_links(self):
        class Table(hnn.DeviceResident):
            values = array(2)

            def device_resident_accept(self, visitor):
                super().device_resident_accept(visitor)
                self.values = visitor.visit_array(self.values)

        class Doubler(hnn.device_resident.DeviceResidentsVisitor):
            visit_device_resident = lambda self, resident: None
            visit_array = lambda self, a: a * 2
        table = Table()
        before = table.values
        assert table.to_device("@numpy") is table and table.values is before and table.xp is np
        table.device_resident_accept(Doubler())
        np.testing.assert_array_equal(table.values, before * 2)
        with pytest.raises(NotImplementedError):
            table.device_resident_accept(hnn.device_resident.DeviceResidentsVisitor())

    def test_moves_that_are_overridden(self):
        moved = []
        with pytest.warns(DeprecationWarning, match="device_resident_accept"):
            class Old(hnn.Chain):
                def to_cpu(self):
                    super().to_cpu()
                    moved.append(self.name)
        with pytest.warns(DeprecationWarning, match="to_cpu is deprecated"):
            Old().to_cpu()
            hnn.ChainList(Old()).to_device("@numpy")
        assert moved == [None, "0"]
        with pytest.raises(TypeError, match="not for overriding"):
            class Wrong(hnn.Link):
                def to_device(self, device):
                    return self

    def test_dtypes(self):
        assert hnn.get_dtype() == np.float32 and hnn.get_dtype("float16") == np.float16
        with hnn.using_config("dtype", hnn.mixed16):
            assert hnn.get_dtype() == np.float16 and hnn.get_dtype(None, map_mixed16=np.float32) == np.float32
            assert L.BatchNormalization(3).gamma.dtype == np.float32
        with hnn.using_config("dtype", "float64"):
            assert L.Linear(2, 2).W.dtype == np.float64
