"""npz and HDF5 files: round trips, partial loading, and files that do not fit, which change nothing."""
import contextlib
import io
import pickle

import h5py
import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import serializers
from hybridnn.errors import SerializationError
from hybridnn.serializers import DictionarySerializer, HDF5Deserializer, HDF5Serializer, NpzDeserializer


def net(n_in=3):
    return hnn.Chain(body=hnn.Sequential(L.Linear(n_in, 4), L.BatchNormalization(4), F.relu), head=L.Linear(4, 2))


def values(link):
    found = {path: p.array for path, p in link.namedparams()}
    for path, child in link.namedlinks():
        found |= {f"{path}:{name}": getattr(child, name) for name in child._persistent}
    return {k: np.array(v) for k, v in found.items() if v is not None}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def trained():
    model = net()
    model.body[1].N = 5
    model.body(np.random.randn(6, 3).astype("f"))
    return model


@pytest.fixture(params=["npz", "hdf5"])
def kind(request):
    return request.param


def save(kind, file, obj, **how):
    getattr(serializers, f"save_{kind}")(str(file), obj, **how)


def load(kind, file, obj, **how):
    getattr(serializers, f"load_{kind}")(str(file), obj, **how)


class TestRoundTrip:
    def test_trainers(self, kind, tmp_path):
        """The state of an optimizer lies below its updater."""
        def trainer(n):
            model = L.Classifier(hnn.Sequential(L.Linear(3, 4), F.relu, L.Linear(4, 2)))
            optimizer = hnn.optimizers.Adam().setup(model)
            data = [(np.full(3, i, "f"), np.int32(i % 2)) for i in range(4)]
            updater = hnn.training.StandardUpdater(hnn.iterators.SerialIterator(data, 2, shuffle=False), optimizer)
            return hnn.training.Trainer(updater, (n, "iteration"), out=str(tmp_path)), optimizer

        one, optimizer = trainer(3)
        one.run()
        save(kind, tmp_path / "t", one)
        other, resumed = trainer(5)
        load(kind, tmp_path / "t", other)
        assert other.updater.iteration == resumed.t == 3
        for (_, p), (_, q) in zip(sorted(optimizer.target.namedparams()), sorted(resumed.target.namedparams()), strict=True):
            assert q.update_rule.t == 3
            np.testing.assert_array_equal(p.update_rule.state["m"], q.update_rule.state["m"])
        other.run()
        assert resumed.t == 5

    @pytest.mark.parametrize("compression", [0, 4])
    def test_links(self, kind, tmp_path, compression):
        model, other = trained(), net()
        save(kind, tmp_path / "m", model, compression=compression)
        array = other.head.W.array
        load(kind, tmp_path / "m", other)
        assert_same(values(model), values(other))
        assert other.head.W.array is array and other.body[1].N == 5 and type(other.body[1].N) is int

    def test_names_are_paths(self, tmp_path):
        serializers.save_npz(tmp_path / "m", net())
        with np.load(tmp_path / "m") as npz:
            assert sorted(npz.files) == ["body/0/W", "body/0/b", "body/1/N", "body/1/avg_mean", "body/1/avg_var", "body/1/beta",
                                         "body/1/gamma", "head/W", "head/b"]

    def test_uninitialized_parameters(self, kind, tmp_path):
        lazy = hnn.Chain(a=L.Linear(None, 2), b=L.BatchNormalization(axis=0))
        save(kind, tmp_path / "lazy", lazy)
        known = hnn.Chain(a=L.Linear(3, 2), b=L.BatchNormalization(axis=0))
        before = known.a.W.array.copy()
        load(kind, tmp_path / "lazy", known)
        np.testing.assert_array_equal(known.a.W.array, before)
        known.b(np.ones((2, 4), "f"))
        save(kind, tmp_path / "known", known)
        load(kind, tmp_path / "known", lazy)
        assert_same(values(known), values(lazy))
        assert lazy.a.W.grad is not None

    def test_dtypes_are_converted(self, kind, tmp_path):
        with hnn.using_config("dtype", "float64"):
            wide = L.Linear(3, 2)
        save(kind, tmp_path / "wide", wide)
        narrow = L.Linear(3, 2)
        load(kind, tmp_path / "wide", narrow)
        assert narrow.W.dtype == np.float32
        np.testing.assert_allclose(narrow.W.array, wide.W.array, rtol=1e-6)

    def test_dicts_and_open_files(self, tmp_path):
        file = io.BytesIO()
        serializers.save_npz(file, {"x": np.arange(3)})
        file.seek(0)
        with np.load(file) as npz:
            np.testing.assert_array_equal(npz["x"], [0, 1, 2])
        serializers.save_hdf5(tmp_path / "d", {"a/x": np.arange(3), "text": np.array("word")})
        with h5py.File(tmp_path / "d") as f:
            np.testing.assert_array_equal(f["a/x"][()], [0, 1, 2])

    def test_optimizer(self, kind, tmp_path):
        models, optimizers = [net(), net()], [hnn.optimizers.Adam() for _ in range(2)]
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.setup(model)
        for _ in range(2):
            models[0].cleargrads()
            F.sum(models[0].head(models[0].body(np.ones((2, 3), "f")))).backward()
            optimizers[0].update()
        save(kind, tmp_path / "o", optimizers[0])
        load(kind, tmp_path / "o", optimizers[1])
        assert optimizers[1].t == 2
        np.testing.assert_array_equal(models[1].head.W.update_rule.state["m"], models[0].head.W.update_rule.state["m"])

    def test_text_and_numbers(self, kind, tmp_path):
        class Notes:
            def __init__(self):
                self.text, self.whole, self.real, self.flag = "", 0, 0., False

            def serialize(self, serializer):
                for name in vars(self):
                    setattr(self, name, serializer(name, getattr(self, name)))
        notes, other = Notes(), Notes()
        notes.text, notes.whole, notes.real, notes.flag = "öäü [1, 2]", 3, .5, True
        save(kind, tmp_path / "n", notes)
        load(kind, tmp_path / "n", other)
        assert vars(other) == vars(notes) and [type(v) for v in vars(other).values()] == [str, int, float, bool]

    def test_reported_statistics(self, kind, tmp_path):
        summary, other = hnn.DictSummary(), hnn.DictSummary()
        for x in (1., 3.):
            summary.add({"loss": x, "weighted": (x, 2), "an array": np.ones(3)})
        save(kind, tmp_path / "s", summary)
        load(kind, tmp_path / "s", other)
        assert other.make_statistics() == summary.make_statistics() == {"loss": 2., "loss.std": 1., "weighted": 2.,
                                                                        "weighted.std": 1.}


class TestPartsOfFiles:
    def test_path(self, tmp_path, kind):
        model = trained()
        save(kind, tmp_path / "m", hnn.ChainList(model, L.Linear(1, 1)))
        other = net()
        load(kind, tmp_path / "m", other, path="0/")
        assert_same(values(model), values(other))

    def test_not_strict(self, tmp_path, kind):
        small, large = hnn.Chain(a=L.Linear(2, 2)), hnn.Chain(a=L.Linear(2, 2), b=L.Linear(2, 3), c=hnn.Chain(d=L.Linear(1, 1)))
        save(kind, tmp_path / "small", small)
        before = large.b.W.array.copy()
        load(kind, tmp_path / "small", large, strict=False)
        np.testing.assert_array_equal(large.a.W.array, small.a.W.array)
        np.testing.assert_array_equal(large.b.W.array, before)
        save(kind, tmp_path / "large", large)
        load(kind, tmp_path / "large", small)
        np.testing.assert_array_equal(small.a.W.array, large.a.W.array)

    @pytest.mark.parametrize("rule", ["head/W", ["head/W"], lambda name: name.endswith("d/W"),
                                      ("x", lambda name: name == "head/W")])
    def test_ignored_names(self, tmp_path, rule):
        model, other = trained(), net()
        serializers.save_npz(tmp_path / "m", model)
        before = other.head.W.array.copy()
        serializers.load_npz(tmp_path / "m", other, ignore_names=rule)
        np.testing.assert_array_equal(other.head.W.array, before)
        np.testing.assert_array_equal(other.head.b.array, model.head.b.array)
        with pytest.raises(ValueError, match="ignore_names"):
            serializers.load_npz(tmp_path / "m", other, ignore_names=3)


def test_serialize_gives_what_save_npz_writes(tmp_path):
    model = trained()
    found = serializers.npz.serialize(model)
    serializers.save_npz(tmp_path / "m", model)
    with np.load(tmp_path / "m") as saved:
        assert set(saved.files) == set(found)
        assert all((saved[name] == found[name]).all() for name in found)


class TestFilesThatDoNotFit:
    @pytest.fixture
    def refused(self, kind, tmp_path):
        """Loads what is saved of ``source`` into a model; checks that nothing has changed and returns the error."""
        def check(source, model, **how):
            save(kind, tmp_path / "m", source)
            before = values(model)
            with pytest.raises(SerializationError) as caught:
                load(kind, tmp_path / "m", model, **how)
            assert_same(values(model), before)
            return caught.value
        return check

    def test_missing_entries(self, refused):
        error = refused(hnn.Chain(body=net().body), net())
        assert isinstance(error, KeyError)
        assert "only in the Chain: head/W, head/b\n" in str(error) and "nothing was loaded" in str(error)

    @pytest.mark.parametrize("strict", [True, False])
    def test_wrong_shapes(self, refused, strict):
        assert "body/0/W: shape (4, 3) expected, the file has (4, 5)" in str(refused(net(5), net(), strict=strict))

    def test_shapes_that_would_broadcast(self, refused):
        assert "W: shape (2, 1) expected, the file has (1, 1)" in str(refused(L.Linear(1, 1), L.Linear(1, 2)))

    def test_wrong_kind(self, refused):
        a, b = hnn.Link(), hnn.Link()
        a.add_persistent("ids", np.array([.5, 1]))
        b.add_persistent("ids", np.array([1, 2]))
        assert "ids: int64 expected, the file has float64" in str(refused(a, b))

    def test_a_number_that_cannot_be_held(self, tmp_path):
        deserializer = NpzDeserializer({"n": np.array(.5)})
        with pytest.raises(TypeError, match="n: a int was expected, the file has float64"):
            deserializer("n", 3)

    def test_no_such_file(self, kind, tmp_path):
        with pytest.raises(FileNotFoundError):
            load(kind, tmp_path / "none", net())

    @pytest.mark.parametrize("content", [b"", b"not a file of arrays", b"PK\x03\x04 cut off", pickle.dumps({"x": 1})])
    def test_corrupt_files(self, kind, tmp_path, content):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(SerializationError, match=r"is no (npz|HDF5) file"):
            load(kind, tmp_path / "m", net())
        np.save(tmp_path / "a.npy", np.ones(3))
        with pytest.raises(SerializationError, match="single array"):
            serializers.load_npz(tmp_path / "a.npy", net())

    def test_python_objects_are_not_unpickled(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return exec, ("raise SystemExit('ran code of a file')",)
        np.savez(tmp_path / "m.npz", W=np.array(Bomb(), object), b=np.zeros(2))
        with pytest.raises(SerializationError, match="'W' holds Python objects"):
            serializers.load_npz(tmp_path / "m.npz", L.Linear(2, 2))
        np.savez(tmp_path / "m.npz", W=np.array([None, None], object), b=np.zeros(2))
        with pytest.raises(SerializationError, match="'W' holds Python objects"):
            serializers.load_npz(tmp_path / "m.npz", L.Linear(2, 2))

    def test_saving_fails_before_the_file_is_touched(self, tmp_path):
        (tmp_path / "m").write_bytes(b"the last good one")

        class Broken(hnn.Link):
            def serialize(self, serializer):
                raise RuntimeError("cannot be saved")
        with pytest.raises(RuntimeError):
            serializers.save_npz(tmp_path / "m", Broken())
        assert (tmp_path / "m").read_bytes() == b"the last good one"


class TestSerializers:
    def test_dictionary(self):
        s = DictionarySerializer({}, "path/")
        x = np.arange(3)
        assert s("/w", x) is x and s["child"]("x", 10) == 10 and s["/child/"]["y"]("z", None) is None
        assert sorted(s.target) == ["path/child/x", "path/child/y/z", "path/w"]
        none = s.target["path/child/y/z"]
        assert none.shape == () and none.dtype == object and none[()] is None
        assert s.target["path/child/x"] == 10 and isinstance(s.target["path/child/x"], np.ndarray)

    def test_npz_deserializer(self):
        d = NpzDeserializer({"p/w": np.arange(3.), "p/c/n": np.array(7), "p/none": np.asarray(None)}, "p/")
        w = np.zeros(3)
        assert d("w", w) is w and (w == [0, 1, 2]).all()
        assert d["c"]("n", 0) == 7 and d("none", w) is None
        np.testing.assert_array_equal(d("w", None), w)
        with pytest.raises(KeyError, match="'p/other'"):
            d("other", w)
        assert NpzDeserializer({}, strict=False)("x", 5) == 5
        with pytest.raises(SerializationError, match=r"w: shape \(2,\) expected"):
            d("w", np.zeros(2))

    def test_hdf5_groups(self, tmp_path):
        with h5py.File(tmp_path / "f", "w") as f:
            s = HDF5Serializer(f)
            s["a"]["b"]("x", np.arange(4))
            s("none", None)
            assert f["a/b/x"].compression == "gzip"
            d = HDF5Deserializer(f)
            x = np.zeros(4)
            assert d["a"]["b"]("x", x) is x and x[3] == 3 and d("none", x) is None
            with pytest.raises(KeyError, match="no entry 'x'"):
                d["c"]("x", x)
            assert HDF5Deserializer(f, strict=False)["c"]["d"]("x", 3) == 3

    def test_keys_that_begin_with_a_slash_lie_within_their_group(self, tmp_path):
        with h5py.File(tmp_path / "f", "w") as f:
            s = HDF5Serializer(f)["optimizer"]
            s["/l1/W"]("/t", 3)
            assert list(f) == ["optimizer"] and f["optimizer/l1/W/t"][()] == 3
            assert HDF5Deserializer(f)["optimizer"]["/l1/W"]("/t", 0) == 3

    def test_an_old_h5py_says_so(self, tmp_path, monkeypatch):
        with h5py.File(tmp_path / "f", "w") as f:
            s = HDF5Serializer(f)
            monkeypatch.setattr(h5py.version, "version_tuple", (2, 6, 0))
            with pytest.raises(RuntimeError, match=r"need h5py 3 or newer, and this is .*\n  hint: pip install --upgrade h5py"):
                s("x", None)

    def test_base_classes(self):
        for part in (lambda: hnn.AbstractSerializer()["a"], lambda: hnn.AbstractSerializer()("a", 1)):
            with pytest.raises(NotImplementedError):
                part()


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_whitening_without_groups_is_loaded_into_each_group(tmp_path, kind, groups):
    each, path = 4 // groups, str(tmp_path / "f")
    old = {"inner/avg_mean": np.arange(each, dtype="f"), "inner/avg_projection": np.ones((each, each), "f"), "inner/N": np.array(3)}
    getattr(serializers, f"save_{kind}")(path, old)
    model = hnn.Chain(inner=L.DecorrelatedBatchNormalization(4, groups))
    with pytest.warns(UserWarning, match="older algorithm") if groups > 1 else contextlib.nullcontext():
        getattr(serializers, f"load_{kind}")(path, model)
    np.testing.assert_array_equal(model.inner.avg_mean, [old["inner/avg_mean"]] * groups)
    np.testing.assert_array_equal(model.inner.avg_projection, [old["inner/avg_projection"]] * groups)
    assert model.inner.N == 3
    with pytest.raises(SerializationError, match="avg_mean: shape"):
        getattr(serializers, f"load_{kind}")(path, hnn.Chain(inner=L.DecorrelatedBatchNormalization(8, groups)))
