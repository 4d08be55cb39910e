"""Array back ends under Chainer v7's names: ``cuda``, and ``intel64``, which is never available."""
from hybridnn import backend
from hybridnn.backends import _cpu as _cpu
from hybridnn.backends import cuda, intel64

__all__ = ["cuda", "intel64"]

vars(backend).update(cuda=cuda, intel64=intel64)      # for ``from hybridnn.backend import cuda``, which works in Chainer, too
