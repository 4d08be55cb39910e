"""Iterators over batches of a dataset."""
from hybridnn._other_names import names_of as _names_of
from hybridnn.iterators.dali import DaliIterator
from hybridnn.iterators.order_samplers import OrderSampler, ShuffleOrderSampler
from hybridnn.iterators.position import IteratorState as _IteratorState
from hybridnn.iterators.position import iterator_statemachine as _statemachine
from hybridnn.iterators.prefetch import MultiprocessIterator, MultithreadIterator
from hybridnn.iterators.serial import SerialIterator
from hybridnn.utils.paths import open_paths as _open_paths

__getattr__ = _names_of(__name__)
__all__ = ["DaliIterator", "MultiprocessIterator", "MultithreadIterator", "OrderSampler", "SerialIterator", "ShuffleOrderSampler"]

_open_paths(__name__, {"_statemachine": {"IteratorState": _IteratorState, "iterator_statemachine": _statemachine},
                       "dali_iterator": "DaliIterator", "multiprocess_iterator": "MultiprocessIterator", "multithread_iterator": "MultithreadIterator",
                       "serial_iterator": "SerialIterator"})
