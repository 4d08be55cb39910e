"""A trainer that trains nothing, for tests of extensions and triggers."""
from unittest import mock

from hybridnn.training import Trainer

__all__ = ["get_trainer_with_mock_updater"]


def get_trainer_with_mock_updater(stop_trigger=(10, "iteration"), iter_per_epoch=10, extensions=None):
    """A Trainer whose updater only counts iterations and epochs.

    Args:
        stop_trigger, extensions: as for ``Trainer``.
        iter_per_epoch: iterations that make an epoch.
    """
    updater = mock.Mock(iteration=0, epoch=0, epoch_detail=0, is_new_epoch=True, previous_epoch_detail=None)
    updater.get_all_optimizers.return_value = {}

    def update():
        updater.update_core()
        updater.previous_epoch_detail = updater.iteration / iter_per_epoch
        updater.iteration += 1
        updater.epoch = updater.iteration // iter_per_epoch
        updater.epoch_detail = updater.iteration / iter_per_epoch
        updater.is_new_epoch = (updater.iteration - 1) // iter_per_epoch != updater.epoch
    updater.update = update
    return Trainer(updater, stop_trigger, extensions=extensions)
