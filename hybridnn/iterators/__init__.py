"""Iterators over batches of a dataset."""
from hybridnn.iterators.order_samplers import OrderSampler, ShuffleOrderSampler
from hybridnn.iterators.prefetch import MultiprocessIterator, MultithreadIterator
from hybridnn.iterators.serial import SerialIterator

__all__ = ["MultiprocessIterator", "MultithreadIterator", "OrderSampler", "SerialIterator", "ShuffleOrderSampler"]
