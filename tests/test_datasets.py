"""Datasets made of others, splits, files, and batches made of examples."""
import copy
import gzip
import importlib.util
import io
import multiprocessing
import pickle
import sys
import tarfile
import zipfile

import numpy as np
import pytest

import hybridnn as hnn
from hybridnn import datasets
from hybridnn.dataset import ConcatWithAsyncTransfer, DatasetMixin, concat_examples, converter, to_device
from hybridnn.dataset.convert import call_converter
from hybridnn.datasets import cifar


class Squares(DatasetMixin):
    def __len__(self):
        return 6

    def get_example(self, i):
        if not -6 <= i < 6:
            raise IndexError(i)
        return int(i % 6) ** 2


def test_slices_and_lists_of_a_dataset():
    d = Squares()
    assert d[2] == 4 and d[-1] == 25
    assert d[1:4] == [1, 4, 9] and d[::-2] == [25, 9, 1]
    assert d[[0, 5]] == d[np.array([0, 5])] == [0, 25]


def test_tuples_and_dicts():
    x, y = np.arange(6) * 10, list("abcdef")
    t, d = datasets.TupleDataset(x, y), datasets.DictDataset(x=x, y=y)
    assert len(t) == len(d) == 6
    assert t[1] == (10, "b") and t[2:4] == [(20, "c"), (30, "d")]
    assert d[1] == {"x": 10, "y": "b"} and d[4:] == [{"x": 40, "y": "e"}, {"x": 50, "y": "f"}]
    for indices in ([0, 2], np.array([0, 2])):          # as they are for arrays: batches
        for batches in (datasets.TupleDataset(x, -x)[indices], tuple(datasets.DictDataset(x=x, y=-x)[indices].values())):
            np.testing.assert_array_equal(batches, ([0, 20], [0, -20]))
    for make in (lambda: datasets.TupleDataset(x, y[:3]), lambda: datasets.DictDataset(x=x, y=y[:3]), datasets.TupleDataset):
        with pytest.raises(ValueError):
            make()


def test_concatenation_and_transformation():
    c = datasets.ConcatenatedDataset([1, 2], [], [3])
    assert len(c) == 3 and c[:] == [1, 2, 3] and c[-1] == 3
    with pytest.raises(IndexError):
        c[3]
    t = datasets.TransformDataset(Squares(), lambda x: x + 1)
    assert len(t) == 6 and t[1:3] == [2, 5]


def test_parts():
    s = datasets.SubDataset(Squares(), 2, 5)
    assert len(s) == 3 and s[:] == [4, 9, 16] and s[-1] == 16
    assert datasets.SubDataset(Squares(), 0, 2, order=[5, 4, 3, 2, 1, 0])[:] == [25, 16]
    with pytest.raises(IndexError):
        s[3]
    for wrong in (dict(start=-1, finish=2), dict(start=0, finish=7), dict(start=0, finish=2, order=[1])):
        with pytest.raises(ValueError):
            datasets.SubDataset(Squares(), **wrong)


def test_splits():
    a, b = datasets.split_dataset(Squares(), 2)
    assert (a[:], b[:]) == ([0, 1], [4, 9, 16, 25])
    a, b = datasets.split_dataset_random(Squares(), 2, seed=0)
    assert len(a) == 2 and sorted(a[:] + b[:]) == [0, 1, 4, 9, 16, 25]
    assert a[:] == datasets.split_dataset_random(Squares(), 2, seed=0)[0][:]
    assert [p[:] for p in datasets.split_dataset_n(Squares(), 4)] == [[0], [1], [4], [9]]
    parts = datasets.split_dataset_n_random(Squares(), 2, seed=1)
    assert sorted(parts[0][:] + parts[1][:]) == [0, 1, 4, 9, 16, 25]
    for wrong, error in ((-1, ValueError), (7, ValueError), (1.5, TypeError)):
        with pytest.raises(error):
            datasets.split_dataset(Squares(), wrong)


@pytest.mark.parametrize("folds", [datasets.get_cross_validation_datasets(Squares(), 4),
                                   datasets.get_cross_validation_datasets_random(Squares(), 4, seed=0)])
def test_folds_share_out_the_dataset(folds):
    assert len(folds) == 4
    assert sorted(x for _, test in folds for x in test[:]) == [0, 1, 4, 9, 16, 25]
    assert all(sorted(train[:] + test[:]) == [0, 1, 4, 9, 16, 25] for train, test in folds)


# --------------------------------------------------------------------------------------------------------------- batches

def test_batches_of_arrays_numbers_tuples_and_dicts():
    x = [np.full((2,), i, "f") for i in range(3)]
    np.testing.assert_array_equal(concat_examples(x), [[0, 0], [1, 1], [2, 2]])
    assert concat_examples([1, 2]).dtype == np.asarray([1]).dtype
    a, b = concat_examples([(x[0], 1), (x[1], 2)])
    assert a.shape == (2, 2) and b.tolist() == [1, 2]
    d = concat_examples([{"k": x[0]}, {"k": x[1]}], device=-1)
    assert d["k"].shape == (2, 2)


def test_batches_are_padded():
    x = [np.ones((1, 2), "f"), np.ones((2, 1), "f")]
    np.testing.assert_array_equal(concat_examples(x, padding=-1), [[[1, 1], [-1, -1]], [[1, -1], [1, -1]]])
    a, b = concat_examples([(np.ones(1), [1]), (np.ones(2), [1, 2])], padding=(0, 9))
    assert a.tolist() == [[1, 0], [1, 1]] and b.tolist() == [[1, 9], [1, 2]]
    assert concat_examples([{"a": [1]}, {"a": [1, 2]}], padding={"a": 7})["a"].tolist() == [[1, 7], [1, 2]]


def test_what_cannot_be_a_batch():
    with pytest.raises(ValueError, match="empty"):
        concat_examples([])
    with pytest.raises(hnn.errors.InvalidType, match="padding=0"):
        concat_examples([np.ones(1), np.ones(2)])


def test_converters_get_devices_and_functions_get_numbers():
    seen = []

    @converter()
    def mine(batch, device):
        """Doc."""
        seen.append(device)
        return batch
    cpu = hnn.get_device("@numpy")
    call_converter(mine, [1], cpu), mine([1], -1), call_converter(lambda b, d: seen.append(d), [1], cpu)
    call_converter(lambda b, d: seen.append(d), [1], None)
    assert seen == [cpu, cpu, -1, None] and mine.__doc__ == "Doc."


@converter()
def doubled(batch, device):
    return [2 * x for x in batch]


def halved(batch, device):
    return [x / 2 for x in batch]


def test_converters_are_pickled_as_functions_are():
    copied, = pickle.loads(pickle.dumps([hnn.dataset.concat_examples]))
    assert copied is copy.deepcopy(copied) is hnn.dataset.concat_examples and pickle.loads(pickle.dumps(doubled)) is doubled
    made = converter()(halved)
    assert pickle.loads(pickle.dumps(made))([4], None) == [2]
    with pytest.raises((AttributeError, pickle.PicklingError), match=r"local object|lambda"):
        pickle.dumps(converter()(lambda batch, device: batch))


def test_transfer_to_the_cpu():
    x = np.ones((2, 3))
    assert to_device(None, x) is x and to_device(-1, x) is x
    a, b = ConcatWithAsyncTransfer()([(x, 1), (x, 2)], -1)
    assert a.shape == (2, 2, 3) and b.tolist() == [1, 2]
    assert ConcatWithAsyncTransfer()([{"a": x}])["a"].shape == (1, 2, 3)


# ------------------------------------------------------------------------------------------------------ files and sources

@pytest.mark.parametrize("ndim, shape", [(1, (64,)), (2, (8, 8)), (3, (1, 8, 8))])
def test_digits(ndim, shape):
    train, test = datasets.get_digits(ndim=ndim)
    assert (len(train), len(test)) == (1437, 360)
    image, label = train[0]
    assert image.shape == shape and image.dtype == "float32" and label.dtype == "int32"
    assert image.min() >= 0 and 0.5 < image.max() <= 1 and label in range(10)


def test_digits_without_labels():
    train, _ = datasets.get_digits(withlabel=False, scale=16.0, dtype="float64")
    assert train[0].dtype == "float64" and train[0].max() > 1
    with pytest.raises(ValueError, match="ndim"):
        datasets.get_digits(ndim=4)


# ----------------------------------------------------------------------------------------------------------------- downloaded

@pytest.fixture
def root(tmp_path, monkeypatch):
    """A folder of data sets of its own; asking the network for anything fails."""
    def refuse(url, *args):
        raise OSError(f"{url} is not to be fetched")
    monkeypatch.setattr("urllib.request.urlretrieve", refuse)
    before = hnn.dataset.get_dataset_root()
    hnn.dataset.set_dataset_root(str(tmp_path))
    yield tmp_path
    hnn.dataset.set_dataset_root(before)


def save(path, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


@pytest.mark.parametrize(("name", "folder"), [("mnist", "mnist"), ("fashion_mnist", "fashion-mnist"), ("kuzushiji_mnist", "kuzushiji_mnist")])
def test_digits_of_28_by_28(root, name, folder):
    pixels = np.random.randint(0, 256, (5, 784)).astype("uint8")
    for part in ("train", "test"):
        save(root / "pfnet/chainer" / folder / f"{part}.npz", x=pixels, y=np.arange(5, dtype="uint8"))
    get = getattr(datasets, f"get_{name}")
    train, test = get()
    assert isinstance(train, datasets.TupleDataset) and len(test) == 5
    image, label = train[3]
    assert image.dtype == "float32" and label.dtype == "int32" and label == 3
    np.testing.assert_allclose(image, pixels[3] / 255, rtol=1e-6)
    assert get(withlabel=False, ndim=3, rgb_format=True, scale=255., dtype="float64")[0].shape == (5, 3, 28, 28)
    assert get(ndim=2)[0][0][0].shape == (28, 28)
    with pytest.raises(ValueError, match="ndim"):
        get(ndim=4)


def test_digits_are_read_from_the_files_that_are_published(root, monkeypatch):
    pixels, labels = np.random.randint(0, 256, (2, 28, 28)).astype("uint8"), np.array([7, 1], "uint8")

    def download(url):
        path = root / url.rsplit("/", 1)[1]
        array = pixels if "images" in url else labels
        path.write_bytes(gzip.compress(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()))
        return str(path)
    monkeypatch.setattr("hybridnn.datasets._mnist_helper.cached_download", download)
    made = datasets.get_mnist(ndim=2, scale=255.)
    monkeypatch.undo()
    for train, test in (made, datasets.get_mnist(ndim=2, scale=255.)):
        np.testing.assert_array_equal([x for x, _ in train], pixels)
        assert [t for _, t in test] == [7, 1]


@pytest.mark.parametrize(("name", "key"), [("cifar-10", "labels"), ("cifar-100", "fine_labels")])
def test_cifar(root, monkeypatch, name, key):
    members, _ = cifar._MEMBERS[name]
    archive, images = root / "archive.tar.gz", np.random.randint(0, 256, (3, 3072)).astype("uint8")
    with tarfile.open(archive, "w:gz") as tar:
        for file in [f for files in members.values() for f in files]:
            data = pickle.dumps({"data": images, key: [1, 2, 3]})
            entry = tarfile.TarInfo(file)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    monkeypatch.setattr(cifar, "cached_download", lambda url: str(archive))
    get = getattr(datasets, f"get_{name.replace('-', '')}")
    for _ in range(2):
        train, test = get(scale=255.)
        assert len(train) == 3 * len(members["train"]) and len(test) == 3
        np.testing.assert_array_equal(test[1][0], images[1].reshape(3, 32, 32))
        assert test[1][1] == 2 and test[1][1].dtype == "int32"
        monkeypatch.setattr(cifar, "cached_download", None)
    assert get(withlabel=False, ndim=1)[0].shape[1:] == (3072,)
    with pytest.raises(ValueError, match="ndim"):
        get(ndim=2)


def test_svhn(root):
    pixels = np.random.randint(0, 256, (32, 32, 3, 4)).astype("uint8")
    for part in ("train", "test", "extra"):
        save(root / f"pfnet/chainer/svhn/{part}.npz", x=pixels, y=np.array([[10], [1], [2], [3]], "uint8"))
    train, _, _ = datasets.get_svhn(scale=255., add_extra=True)
    assert [label for _, label in train] == [0, 1, 2, 3]
    np.testing.assert_array_equal(train[2][0], pixels[..., 2].transpose(2, 0, 1))
    assert len(datasets.get_svhn(withlabel=False)) == 2


def test_words(root, monkeypatch):
    texts = {"train": "the cat sat\nthe dog\n", "valid": "dog sat\n", "test": "cat\n"}

    def download(url):
        part = url.split(".")[-2]
        (root / part).write_text(texts[part])
        return root / part
    monkeypatch.setattr("hybridnn.datasets.ptb.cached_download", download)
    for _ in range(2):
        assert [x.tolist() for x in datasets.get_ptb_words()] == [[0, 1, 2, 3, 0, 4, 3], [4, 2, 3], [1, 3]]
        assert datasets.get_ptb_words_vocabulary() == {"the": 0, "cat": 1, "sat": 2, "<eos>": 3, "dog": 4}
        monkeypatch.setattr("hybridnn.datasets.ptb.cached_download", None)


def test_names_of_classes():
    assert len(datasets.get_fashion_mnist_labels()) == len(datasets.get_kuzushiji_mnist_labels()) == 10
    assert datasets.get_fashion_mnist_labels()[9] == "Ankle boot"
    assert datasets.get_kuzushiji_mnist_labels()[0] == ("o", "お")


# ------------------------------------------------------------------------------------------------------------------- pickled

def test_pickled_examples(tmp_path):
    with datasets.open_pickle_dataset_writer(tmp_path / "data") as writer:
        for example in (1, "two", np.arange(3)):
            writer.write(example)
        writer.flush()
    with datasets.open_pickle_dataset(tmp_path / "data") as data:
        assert len(data) == 3 and data[1] == "two" and data[0] == 1
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[2], [0, 1, 2])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(data.get_example, [0, 1] * 20) == [1, "two"] * 20
    with pytest.raises(ValueError, match="closed"):
        data[0]


class Reader(io.BytesIO):
    def __init__(self):
        super().__init__()
        self.forked = multiprocessing.Value("i", 0)

    def after_fork(self):
        self.forked.value += 1


def test_a_forked_process_tells_the_reader():
    reader, plain = Reader(), io.BytesIO()
    datasets.PickleDatasetWriter(reader).write("one")
    datasets.PickleDatasetWriter(plain).write("two")
    data, other = datasets.PickleDataset(reader), datasets.PickleDataset(plain)
    del reader
    for children in range(2):
        assert (data[0], other[0], data._reader.forked.value) == ("one", "two", children)
        child = multiprocessing.get_context("fork").Process(target=data.get_example, args=(0,))
        child.start()
        child.join()
        assert child.exitcode == 0


def test_a_pickle_dataset_needs_random_access():
    stream = io.BytesIO()
    stream.seekable = lambda: False
    with pytest.raises(ValueError, match="random access"):
        datasets.PickleDataset(stream)


def test_lines_of_text(tmp_path):
    (tmp_path / "a").write_text("one\ntwo\nthree\n")
    (tmp_path / "b").write_text("eins\nzwei\ndrei\n")
    (tmp_path / "c").write_text("un\n")
    assert datasets.TextDataset(tmp_path / "a")[1] == "two\n"
    both = datasets.TextDataset([tmp_path / "a", tmp_path / "b"], filter_func=lambda a, b: "t" in a)
    assert len(both) == 2 and both[0] == ("two\n", "zwei\n")
    assert datasets.TextDataset([tmp_path / "a"])[0] == "one\n"
    (tmp_path / "d").write_text("é\nà\nü\n", encoding="latin-1")
    assert datasets.TextDataset([tmp_path / "a", tmp_path / "d"], encoding=["ascii", "latin-1"])[2] == ("three\n", "ü\n")
    with pytest.raises(ValueError, match="equally many"):
        datasets.TextDataset([tmp_path / "a", tmp_path / "c"])
    both.close()
    with pytest.raises(ValueError, match="closed"):
        both[0]


def test_images_need_pillow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(hnn.errors.BackendError, match="pip install pillow"):
        datasets.ImageDataset(["x.png"], root=tmp_path)[0]


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
def test_images(tmp_path):
    from PIL import Image
    Image.fromarray(np.arange(12, dtype="uint8").reshape(2, 2, 3)).save(tmp_path / "x.png")
    (tmp_path / "list").write_text("x.png 7\n")
    pixels, label = datasets.LabeledImageDataset(tmp_path / "list", root=tmp_path)[0]
    assert pixels.shape == (3, 2, 2) and pixels.dtype == "float32" and label == 7
    np.testing.assert_array_equal(datasets.ImageDataset(["x.png"], root=tmp_path)[0][:, 0, 1], [3, 4, 5])


@pytest.mark.skipif(importlib.util.find_spec("PIL") is None, reason="Pillow is not installed")
def test_images_in_archives(tmp_path):
    from PIL import Image
    for k, shape in enumerate([(2, 2, 3), (4, 5)]):
        file = io.BytesIO()
        Image.fromarray(np.full(shape, 10 + k, "uint8")).save(file, "png")
        with zipfile.ZipFile(tmp_path / f"{k}.zip", "w") as archive:
            archive.writestr("folder/", "")
            archive.writestr(f"folder/{k}.png", file.getvalue())
    one = datasets.ZippedImageDataset(tmp_path / "0.zip", dtype="int32")
    assert len(one) == 1 and one[0].shape == (3, 2, 2) and one[0].dtype == "int32"
    both = datasets.MultiZippedImageDataset([tmp_path / "0.zip", tmp_path / "1.zip"])
    for data in (both, pickle.loads(pickle.dumps(both))):
        assert [data[i].shape for i in range(len(data))] == [(3, 2, 2), (1, 4, 5)] and data[1][0, 0, 0] == 11
    (tmp_path / "labels").write_text("folder/1.png 4\n")
    image, label = datasets.LabeledZippedImageDataset(tmp_path / "1.zip", tmp_path / "labels")[0]
    assert image.shape == (1, 4, 5) and label == 4 and label.dtype == "int32"


class Noted(list):
    """A dataset that tells which examples are read."""

    def __init__(self, items, seen):
        super().__init__(items)
        self.seen = seen

    def __getitem__(self, i):
        self.seen.append((len(self), i))
        return super().__getitem__(i)


def test_iterators_read_plain_datasets_at_once_and_others_one_example_after_the_other():
    x, t, seen = np.arange(12.0).reshape(6, 2), list("abcdef"), []
    data = hnn.datasets.TupleDataset(x, hnn.datasets.DictDataset(t=t, y=x[:, 0]), hnn.datasets.split_dataset_random(x, 6, seed=0)[0])
    batch = hnn.iterators.SerialIterator(data, 4, shuffle=False).next()
    for i, (a, d, s) in enumerate(batch):
        assert np.shares_memory(a, x) and a.tolist() == x[i].tolist() and d == {"t": t[i], "y": x[i, 0]} and np.shares_memory(s, x)
        assert s.tolist() == data[i][2].tolist()
    own = hnn.datasets.TupleDataset(Noted(range(6), seen), Noted(range(6), seen), x)
    hnn.iterators.SerialIterator(own, 2, shuffle=False).next()
    assert seen == [(6, 0), (6, 0), (6, 1), (6, 1)]


def test_arrays_are_joined_as_numpy_stacks_them():
    for items in ([np.ones((2, 3), "f"), np.ones((2, 3))], [np.asfortranarray(np.ones((3, 2)))] * 3, [np.ones(())] * 2, [np.arange(6)[::2]] * 2,
                  [np.ones((0, 3))] * 2, [np.ma.masked_array(np.ones(2), [True, False])] * 2):
        found, expected = hnn.dataset.concat_examples(items), np.stack(items)
        assert (type(found), found.dtype, found.shape) == (type(expected), expected.dtype, expected.shape)
        assert found.flags.c_contiguous == expected.flags.c_contiguous
        assert np.array_equal(found, expected)
