"""Normalisation layers with their scales, shifts and running statistics."""
import warnings
from math import prod

import numpy as np

from hybridnn import functions as F
from hybridnn.backend import copyto, get_array_module, get_dtype
from hybridnn.config import config
from hybridnn.core import Parameter
from hybridnn.initializers import generate_array, get_initializer, with_dtype
from hybridnn.link import Link
from hybridnn.links.weights import channels_of, shape_of
from hybridnn.serializer import Deserializer
from hybridnn.serializers.fit import Collector
from hybridnn.utils.argument import parse_kwargs

__all__ = ["BatchNormalization", "BatchRenormalization", "DecorrelatedBatchNormalization", "GroupNormalization",
           "LayerNormalization", "RMSNormalization"]


def _scale(initial, default, dtype):
    """A Parameter of a fixed dtype: scales and shifts stay in float32 when activations are float16."""
    return Parameter(with_dtype(get_initializer(default if initial is None else initial), dtype))


class BatchNormalization(Link):
    """Batch normalisation (Ioffe and Szegedy 2015); running statistics are kept for ``config.train == False``.

    Args:
        size: shape of the normalised axes' complement, usually the number of channels; None takes it from the first call (then
            ``axis`` is needed).
        decay: how much of the running statistics stays at each step.
        eps: added to variances.
        dtype: dtype of parameters and statistics; ``config.dtype`` by default.
        use_gamma, use_beta: whether to scale and to shift.
        initial_gamma, initial_beta, initial_avg_mean, initial_avg_var: initial values (1, 0, 0, 1 by default).
        axis: axes that statistics run over; None: all but the channels'.
    """
    gamma = None
    beta = None

    def __init__(self, size=None, decay=0.9, eps=2e-5, dtype=None, use_gamma=True, use_beta=True, initial_gamma=None,
                 initial_beta=None, axis=None, initial_avg_mean=None, initial_avg_var=None):
        super().__init__()
        if size is None and axis is None:
            raise RuntimeError("BatchNormalization needs size or axis")
        self._initial_avg_mean, self._initial_avg_var = initial_avg_mean, initial_avg_var
        self.N = 0
        self.decay, self.eps = decay, eps
        self.axis = (axis,) if isinstance(axis, int) else axis
        self._highprec_dtype = get_dtype(dtype, map_mixed16=np.float32)
        with self.init_scope():
            if use_gamma:
                self.gamma = _scale(initial_gamma, 1, self._highprec_dtype)
            if use_beta:
                self.beta = _scale(initial_beta, 0, self._highprec_dtype)
        self.avg_mean = self.avg_var = None
        if size is not None:
            self._initialize_params(size)
        for name in ("N", "avg_mean", "avg_var"):
            self.register_persistent(name)

    def _initialize_params(self, shape):
        self.avg_mean = self._statistic(self._initial_avg_mean, 0, shape)
        self.avg_var = self._statistic(self._initial_avg_var, 1, shape)
        self._initial_avg_mean = self._initial_avg_var = None
        for param in (self.gamma, self.beta):
            if param is not None:
                param.initialize(shape)

    def _statistic(self, initial, default, shape):
        initializer = get_initializer(default if initial is None else initial)
        return generate_array(initializer, shape, self.xp, dtype=self._highprec_dtype, device=self.device)

    @property
    def printable_specs(self):
        known = self.avg_mean is not None
        yield "size", self.avg_mean.shape[0] if known and self.avg_mean.ndim else None
        yield "decay", self.decay
        yield "eps", self.eps
        yield "dtype", self._highprec_dtype
        yield "use_gamma", self.gamma is not None
        yield "use_beta", self.beta is not None

    def forward(self, x, *, finetune=False, **kwargs):
        """Normalise ``x`` (n, size, ...) by its own statistics while training, else by the running ones.

        ``finetune=True`` makes the running statistics the plain average over the calls since ``start_finetuning``.
        """
        if kwargs:
            parse_kwargs(kwargs, test="BatchNormalization has no argument test: using_config('train', False) says so")
        if self.avg_mean is None:
            shape = shape_of(self, x)
            self._initialize_params(tuple([n for i, n in enumerate(shape) if i not in _positive(self.axis, len(shape))]))
        gamma, beta = self._scale_and_shift()
        if not config.train:
            return F.fixed_batch_normalization(x, gamma, beta, self.avg_mean, self.avg_var, self.eps, axis=self.axis)
        if config.in_recomputing:
            return F.batch_normalization(x, gamma, beta, eps=self.eps, axis=self.axis)
        return F.batch_normalization(x, gamma, beta, eps=self.eps, running_mean=self.avg_mean, running_var=self.avg_var,
                                     decay=self._next_decay(finetune), axis=self.axis)

    def _scale_and_shift(self):
        gamma, beta = self.gamma, self.beta
        if gamma is None:
            gamma = self.xp.ones(self.avg_mean.shape, self._highprec_dtype)
        if beta is None:
            beta = self.xp.zeros(self.avg_mean.shape, self._highprec_dtype)
        return gamma, beta

    def _next_decay(self, finetune):
        if not finetune:
            return self.decay
        self.N += 1
        return 1.0 - 1.0 / self.N

    def start_finetuning(self):
        """Begin to average the running statistics anew."""
        self.N = 0


def _positive(axis, ndim):
    return [a % ndim for a in axis]


class BatchRenormalization(BatchNormalization):
    """Batch renormalisation (Ioffe 2017): training and inference agree better on small batches.

    Args:
        size, decay, eps, dtype, use_gamma, use_beta, initial_gamma, initial_beta, initial_avg_mean, initial_avg_var: as
            ``BatchNormalization``.
        rmax, dmax: bounds of the correction.
    """

    def __init__(self, size, rmax=1, dmax=0, decay=0.9, eps=2e-5, dtype=None, use_gamma=True, use_beta=True, initial_gamma=None,
                 initial_beta=None, initial_avg_mean=None, initial_avg_var=None):
        super().__init__(size, decay, eps, dtype, use_gamma, use_beta, initial_gamma, initial_beta, None, initial_avg_mean,
                         initial_avg_var)
        self.rmax, self.dmax = rmax, dmax
        self._statistics_before = None      # the running statistics that a function to run again (``forget``) saw first

    def forward(self, x, finetune=False):
        """As ``BatchNormalization.forward``."""
        gamma, beta = self._scale_and_shift()
        if not config.train:
            return F.fixed_batch_normalization(x, gamma, beta, self.avg_mean, self.avg_var, self.eps)
        if config.in_recomputing:
            return F.batch_renormalization(x, gamma, beta, self.rmax, self.dmax, self.eps, *self._statistics_before, self.decay)
        if config._will_recompute:
            self._statistics_before = self.avg_mean.copy(), self.avg_var.copy()
        return F.batch_renormalization(x, gamma, beta, self.rmax, self.dmax, self.eps, self.avg_mean, self.avg_var, self._next_decay(finetune),
                                       update_statistics=True)


class _OldStatistics(Deserializer):
    """Gives each group the statistics that Chainer before version 7 kept for all groups together."""

    def __init__(self, base):
        self.base = base

    def __call__(self, key, value):
        loaded = self.base(key, None) if key in ("avg_mean", "avg_projection") else None
        if loaded is None or loaded.ndim != value.ndim - 1 or loaded.shape != value.shape[1:]:
            return self.base(key, value)
        if len(value) > 1:
            warnings.warn(f"DecorrelatedBatchNormalization: the file's {key} was computed by an older algorithm, over all groups together",
                          UserWarning, stacklevel=5)
        copyto(value, get_array_module(value).broadcast_to(loaded, value.shape))
        return value


class DecorrelatedBatchNormalization(Link):
    """Whitening of channels in groups (Huang et al. 2018).

    Files of Chainer before version 7, with one set of statistics for all groups, are loaded with a UserWarning.

    Args:
        size: number of channels.
        groups: number of groups, a divisor of size.
        decay, eps, dtype: as ``BatchNormalization``.
    """

    def __init__(self, size, groups=16, decay=0.9, eps=2e-5, dtype=np.float32):
        super().__init__()
        if size % groups:
            raise ValueError(f"DecorrelatedBatchNormalization needs groups that divide size; got size={size}, groups={groups}")
        each = size // groups
        self.avg_mean = np.zeros((groups, each), dtype)
        self.avg_projection = np.zeros((groups, each, each), dtype)
        self.avg_projection[:] = np.eye(each)
        self.N = 0
        self.decay, self.eps, self.groups = decay, eps, groups
        for name in ("N", "avg_mean", "avg_projection"):
            self.register_persistent(name)

    def serialize(self, serializer):
        super().serialize(_OldStatistics(serializer) if isinstance(serializer, Deserializer) else serializer)
        if isinstance(serializer, Collector):
            serializer.accept("avg_mean", self.avg_mean.shape[1:])
            serializer.accept("avg_projection", self.avg_projection.shape[1:])

    def forward(self, x, *, finetune=False):
        """As ``BatchNormalization.forward``."""
        if not config.train:
            return F.fixed_decorrelated_batch_normalization(x, self.avg_mean, self.avg_projection, groups=self.groups)
        if config.in_recomputing:
            return F.decorrelated_batch_normalization(x, groups=self.groups, eps=self.eps)
        decay = self.decay
        if finetune:
            self.N += 1
            decay = 1.0 - 1.0 / self.N
        return F.decorrelated_batch_normalization(x, groups=self.groups, eps=self.eps, running_mean=self.avg_mean,
                                                  running_projection=self.avg_projection, decay=decay)

    def start_finetuning(self):
        """Begin to average the running statistics anew."""
        self.N = 0


class GroupNormalization(Link):
    """Group normalisation (Wu and He 2018).

    Args:
        groups: number of groups, a divisor of the number of channels.
        size: number of channels; None takes it from the first call.
        eps: added to variances.
        initial_gamma, initial_beta: initial values (1 and 0 by default).
    """

    def __init__(self, groups, size=None, eps=1e-5, initial_gamma=None, initial_beta=None):
        super().__init__()
        self.groups, self.eps = groups, eps
        dtype = get_dtype(None, map_mixed16=np.float32)
        with self.init_scope():
            self.gamma, self.beta = _scale(initial_gamma, 1, dtype), _scale(initial_beta, 0, dtype)
        if size is not None:
            self._initialize_params(size)

    def _initialize_params(self, size):
        self.gamma.initialize(size)
        self.beta.initialize(size)

    def forward(self, x):
        """``x`` (n, channels, ...) to the same shape."""
        if not self.gamma.is_initialized:
            self._initialize_params(channels_of(self, x))
        return F.group_normalization(x, self.groups, self.gamma, self.beta, self.eps)


class LayerNormalization(Link):
    """Layer normalisation (Ba et al. 2016).

    Args:
        size: number of units; None takes it from the first call.
        eps: added to variances.
        initial_gamma, initial_beta: initial values (1 and 0 by default).
    """

    def __init__(self, size=None, eps=1e-6, initial_gamma=None, initial_beta=None):
        super().__init__()
        self.eps = eps
        with self.init_scope():
            self.gamma = Parameter(get_initializer(1 if initial_gamma is None else initial_gamma))
            self.beta = Parameter(get_initializer(0 if initial_beta is None else initial_beta))
        if size is not None:
            self._initialize_params(size)

    def _initialize_params(self, size):
        self.gamma.initialize(size)
        self.beta.initialize(size)

    @property
    def printable_specs(self):
        yield "size", self.gamma.shape[0] if self.gamma.is_initialized else None
        yield "eps", self.eps

    def forward(self, x):
        """``x`` (n, size) to the same shape; more leading axes than one are fine once the size is known."""
        if not self.gamma.is_initialized:
            self._initialize_params(prod(shape_of(self, x)[1:]))
        return F.layer_normalization(x, self.gamma, self.beta, self.eps)


class RMSNormalization(Link):
    """Division by the root mean square, then a scale (Zhang and Sennrich 2019).

    Args:
        size: number of units (the last axis); None takes it from the first call.
        eps: added to the mean square.
        initial_gamma: initial scale (1 by default).
    """

    def __init__(self, size=None, eps=1e-6, initial_gamma=None):
        super().__init__()
        self.eps = eps
        with self.init_scope():
            self.gamma = Parameter(get_initializer(1 if initial_gamma is None else initial_gamma))
        if size is not None:
            self.gamma.initialize(size)

    def forward(self, x):
        """``x`` (..., size) to the same shape."""
        if not self.gamma.is_initialized:
            self.gamma.initialize(shape_of(self, x)[-1])
        return F.rms_normalization(x, self.gamma, self.eps)
