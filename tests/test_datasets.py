"""Datasets made of others, splits, files, and batches made of examples."""
import importlib.util
import sys

import numpy as np
import pytest

import hybridnn as hnn
from hybridnn import datasets
from hybridnn.dataset import ConcatWithAsyncTransfer, DatasetMixin, concat_examples, converter, to_device
from hybridnn.dataset.convert import call_converter


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


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kuzushiji_mnist", "cifar10", "cifar100", "svhn", "ptb_words"])
def test_nothing_is_downloaded(name):
    with pytest.raises(hnn.errors.BackendError, match="does not download"):
        getattr(datasets, f"get_{name}")()


def test_lines_of_text(tmp_path):
    (tmp_path / "a").write_text("one\ntwo\nthree\n")
    (tmp_path / "b").write_text("eins\nzwei\ndrei\n")
    (tmp_path / "c").write_text("un\n")
    assert datasets.TextDataset(tmp_path / "a")[1] == "two\n"
    both = datasets.TextDataset([tmp_path / "a", tmp_path / "b"], filter_func=lambda a, b: "t" in a)
    assert len(both) == 2 and both[0] == ("two\n", "zwei\n")
    with pytest.raises(ValueError, match="equally many"):
        datasets.TextDataset([tmp_path / "a", tmp_path / "c"])


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
