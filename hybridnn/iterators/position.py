"""Where an iterator is, as a value; the step to the next batch is a function of it."""
from typing import NamedTuple

import numpy as np

__all__ = ["IteratorState", "choose_sampler", "iterator_statemachine"]


class IteratorState(NamedTuple):
    """Examples given in this epoch, epochs finished, whether the last batch finished one, the order (None: the dataset's own)."""
    current_position: int = 0
    epoch: int = 0
    is_new_epoch: bool = False
    order: object = None


def choose_sampler(shuffle, order_sampler, default):
    """The sampler that the arguments ask for; ``default()`` if they say nothing; None for the dataset's own order."""
    if shuffle is not None and order_sampler is not None:
        raise ValueError("shuffle and order_sampler exclude each other\n  hint: leave shuffle at None")
    if order_sampler is not None:
        return order_sampler
    return default() if shuffle is None or shuffle else None


def iterator_statemachine(state, batch_size, repeat, order_sampler, dataset_len):
    """The next state and the indices of its batch; indices None at the end.

    With ``repeat`` a batch runs over into the next epoch; otherwise the last one may be short.
    """
    if not repeat and state.epoch > 0:
        return state, None
    order = np.arange(dataset_len, dtype=np.intp) if state.order is None else state.order
    if repeat and len(order) == 0:
        raise ValueError("an iterator that repeats needs a dataset that is not empty")
    begin, end, epoch, indices = state.current_position, state.current_position + batch_size, state.epoch, []
    while end >= len(order):
        indices.append(order[begin:])
        order = order if state.order is None else _next_order(order_sampler, order, begin)
        epoch, begin, end = epoch + 1, 0, end - len(order)
        if not repeat:
            end = 0
            break
    indices.append(order[begin:end])
    fresh = epoch > state.epoch
    return IteratorState(end, epoch, fresh, None if state.order is None else order), np.concatenate(indices)


def _next_order(sampler, order, position):
    new = sampler(order, position)
    if len(new) != len(order):
        raise ValueError(f"an order sampler keeps the length of an epoch: {len(order)}, not {len(new)}")
    return new
