"""Activations with parameters."""
from functools import partial

from hybridnn import functions as F
from hybridnn.backend import is_array
from hybridnn.core import Parameter
from hybridnn.initializer import Initializer
from hybridnn.initializers import HeNormal, get_initializer
from hybridnn.link import Chain, Link
from hybridnn.links.linear import Linear, initialize_weight
from hybridnn.links.weights import add_weights, shape_of

__all__ = ["Maxout", "PReLU", "SimplifiedDropconnect", "Swish"]


class Maxout(Chain):
    """The largest of ``pool_size`` linear maps, for each output (Goodfellow et al. 2013).

    Args:
        in_size: inputs, or None to take it from the first call.
        out_size: outputs.
        pool_size: number of maps per output.
        initialW: initial weights (out_size, pool_size, in_size).
        initial_bias: initial biases (out_size, pool_size); None: no biases.
    """

    def __init__(self, in_size, out_size, pool_size, initialW=None, initial_bias=0):
        super().__init__()
        self.out_size, self.pool_size = out_size, pool_size
        initialW = _reshaped(initialW, "initialW", (out_size, pool_size, in_size), (out_size * pool_size, in_size))
        initial_bias = _reshaped(initial_bias, "initial_bias", (out_size, pool_size), (out_size * pool_size,))
        with self.init_scope():
            self.linear = Linear(in_size, out_size * pool_size, initial_bias is None, initialW, initial_bias)

    def forward(self, x):
        """``x`` (n, in_size) to (n, out_size)."""
        return F.maxout(self.linear(x), self.pool_size)


def _reshaped(initial, name, shape, flat):
    """An initial value for ``shape`` as one for ``flat``."""
    if is_array(initial):
        if initial.ndim != len(shape):
            raise ValueError(f"Maxout: {name} has {len(shape)} axes; got shape {initial.shape}")
        return initial.reshape(flat if None not in flat else (flat[0], -1))
    if callable(initial) and not isinstance(initial, Initializer):
        return partial(_fill_as, initial, shape[:2])
    return initial


def _fill_as(initializer, lead, array):
    initializer(array.reshape(lead + array.shape[1:]))


class PReLU(Link):
    """``max(0, x) + W * min(0, x)`` with a learned ``W`` (He et al. 2015).

    Args:
        shape: shape of ``W``: axes of x from the second on.
        init: initial value.
    """

    def __init__(self, shape=(), init=0.25):
        super().__init__()
        with self.init_scope():
            self.W = Parameter(get_initializer(init), shape)

    def forward(self, x):
        """``x`` (n, *shape, ...) to the same shape."""
        return F.prelu(x, self.W)


class Swish(Link):
    """``x * sigmoid(beta * x)`` with a learned ``beta`` (Ramachandran et al. 2017).

    Args:
        beta_shape: shape of ``beta``: axes of x from the second on; None takes all of them from the first call.
        beta_init: initial value.
    """

    def __init__(self, beta_shape, beta_init=1.0):
        super().__init__()
        with self.init_scope():
            self.beta = Parameter(get_initializer(beta_init), beta_shape)

    def forward(self, x):
        """``x`` (n, *beta_shape, ...) to the same shape."""
        if not self.beta.is_initialized:
            self.beta.initialize(shape_of(self, x)[1:])
        return F.swish(x, self.beta)


class SimplifiedDropconnect(Link):
    """A linear map whose weights are dropped at random while training (Wan et al. 2013).

    Args:
        in_size: inputs, or None to take it from the first call.
        out_size: outputs.
        ratio: probability that a weight is dropped.
        nobias: leave out ``b``.
        initialW: initial ``W`` (out_size, in_size); ``HeNormal(1 / sqrt(2))`` by default.
        initial_bias: initial ``b`` (out_size,).
    """

    def __init__(self, in_size, out_size, ratio=0.5, nobias=False, initialW=None, initial_bias=None):
        super().__init__()
        self.out_size, self.ratio = out_size, ratio
        add_weights(self, in_size, out_size, HeNormal(2 ** -.5) if initialW is None else initialW, initial_bias, nobias)

    def _initialize_params(self, in_size):
        self.W.initialize((self.out_size, in_size))

    def forward(self, x, train=True, mask=None, use_batchwise_mask=True):
        """``x`` (n, in_size) to (n, out_size).

        Args:
            train: whether to drop.
            mask: bool array of weights to keep, instead of a random one; kept as a persistent value.
            use_batchwise_mask: draw a mask for each example instead of one for all.
        """
        initialize_weight(self, x)
        if mask is not None and "mask" not in self.__dict__:
            self.add_persistent("mask", mask)
        return F.simplified_dropconnect(x, self.W, self.b, self.ratio, train, mask, use_batchwise_mask)
