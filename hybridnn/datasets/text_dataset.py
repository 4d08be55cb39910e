"""Datasets of lines of text."""
import os

from hybridnn.dataset import DatasetMixin

__all__ = ["TextDataset"]


class TextDataset(DatasetMixin):
    """Lines of one text file, or tuples of lines of several parallel ones.

    Args:
        paths: path, or list of paths. A list of one path gives lines, too.
        encoding, errors, newline: as for ``open``, or a list with one for each file.
        filter_func: ``filter_func(*lines)`` tells whether an example is kept.

    The lines are held in memory; ``close`` lets them go.
    """

    def __init__(self, paths, encoding=None, errors=None, newline=None, filter_func=None):
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        if not paths:
            raise ValueError("TextDataset: expected at least one path, found none")
        options = [value if isinstance(value, list) else [value] * len(paths) for value in (encoding, errors, newline)]
        columns = [_read_lines(path, *of_file) for path, *of_file in zip(paths, *options, strict=True)]
        if len({len(c) for c in columns}) > 1:
            raise ValueError(f"the files have {', '.join(str(len(c)) for c in columns)} lines; parallel texts have equally many")
        self._examples = [e for e in zip(*columns) if filter_func is None or filter_func(*e)]
        self._single = len(paths) == 1

    def __len__(self):
        return len(self._lines())

    def get_example(self, idx):
        lines = self._lines()[idx]
        return lines[0] if self._single else lines

    def _lines(self):
        if self._examples is None:
            raise ValueError("TextDataset: it was closed\n  hint: make a new one")
        return self._examples

    def close(self):
        """Let the lines go; no example can be read any more."""
        self._examples = None


def _read_lines(path, encoding, errors, newline):
    with open(path, encoding=encoding, errors=errors, newline=newline) as f:
        return f.readlines()
