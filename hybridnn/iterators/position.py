"""Where an iterator is, as a value; the step to the next batch is a function of it."""
from dataclasses import dataclass

import numpy as np

__all__ = ["Position", "advance", "choose_sampler"]


@dataclass(frozen=True)
class Position:
    """Examples given in this epoch, epochs finished, whether the last batch finished one, the order (None: the dataset's own)."""
    current: int = 0
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


def advance(position, batch_size, repeat, sampler, length):
    """The next position and the indices of its batch; indices None at the end.

    With ``repeat`` a batch runs over into the next epoch; otherwise the last one may be short.
    """
    if not repeat and position.epoch > 0:
        return position, None
    order = np.arange(length, dtype=np.intp) if position.order is None else position.order
    if repeat and len(order) == 0:
        raise ValueError("an iterator that repeats needs a dataset that is not empty")
    begin, end, epoch, indices = position.current, position.current + batch_size, position.epoch, []
    while end >= len(order):
        indices.append(order[begin:])
        order = order if position.order is None else _next_order(sampler, order, begin)
        epoch, begin, end = epoch + 1, 0, end - len(order)
        if not repeat:
            end = 0
            break
    indices.append(order[begin:end])
    fresh = epoch > position.epoch
    return Position(end, epoch, fresh, None if position.order is None else order), np.concatenate(indices)


def _next_order(sampler, order, position):
    new = sampler(order, position)
    if len(new) != len(order):
        raise ValueError(f"an order sampler keeps the length of an epoch: {len(order)}, not {len(new)}")
    return new
