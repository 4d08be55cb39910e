"""Datasets with named columns, and views of them."""
import itertools

import numpy as np
import pytest

from hybridnn.dataset import TabularDataset, tabular


class Table(TabularDataset):
    """Columns a, b, c of random numbers; notes what is asked of it."""

    def __init__(self, size=10, keys=("a", "b", "c"), mode=tuple):
        self._keys, self._mode, self.asked = keys, mode, []
        self.data = np.random.uniform(size=(len(keys), size))

    def __len__(self):
        return self.data.shape[1]

    @property
    def keys(self):
        return self._keys

    @property
    def mode(self):
        return self._mode

    def get_examples(self, indices, key_indices):
        self.asked.append((indices, key_indices))
        data = self.data if indices is None else self.data[:, indices]
        return tuple([list(column) for column in (data if key_indices is None else data[list(key_indices)])])


def test_examples_come_in_the_mode():
    for mode, expected in [(tuple, lambda d: tuple(d[:, 3])), (dict, lambda d: dict(zip("abc", d[:, 3]))), (None, lambda d: d[0, 3])]:
        table = Table(mode=mode)
        assert table[3] == table[-7] == expected(table.data) == list(table)[3]
        assert table.asked[0] == ([3], None)
    assert table[2:4] == [table.data[0, 2], table.data[0, 3]]
    for index in (-11, 10):
        with pytest.raises(IndexError):
            table[index]


def test_fetch_and_convert():
    table = Table(mode=dict)
    fetched = table.fetch()
    assert list(fetched) == ["a", "b", "c"] and isinstance(fetched["a"], list)
    np.testing.assert_array_equal(table.convert(fetched)["b"], table.data[1])
    np.testing.assert_array_equal(table.astuple().convert(table.astuple().fetch()), table.data)
    doubled = table.with_converter(lambda a, b, c: 2 * np.asarray(a))
    np.testing.assert_array_equal(doubled.convert(doubled.fetch()), 2 * table.data[0])
    np.testing.assert_array_equal(doubled.slice[:3].convert(doubled.slice[:3].fetch()), 2 * table.data[0, :3])
    single = tabular.from_data([1, 2])
    np.testing.assert_array_equal(single.convert(single.fetch()), [1, 2])


ROWS = [slice(None), slice(3, None, -2), slice(8, 2), slice(None, None, -1), [3, -2], [i in (1, 3) for i in range(10)], [], np.array([0, 9])]
INNER = [None, slice(None), slice(0, 2), slice(1, None, -1), slice(None, None, -1), slice(5, 5), [0], []]


@pytest.mark.parametrize(("rows", "inner"), [*itertools.product(ROWS, INNER)])
def test_rows_of_rows(rows, inner):
    table = Table()
    view, expected = table.slice[rows], table.data[:, rows]
    if inner == [0] and not len(view):
        return
    assert len(view) == expected.shape[1]
    np.testing.assert_array_equal(view.get_examples(inner, None), expected if inner is None else expected[:, inner])
    indices, key_indices = table.asked[-1]
    assert isinstance(indices, slice) == (isinstance(rows, slice) and not isinstance(inner, list)) and key_indices is None


@pytest.mark.parametrize(("keys", "names", "mode"), [
    (1, ("b",), None), ("c", ("c",), None), ((1,), ("b",), dict), ((-1, "a"), ("c", "a"), dict), ((), (), dict)])
def test_columns(keys, names, mode):
    view = Table(mode=dict).slice[:, keys]
    assert view.keys == names and view.mode is mode
    if len(names) == 2:
        assert view.slice[[1], "a"].fetch() == [view.dataset.data[0, 1]]
        assert view.get_examples([0], (1,)) == ([view.dataset.data[0, 0]],)


@pytest.mark.parametrize(("index", "error"), [
    (([11, 1], None), IndexError), (([True] * 11, None), ValueError), ((slice(None), 3), IndexError), ((slice(None), "d"), KeyError)])
def test_rows_and_columns_that_are_not_there(index, error):
    with pytest.raises(error, match="TabularDataset"):
        Table().slice[index]


@pytest.mark.parametrize(("indices", "first", "second"), [
    (None, None, None), ([3, 1, 12, 14, 13, 7], [3, 1, 7], [2, 4, 3]), ([3, 1], [3, 1], ...), ([1, 2, 1], [1, 2, 1], ...), ([], ..., ...),
    (slice(13, 6, -2), slice(9, 6, -2), slice(3, None, -2)), (slice(9, None, -2), slice(9, None, -2), ...),
    (slice(10, None, -2), slice(8, None, -2), slice(0, None, -2)), (slice(1, 14, 4), slice(1, 10, 4), slice(3, 4, 4)),
    (slice(11, 13), ..., slice(1, 3, 1))])
def test_concat(indices, first, second):
    a, b = Table(10), Table(5, mode=dict)
    view = a.concat(b)
    assert (len(view), view.keys, view.mode) == (15, ("a", "b", "c"), tuple)
    data = np.hstack([a.data, b.data])
    np.testing.assert_array_equal(view.get_examples(indices, None), data if indices is None else data[:, indices])
    assert [i for i, _ in a.asked] == ([] if first is ... else [first]) and [i for i, _ in b.asked] == ([] if second is ... else [second])
    assert view[-1] == tuple(b.data[:, -1])
    np.testing.assert_array_equal(view.convert(view.fetch()), data)


def test_concat_needs_the_same_keys():
    with pytest.raises(ValueError, match="expected the keys"):
        Table().concat(Table(keys=("b", "a", "c")))


def test_join():
    a, b = Table(mode=None, keys=("a",)), Table(mode=dict, keys=("x", "y"))
    view = a.join(b)
    assert (len(view), view.keys, view.mode) == (10, ("a", "x", "y"), dict)
    data = np.vstack([a.data, b.data])
    np.testing.assert_array_equal(view.get_examples([4, 2], None), data[:, [4, 2]])
    b.asked.clear()
    np.testing.assert_array_equal(view.get_examples(slice(3), (2, 0, 2)), data[[2, 0, 2], :3])
    assert b.asked == [(slice(3), (1,))]
    assert a.join(Table(mode=None, keys=("z",))).mode is tuple
    with pytest.raises(ValueError, match="of one length"):
        a.join(Table(9, keys=("z",)))
    with pytest.raises(ValueError, match="every key once"):
        a.join(Table())


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(("mode", "keys", "wrap"), [
    (tuple, ("s", "d"), lambda s, d: (s, d)), (dict, ("s", "d"), lambda s, d: {"d": d, "s": s}), (None, "s", lambda s, d: s)])
@pytest.mark.parametrize("given", [tuple, dict])
def test_transform(batch, mode, keys, wrap, given):
    table = Table(mode=given)

    def transform(a, b, c):
        a, b = np.asarray(a), np.asarray(b)
        return wrap(a + b, a - b)
    view = table.transform_batch(keys, transform) if batch else table.transform(keys, transform)
    assert view.mode is mode and len(view) == 10
    data = np.stack([table.data[0] + table.data[1], table.data[0] - table.data[1]])[:1 if mode is None else 2]
    for indices in (None, slice(1, 4), [7, 2]):
        np.testing.assert_array_equal(view.get_examples(indices, None), data if indices is None else data[:, indices])
    np.testing.assert_array_equal(view.get_examples([5], (0,)), data[:1, [5]])


def test_transform_must_be_consistent():
    results = iter([(1,), {"k": 1}])
    view = Table().transform(("k",), lambda a, b, c: next(results))
    assert view.mode is tuple
    with pytest.raises(ValueError, match="must not change"):
        view[0]
    with pytest.raises(ValueError, match="columns of 10 examples"):
        Table().transform_batch(("k",), lambda a, b, c: ([*a, 0],)).fetch()


def test_from_data():
    assert tabular.from_data([3, 4])[1] == 4 and tabular.from_data(("k", np.arange(3))).keys == ("k",)
    pair = tabular.from_data((np.arange(3), ("b", [5, 6, 7])))
    assert pair[2] == (2, 7) and pair.keys[1] == "b"
    picked = pair.slice[[0, 2]].fetch()
    assert isinstance(picked[0], np.ndarray) and isinstance(picked[1], list)
    both = tabular.from_data({"a": [1, 2], ("b", "c"): lambda i: (10 * i, 20 * i), "d": lambda i: -i})
    assert both[1] == {"a": 2, "b": 10, "c": 20, "d": -1} and both.mode is dict
    assert tabular.from_data(("a", lambda i: i * i), size=10)[5] == 25
    assert tabular.from_data((("a", "b"), lambda i: {"b": i, "a": -i}), size=3).astuple()[2] == (-2, 2)
    with pytest.raises(ValueError, match="key and a size"):
        tabular.from_data(("a", lambda i: i))
    with pytest.raises(TypeError, match="a list, an array or a function"):
        tabular.from_data(7)


def test_a_dataset_made_of_another():
    class Mine(tabular.DelegateDataset):
        def __init__(self):
            super().__init__(tabular.from_data((("a", np.arange(4)), ("b", self.get_b))))

        def get_b(self, i):
            return f"b{i}"
    assert Mine()[2] == (2, "b2") and Mine().keys == ("a", "b") and len(Mine()) == 4
