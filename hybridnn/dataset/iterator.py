"""``Iterator``: what the training loop takes batches from."""

__all__ = ["Iterator"]


class Iterator:
    """Base of iterators over batches; a context manager, which finalizes it at the end.

    A subclass defines ``__next__``, and for training ``epoch``, ``epoch_detail``, ``is_new_epoch`` and ``serialize``.
    """

    def __iter__(self):
        return self

    def __next__(self):
        raise NotImplementedError(f"{type(self).__name__} defines no __next__")

    def next(self):
        """The next batch."""
        return self.__next__()

    def finalize(self):
        """Give back threads, processes and the like."""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.finalize()

    def __del__(self):
        self.finalize()

    def serialize(self, serializer):
        """Save or load the position."""
