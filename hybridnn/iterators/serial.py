"""``SerialIterator``, and what all iterators of this package share."""
import numpy as np

from hybridnn.dataset import Iterator, concat_examples
from hybridnn.dataset.reading import columns_read, examples_read, parts_read
from hybridnn.iterators.order_samplers import ShuffleOrderSampler
from hybridnn.iterators.position import IteratorState, choose_sampler, iterator_statemachine
from hybridnn.trace.batches import Batches, joins_examples, may_be_asked
from hybridnn.trace.positions import put_stream_at, stream_at

__all__ = ["DatasetIterator", "SerialIterator"]


class DatasetIterator(Iterator):
    """Base of iterators over a dataset: order, position, counting of epochs, saving.

    Args:
        dataset: anything with a length and integer indices.
        batch_size: examples per batch.
        repeat: go on for ever; otherwise stop after one epoch, with a short last batch.
        shuffle: None or True: a random order for every epoch; False: the dataset's own.
        order_sampler: callable that gives the order of an epoch; excludes ``shuffle``.
    """
    _position = IteratorState()
    _saved_order = "order"      # the name of the order in a file; Chainer's iterators differ in it

    def __init__(self, dataset, batch_size, repeat=True, shuffle=None, order_sampler=None):
        if not hasattr(dataset, "__len__"):
            raise TypeError(f"a dataset has a length and is indexed by ints, as a list is; got {type(dataset).__name__}\n  hint: list(dataset)")
        if batch_size < 1:
            raise ValueError(f"batch_size is at least 1, not {batch_size}")
        self.dataset, self.batch_size, self._repeat = dataset, batch_size, repeat
        self._shuffle = shuffle
        self.order_sampler = choose_sampler(shuffle, order_sampler, ShuffleOrderSampler)
        self.reset()

    def reset(self):
        """Back to the beginning, with a new order."""
        order = None if self.order_sampler is None else self.order_sampler(np.arange(len(self.dataset)), 0)
        self._position = IteratorState(order=order)
        self._previous_epoch_detail = -1.0

    def _advance(self, position):
        return iterator_statemachine(position, self.batch_size, self._repeat, self.order_sampler, len(self.dataset))

    @property
    def repeat(self):
        """Whether the iterator goes on for ever."""
        return self._repeat

    @property
    def current_position(self):
        """Examples of the current epoch that have been given."""
        return self._position.current_position

    @property
    def epoch(self):
        """Epochs finished."""
        return self._position.epoch

    @property
    def is_new_epoch(self):
        """Whether the last batch finished an epoch."""
        return self._position.is_new_epoch

    @property
    def _epoch_size(self):
        return len(self.dataset) if self._position.order is None else len(self._position.order)

    @property
    def epoch_detail(self):
        """Epochs finished, with the fraction of the current one."""
        return self.epoch + self.current_position / self._epoch_size if self._epoch_size else float(self.epoch)

    @property
    def previous_epoch_detail(self):
        """``epoch_detail`` before the last batch; None before the first."""
        return None if self._previous_epoch_detail < 0 else self._previous_epoch_detail

    def serialize(self, serializer):
        """Save or load position and order."""
        position = self._position
        current, epoch = int(serializer("current_position", position.current_position)), int(serializer("epoch", position.epoch))
        fresh, order = bool(serializer("is_new_epoch", position.is_new_epoch)), position.order
        if order is not None:
            order = self._serialize_order(serializer, np.array(order))
        self._position = IteratorState(current, epoch, fresh, order)
        try:
            self._previous_epoch_detail = float(serializer("previous_epoch_detail", self._previous_epoch_detail))
        except KeyError:      # a file of Chainer's first version
            before = self.epoch_detail - self.batch_size / len(self.dataset)
            self._previous_epoch_detail = max(before, 0.) if self.epoch_detail > 0 else -1.

    def _serialize_order(self, serializer, order):
        try:
            return serializer(self._saved_order, order)
        except KeyError:
            return serializer("order" if self._saved_order == "_order" else "_order", order)


class SerialIterator(DatasetIterator):
    """Batches of a dataset, as lists of examples, read one after the other.

    Args:
        dataset: anything with a length and integer indices.
        batch_size: examples per batch.
        repeat: go on for ever; otherwise stop after one epoch, with a short last batch.
        shuffle: None or True: a random order for every epoch; False: the dataset's own.
        order_sampler: callable that gives the order of an epoch; excludes ``shuffle``.
    """

    def __next__(self):
        return _examples(self.dataset, _next_indices(self))

    next = __next__


def _examples(dataset, indices):
    return examples_read(dataset, [*map(int, indices.tolist())])


def _next_indices(iterator):
    """Go to the next batch."""
    previous = iterator.epoch_detail
    iterator._position, indices = iterator._advance(iterator._position)
    iterator._previous_epoch_detail = previous
    if indices is None:
        raise StopIteration
    return indices


# ------------------------------------------------------------------------------------------------ what traced functions know of it

def _parts(iterator):
    """The arrays and containers, namespaces among them, that a batch rests on, if nothing but where the iterator and its random numbers stand changes with it;
    else None."""
    sampler = iterator.order_sampler
    known = sampler is None or type(sampler) is ShuffleOrderSampler and (sampler._random is np.random or type(sampler._random) is np.random.RandomState)
    if not known or iterator.__dict__.keys() != _ATTRIBUTES or not all([vars(cls).get(name) is what for cls, name, what in _METHODS]):
        return None
    parts = parts_read(iterator.dataset)
    return None if parts is None else [vars(iterator), *([] if sampler is None else [vars(sampler)]), *parts]


def _stands(iterator):
    sampler = iterator.order_sampler
    return iterator._position, iterator._previous_epoch_detail, None if sampler is None else stream_at(sampler._random)


def _go_back(iterator, found):
    iterator._position, iterator._previous_epoch_detail, numbers = found
    if numbers is not None:
        put_stream_at(iterator.order_sampler._random, numbers)


_ATTRIBUTES = vars(SerialIterator([0], 1)).keys()
_TELLS = "current_position", "epoch", "epoch_detail", "is_new_epoch"
_METHODS = [(cls, name, vars(cls).get(name)) for cls, names in (
    (DatasetIterator, ("_advance", "_epoch_size", *_TELLS)),
    (SerialIterator, ("__next__", "next", "__getattribute__", "__setattr__", "_advance", *_TELLS)), (ShuffleOrderSampler, ("__call__",)))
    for name in names]
may_be_asked(SerialIterator, Batches(SerialIterator.__next__, _next_indices, _examples, columns_read, _parts, _stands, _go_back,
                                     frozenset(["_position", "_previous_epoch_detail"]), frozenset(_TELLS)))
joins_examples(concat_examples.function)
