"""``Evaluator``: the model on a validation set."""
import copy
import warnings

from hybridnn.backend import get_device
from hybridnn.config import no_backprop_mode, using_config
from hybridnn.dataset import Iterator, concat_examples
from hybridnn.dataset.convert import call_converter, call_with
from hybridnn.link import Link
from hybridnn.reporter import DictSummary, Reporter, report, report_scope
from hybridnn.training.extension import PRIORITY_WRITER, Extension
from hybridnn.training.extensions import util
from hybridnn.training.extensions.progress_bar import bar_line, time_left

__all__ = ["Evaluator"]


class Evaluator(Extension):
    """Runs the model over a dataset with ``config.train`` off, and reports means of what the model reports.

    They are called ``validation/main/loss`` and so on.

    Args:
        iterator: Iterator that does not repeat, or a dict of them with the key ``"main"``.
        target: link, or a dict of them with the key ``"main"``.
        converter, device: as for ``StandardUpdater``.
        eval_hook: called with the evaluator before each evaluation.
        eval_func: called with a batch; None: the target.
        progress_bar: show one.
    """
    trigger = (1, "epoch")
    default_name = "validation"
    priority = PRIORITY_WRITER

    def __init__(self, iterator, target, converter=concat_examples, device=None, eval_hook=None, eval_func=None, *,
                 progress_bar=False):
        self._iterators = {"main": iterator} if isinstance(iterator, Iterator) else iterator
        self._targets = {"main": target} if isinstance(target, Link) else target
        self.converter, self.device = converter, None if device is None else get_device(device)
        self.eval_hook, self.eval_func, self._progress_bar = eval_hook, eval_func, progress_bar
        if not isinstance(self._iterators, dict):
            raise TypeError(f"an Evaluator takes an iterator, or a dict of them, and then the model; got {type(iterator).__name__} first")
        for name, it in self._iterators.items():
            if getattr(it, "repeat", False):
                warnings.warn(f"the iterator {name!r} repeats, so that evaluation may never end\n"
                              "  hint: SerialIterator(..., repeat=False)", stacklevel=2)

    def get_iterator(self, name):
        """The iterator of that name."""
        return self._iterators[name]

    def get_all_iterators(self):
        """Iterators by name."""
        return dict(self._iterators)

    def get_target(self, name):
        """The link of that name."""
        return self._targets[name]

    def get_all_targets(self):
        """Links by name."""
        return dict(self._targets)

    def __call__(self, trainer=None):
        """Evaluate, report and return the means."""
        reporter, prefix = Reporter(), "" if self.name is None else self.name + "/"
        for name, target in self._targets.items():
            reporter.add_observer(prefix + name, target)
            reporter.add_observers(prefix + name, target.namedlinks(skipself=True))
        with reporter, using_config("train", False):
            result = self.evaluate()
        report(result)
        return result

    def evaluate(self):
        """The means over the dataset of what the target reports; override it for an evaluation of your own."""
        function = self._targets["main"] if self.eval_func is None else self.eval_func
        if self.eval_hook:
            self.eval_hook(self)
        iterator, summary = _from_the_start(self._iterators["main"]), DictSummary()
        bar = _IteratorBar(iterator) if self._progress_bar else None
        for batch in iterator:
            observation = {}
            with report_scope(observation), no_backprop_mode():
                call_with(function, call_converter(self.converter, batch, self.device))
            summary.add(observation)
            if bar is not None:
                bar.update()
        if bar is not None:
            bar.close()
        return summary.compute_mean()

    def finalize(self):
        for iterator in self._iterators.values():
            iterator.finalize()


class _IteratorBar(util.ProgressBar):
    """The progress of an iterator through its dataset."""

    def __init__(self, iterator, bar_length=None, out=None):
        super().__init__(bar_length, out)
        self.iterator = iterator

    def get_lines(self):
        it = self.iterator
        _, epochs = self.update_speed(it.current_position, it.epoch_detail)
        return [bar_line("validation", it.epoch_detail, self._bar_length) + "\n",
                f"{it.current_position:10} examples; {time_left(1 - it.epoch_detail, epochs)} left\n"]


def _from_the_start(iterator):
    if hasattr(iterator, "reset"):
        iterator.reset()
        return iterator
    return copy.copy(iterator)
