"""``DaliIterator``: batches that a pipeline of NVIDIA DALI makes."""
from hybridnn.iterators.serial import DatasetIterator

__all__ = ["DaliIterator"]


class DaliIterator(DatasetIterator):
    """What the pipeline's ``run`` gives, with epochs counted and saved as by the other iterators.

    Args:
        pipeline: a pipeline of DALI, built or not: ``build()``, ``run()``, ``epoch_size()`` (a dict; its first value counts) and ``batch_size``.
        repeat: go on for ever; otherwise stop after one epoch.
    """
    _is_built = False

    def __init__(self, pipeline, repeat=True):
        self.pipeline = pipeline
        super().__init__(range(1), pipeline.batch_size, repeat, shuffle=False)

    @property
    def epoch_size(self):
        """Examples in an epoch; 1 before the first batch, when the pipeline has not been asked."""
        return len(self.dataset)

    def __next__(self):
        if not self._is_built:
            self.pipeline.build()
            self.dataset, self._is_built = range(next(iter(self.pipeline.epoch_size().values()))), True
        previous = self.epoch_detail
        self._position, indices = self._advance(self._position)
        if indices is None:
            raise StopIteration
        self._previous_epoch_detail = previous
        return self.pipeline.run()

    next = __next__
