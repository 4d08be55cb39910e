"""Losses with parameters: sampled softmaxes over large vocabularies, and conditional random fields."""
import heapq
import importlib

import numpy as np

from hybridnn import functions as F
from hybridnn.backend import get_dtype
from hybridnn.core import Parameter
from hybridnn.errors import InvalidType
from hybridnn.initializers import Constant, NaN, Uniform, Zero, get_initializer
from hybridnn.link import Link
from hybridnn.links.n_step import argsort_list_descent, permutate_list
from hybridnn.ops.expect import describe
from hybridnn.utils.walker_alias import WalkerAlias

__all__ = ["BinaryHierarchicalSoftmax", "BlackOut", "CRF1d", "NegativeSampling", "TreeParser"]

# The function is looked up where Chainer has it: tests replace it there by one with a sampler of their own.
_chainers = importlib.import_module("hybridnn.functions.loss.negative_sampling")


class _Sampled(Link):
    """A loss that draws words by their counts."""

    def _make_sampler(self, weights, sample_size):
        self.sampler, self.sample_size = WalkerAlias(weights), sample_size

    def device_resident_accept(self, visitor):
        super().device_resident_accept(visitor)
        self.sampler.device_resident_accept(visitor)


class NegativeSampling(_Sampled):
    """The loss of word2vec: the right word against sampled ones (Mikolov et al. 2013).

    Args:
        in_size: size of the input.
        counts: how often each word occurs.
        sample_size: number of samples.
        power: words are drawn with probability proportional to counts ** power.
        dtype: dtype of the probabilities.
    """

    def __init__(self, in_size, counts, sample_size, power=0.75, dtype=None):
        super().__init__()
        dtype = get_dtype(dtype)
        self._make_sampler(np.array(counts, dtype) ** dtype.type(power), sample_size)
        with self.init_scope():
            self.W = Parameter(Constant(0), (len(counts), in_size))

    def forward(self, x, t, reduce="sum", *, return_samples=False):
        """The loss of inputs ``x`` (n, in_size) and words ``t`` (n,); -1 is ignored.

        Args:
            reduce: ``"sum"``, or ``"no"`` for one loss per example.
            return_samples: return the sampled words too.
        """
        return _chainers.negative_sampling(x, t, self.W, self.sampler.sample, self.sample_size, reduce=reduce,
                                           return_samples=return_samples)


class BlackOut(_Sampled):
    """BlackOut: a softmax over the right word and sampled ones (Ji et al. 2016).

    Args:
        in_size: size of the input.
        counts: how often each word occurs.
        sample_size: number of samples per example.
    """
    sample_data = None     # fixed samples (n, sample_size), for tests

    def __init__(self, in_size, counts, sample_size):
        super().__init__()
        self._make_sampler(np.array(counts, np.float32), sample_size)
        with self.init_scope():
            self.W = Parameter(NaN(), (len(counts), in_size))

    def forward(self, x, t):
        """The mean loss of inputs ``x`` (n, in_size) and words ``t`` (n,). Set ``W`` first: it starts as NaN."""
        samples = self.sample_data
        if samples is None:
            samples = self.sampler.sample((x.shape[0], self.sample_size))
        return F.black_out(x, t, self.W, samples)


class CRF1d(Link):
    """A linear-chain conditional random field over sequences of labels.

    Args:
        n_label: number of labels.
        initial_cost: initial ``cost`` (n_label, n_label) of going from one label to the next (0 by default).
    """

    def __init__(self, n_label, initial_cost=None):
        super().__init__()
        with self.init_scope():
            self.cost = Parameter(get_initializer(Zero() if initial_cost is None else initial_cost), (n_label, n_label))

    def forward(self, xs, ys, reduce="mean", transpose=False):
        """Negative log likelihood.

        Args:
            xs: scores, a list over time of (n, n_label), longest sequences first; with ``transpose``, a list of sequences
                (length, n_label).
            ys: labels, accordingly.
            reduce: ``"mean"``, or ``"no"`` for one loss per sequence.
        """
        if not transpose:
            return F.crf1d(self.cost, xs, ys, reduce)
        order = argsort_list_descent(xs)
        xs, ys = (F.transpose_sequence(permutate_list(s, order, inv=False)) for s in (xs, ys))
        return F.crf1d(self.cost, xs, ys, reduce)

    def argmax(self, xs, transpose=False):
        """The best labels: scores (n,), and paths as arrays, over time or (``transpose``) one per sequence."""
        if not transpose:
            return F.argmax_crf1d(self.cost, xs)
        order = argsort_list_descent(xs)
        score, path = F.argmax_crf1d(self.cost, F.transpose_sequence(permutate_list(xs, order, inv=False)))
        paths = [p.array for p in F.transpose_sequence(path)]
        return score, permutate_list(paths, order, inv=True)


class BinaryHierarchicalSoftmax(Link):
    """Softmax along a binary tree of words: one logistic decision per inner node (Morin and Bengio 2005).

    Args:
        in_size: size of the input.
        tree: nested pairs whose leaves are word numbers; ``create_huffman_tree`` makes a good one.
        dtype: dtype of the codes; ``config.dtype`` by default.

    ``W`` (inner nodes, in_size) starts uniform on [-1, 1).
    """

    def __init__(self, in_size, tree, dtype=None):
        super().__init__()
        paths = _paths(tree)
        self.paths, self.codes = _padded(paths, get_dtype(dtype))
        n_inner = 1 + max((node for path in paths.values() for node, _ in path), default=-1)
        with self.init_scope():
            self.W = Parameter(Uniform(1), (n_inner, in_size))

    def device_resident_accept(self, visitor):
        super().device_resident_accept(visitor)
        self.paths, self.codes = visitor.visit_array(self.paths), visitor.visit_array(self.codes)

    @property
    def _func(self):
        """What holds ``begins``, ``paths`` and ``codes``, under Chainer's name."""
        return self

    @property
    def begins(self):
        """Where each word's row begins in the flattened ``paths`` and ``codes``, and where the last one ends: (words + 1,), int32."""
        words, longest = self.paths.shape
        return np.arange(0, (words + 1) * longest, longest, dtype=np.int32)

    @staticmethod
    def create_huffman_tree(word_counts):
        """The Huffman tree of a dict of counts by word: rare words lie deep."""
        if not word_counts:
            raise ValueError("create_huffman_tree: the vocabulary is empty")
        heap = [(count, i, word) for i, (word, count) in enumerate(word_counts.items())]
        heapq.heapify(heap)
        while len(heap) > 1:
            count1, id1, tree1 = heapq.heappop(heap)
            count2, id2, tree2 = heapq.heappop(heap)
            heapq.heappush(heap, (count1 + count2, min(id1, id2), (tree1, tree2)))
        return heap[0][2]

    def forward(self, x, t):
        """The summed loss of inputs ``x`` (n, in_size) and words ``t`` (n,)."""
        if getattr(t, "dtype", self.paths.dtype).kind not in "iu":
            raise InvalidType("BinaryHierarchicalSoftmax", "words t (n,) as integers", describe(x=x, t=t), "t.astype('int32')")
        nodes = F.get_item(self.paths, t)
        codes = F.get_item(self.codes, t)
        decisions = F.matmul(F.get_item(self.W, nodes), F.expand_dims(x, 2))
        return F.sum(F.softplus(-codes * F.reshape(decisions, codes.shape)) * (codes * codes))


def _paths(tree):
    """For every word its way from the root: pairs of an inner node's number (in the order of a walk) and 1 (left) or -1
    (right)."""
    paths, stack, n = {}, [(tree, ())], 0
    while stack:
        node, path = stack.pop()
        if not isinstance(node, tuple):
            paths[node] = path
            continue
        if len(node) != 2:
            raise ValueError(f"every inner node of the tree is a pair; got {len(node)} children")
        stack += [(node[1], (*path, (n, -1))), (node[0], (*path, (n, 1)))]
        n += 1
    return paths


class TreeParser:
    """The ways from the root of a tree (nested pairs) to its leaves.

    Args:
        dtype: dtype of the codes.
    """

    def __init__(self, dtype):
        self.dtype = dtype
        self._found = {}

    def parse(self, tree):
        """Take a tree; the other methods tell of it."""
        self._found = _paths(tree)

    def size(self):
        """Number of inner nodes."""
        return 1 + max((node for path in self._found.values() for node, _ in path), default=-1)

    def get_paths(self):
        """The inner nodes passed, by leaf: int32 arrays."""
        return {leaf: np.array([node for node, _ in path], np.int32) for leaf, path in self._found.items()}

    def get_codes(self):
        """The turns taken there, by leaf: 1 for left and -1 for right."""
        return {leaf: np.array([code for _, code in path], self.dtype) for leaf, path in self._found.items()}


def _padded(paths, dtype):
    """Nodes and codes as arrays (words, longest path); codes are 0 where there is no node."""
    shape = max(paths) + 1, max(map(len, paths.values()))
    nodes, codes = np.zeros(shape, np.int32), np.zeros(shape, dtype)
    for word, path in paths.items():
        for k, (node, code) in enumerate(path):
            nodes[word, k], codes[word, k] = node, code
    return nodes, codes
