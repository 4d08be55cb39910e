"""Updaters that share a batch among several copies of the model."""
import copy

from hybridnn.backend import get_device, using_device
from hybridnn.config import force_backprop_mode
from hybridnn.dataset import concat_examples
from hybridnn.dataset.convert import call_converter, call_with
from hybridnn.errors import BackendError
from hybridnn.training.updaters.standard import StandardUpdater

__all__ = ["MultiprocessParallelUpdater", "ParallelUpdater"]


class ParallelUpdater(StandardUpdater):
    """Shares each batch among copies of the model on several devices, and updates by the sum of their gradients.

    The devices work one after the other, except that a GPU goes on with its share while the next is given its own. The copies take over the
    parameters of the main model after each update. What they report is found under their names, such as ``second/loss``.

    Args:
        iterator, optimizer, converter: as for ``StandardUpdater``.
        models: links by name, ``"main"`` being the optimizer's target; None: copies of it on the ``devices``.
        devices: devices by name, with the key ``"main"``.
        loss_func: function of the arrays, for all shares; None: the model of the share.
        loss_scale, auto_new_epoch: as for ``StandardUpdater``.

    Raises:
        ValueError: neither models nor devices are given.
        KeyError: ``devices`` has no ``"main"``.
    """

    def __init__(self, iterator, optimizer, converter=concat_examples, models=None, devices=None, loss_func=None, loss_scale=None,
                 auto_new_epoch=True):
        super().__init__(iterator, optimizer, converter, loss_func=loss_func, loss_scale=loss_scale, auto_new_epoch=auto_new_epoch)
        if models is None and devices is None:
            raise ValueError("ParallelUpdater: expected models or devices, found neither\n"
                             "  hint: devices={'main': '@cupy:0', 'second': '@cupy:1'}")
        self._devices = {} if devices is None else {name: get_device(device) for name, device in devices.items()}
        self._models = _copies(self._optimizers["main"].target, self._devices) if models is None else models

    def connect_trainer(self, trainer):
        for name, model in self._others().items():
            trainer.reporter.add_observer(name, model)

    def _others(self):
        return {name: model for name, model in self._models.items() if model is not self._optimizers["main"].target}

    def update_core(self):
        iterator, optimizer = self._iterators["main"], self._optimizers["main"]
        batch, n = iterator.next(), len(self._models)
        shares = [call_converter(self.converter, batch[i::n], self._devices.get(name)) for i, name in enumerate(self._models)]
        losses = [self._loss(name, arrays) for name, arrays in zip(self._models, shares, strict=True)]
        for model in self._models.values():      # only now do parameters without a shape exist everywhere
            model.cleargrads()
        for name, loss in zip(self._models, losses, strict=True):
            with using_device(self._device_of(name)):
                loss.backward(loss_scale=self.loss_scale)
        for model in self._others().values():
            optimizer.target.addgrads(model)
        optimizer.update()
        for model in self._others().values():
            model.copyparams(optimizer.target)
        if self.auto_new_epoch and iterator.is_new_epoch:
            optimizer.new_epoch(auto=True)

    def _device_of(self, name):
        return self._devices.get(name, self._models[name].device)

    def _loss(self, name, arrays):
        model = self._models[name]
        model.cleargrads()                       # frees memory
        with force_backprop_mode(), using_device(self._device_of(name)):
            return call_with(model if self.loss_func is None else self.loss_func, arrays)


def _copies(target, devices):
    """The target, on the main device, and copies of it on the others."""
    if "main" not in devices:
        raise KeyError(f"ParallelUpdater: expected devices to have the key 'main', found {sorted(devices)}")
    models = {"main": target}
    for name, device in devices.items():
        if name != "main":
            models[name] = copy.deepcopy(target)
            models[name].to_device(device)
    target.to_device(devices["main"])
    return models


class MultiprocessParallelUpdater:
    """Chainer's updater with a process for each GPU, which hybridnn does not have: raises ``BackendError``."""

    def __init__(self, *args, **kwargs):
        raise BackendError("MultiprocessParallelUpdater trains on several GPUs at once, which hybridnn does not do\n"
                           "  hint: ParallelUpdater uses several devices from one process")

    @staticmethod
    def available():
        """False."""
        return False
