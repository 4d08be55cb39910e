"""``StandardUpdater``: one optimizer, one iterator, one device."""
from functools import partial

from hybridnn.backend import get_device
from hybridnn.dataset import Iterator, concat_examples
from hybridnn.dataset.convert import call_converter, call_with

__all__ = ["StandardUpdater", "Updater"]


class Updater:
    """Base of updaters."""

    def connect_trainer(self, trainer):
        """Called by the trainer that will use this updater."""

    def finalize(self):
        """Give back what the updater holds."""

    def get_optimizer(self, name):
        """The optimizer of that name."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_optimizer")

    def get_all_optimizers(self):
        """Optimizers by name."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_all_optimizers")

    def update(self):
        """Make one update and count it in ``iteration``."""
        raise NotImplementedError(f"{type(self).__name__} defines no update")

    def serialize(self, serializer):
        """Save or load."""
        raise NotImplementedError(f"{type(self).__name__} defines no serialize")


class StandardUpdater(Updater):
    """Takes a batch from the iterator, makes arrays of it, and calls ``optimizer.update(loss_func, *arrays)``.

    Args:
        iterator: an Iterator, or a dict of them with the key ``"main"``.
        optimizer: an optimizer that is set up, or a dict of them with the key ``"main"``.
        converter: ``converter(batch, device)`` makes arrays: one, a tuple (positional arguments) or a dict (keyword arguments).
        device: where model and batches go.
        loss_func: function of the arrays; None: the optimizer's target.
        loss_scale: fixed loss scale for the optimizers.
        auto_new_epoch: call ``optimizer.new_epoch`` at the end of an epoch.
        input_device: where batches go, if not to ``device``.
    """

    def __init__(self, iterator, optimizer, converter=concat_examples, device=None, loss_func=None, loss_scale=None,
                 auto_new_epoch=True, *, input_device=None):
        self._iterators = {"main": iterator} if isinstance(iterator, Iterator) else iterator
        self._optimizers = optimizer if isinstance(optimizer, dict) else {"main": optimizer}
        for each in self._optimizers.values():
            if not callable(getattr(each, "update", None)):
                raise TypeError(f"{type(self).__name__} takes an iterator and then an optimizer; got {type(iterator).__name__} and {type(each).__name__}")
        self._device = None if device is None else get_device(device)
        self._input_device = self._device if input_device is None else get_device(input_device)
        self.converter, self.loss_func, self.loss_scale, self.auto_new_epoch = converter, loss_func, loss_scale, auto_new_epoch
        self.iteration = 0
        for optimizer in self._optimizers.values():
            if self._device is not None:
                optimizer.target.to_device(self._device)
            if loss_scale is not None:
                optimizer.set_loss_scale(loss_scale)
            if auto_new_epoch:
                optimizer.use_auto_new_epoch = True

    @property
    def device(self):
        """Where the model is, if it was said."""
        return self._device

    @property
    def input_device(self):
        """Where batches go."""
        return self._input_device

    @property
    def epoch(self):
        """Epochs finished."""
        return self._iterators["main"].epoch

    @property
    def epoch_detail(self):
        """Epochs finished, with the fraction of the current one."""
        return self._iterators["main"].epoch_detail

    @property
    def previous_epoch_detail(self):
        """``epoch_detail`` before the last update."""
        return self._iterators["main"].previous_epoch_detail

    @property
    def is_new_epoch(self):
        """Whether the last update finished an epoch."""
        return self._iterators["main"].is_new_epoch

    def finalize(self):
        for iterator in self._iterators.values():
            iterator.finalize()

    def get_optimizer(self, name):
        return self._optimizers[name]

    def get_all_optimizers(self):
        return dict(self._optimizers)

    def get_iterator(self, name):
        """The iterator of that name."""
        return self._iterators[name]

    def update(self):
        self.update_core()
        self.iteration += 1

    def update_core(self):
        """One update; override it for a training step of your own."""
        iterator, optimizer = self._iterators["main"], self._optimizers["main"]
        arrays = call_converter(self.converter, iterator.next(), self._input_device)
        loss = optimizer.target if self.loss_func is None else self.loss_func
        call_with(partial(optimizer.update, loss), arrays)
        if self.auto_new_epoch and iterator.is_new_epoch:
            optimizer.new_epoch(auto=True)

    def serialize(self, serializer):
        for name, iterator in self._iterators.items():
            iterator.serialize(serializer["iterator:" + name])
        for name, optimizer in self._optimizers.items():
            optimizer.serialize(serializer["optimizer:" + name])
            optimizer.target.serialize(serializer["model:" + name])
        iteration = serializer("iteration", self.iteration)
        self.iteration = self.iteration if iteration is None else int(iteration)
