"""Fully connected layers and embeddings."""
from math import prod

from hybridnn import functions as F
from hybridnn.backend import is_array
from hybridnn.core import as_array
from hybridnn.errors import InvalidArguments, InvalidType
from hybridnn.initializers import Normal
from hybridnn.link import Chain, Link
from hybridnn.links.weights import add_weights, channels_of, new_bias, new_weight, shape_of

__all__ = ["Bilinear", "EmbedID", "Highway", "Linear", "check_bias", "initialize_weight"]


class Linear(Link):
    """``y = x W^T + b``.

    Args:
        in_size: inputs; None (or ``Linear(out_size)``) takes it from the first call.
        out_size: outputs.
        nobias: leave out ``b``.
        initialW: initial ``W`` (out_size, in_size); ``LeCunNormal`` by default.
        initial_bias: initial ``b`` (out_size,); 0 by default.
    """

    def __init__(self, in_size, out_size=None, nobias=False, initialW=None, initial_bias=None):
        super().__init__()
        if out_size is None:
            in_size, out_size = None, in_size
        self.in_size, self.out_size = in_size, out_size
        add_weights(self, in_size, out_size, initialW, initial_bias, nobias)

    def _initialize_params(self, in_size):
        self.W.initialize((self.out_size, in_size))

    @classmethod
    def from_params(cls, W, b=None, nobias=False):
        """A link over given arrays: ``W`` (out_size, in_size) and ``b`` (out_size,) or None."""
        out_size, in_size = W.shape
        check_bias(cls, out_size, b)
        return cls(in_size, out_size, nobias, initialW=as_array(W), initial_bias=as_array(b))

    @property
    def printable_specs(self):
        yield "in_size", self.in_size
        yield "out_size", self.out_size
        yield "nobias", self.b is None

    def forward(self, x, n_batch_axes=1):
        """``x``: the first ``n_batch_axes`` axes count examples, the others are flattened to in_size."""
        if not self.W.is_initialized:
            self._initialize_params(prod(shape_of(self, x)[n_batch_axes:]))
        return F.linear(x, self.W, self.b, n_batch_axes=n_batch_axes)


def check_bias(cls, out_size, b):
    """Check that a bias given to ``from_params`` has one number for each output."""
    if b is not None and b.size != out_size:
        raise InvalidType(f"{cls.__name__}.from_params", f"a bias of {out_size} numbers, as W has outputs", f"{b.size} numbers")


def initialize_weight(link, x):
    """Give the weight ``W`` of a link its shape by an input, if it has none yet: all axes but the first, or the channels of a
    convolution."""
    if not link.W.is_initialized:
        link._initialize_params(channels_of(link, x) if hasattr(link, "ksize") else prod(shape_of(link, x)[1:]))


class EmbedID(Link):
    """Rows of ``W`` picked by integer ids.

    Args:
        in_size: number of ids.
        out_size: size of a row.
        initialW: initial ``W`` (in_size, out_size); normal with deviation 1 by default.
        ignore_label: an id that gives zeros, or None.
    """
    ignore_label = None

    def __init__(self, in_size, out_size, initialW=None, ignore_label=None):
        super().__init__()
        self.ignore_label = ignore_label
        with self.init_scope():
            self.W = new_weight(Normal(1.0) if initialW is None else initialW, (in_size, out_size))

    @classmethod
    def from_params(cls, W, ignore_label=None):
        """A link over a given array ``W`` (in_size, out_size)."""
        return cls(*W.shape, initialW=as_array(W), ignore_label=ignore_label)

    @property
    def printable_specs(self):
        yield "in_size", self.W.shape[0]
        yield "out_size", self.W.shape[1]
        yield "ignore_label", self.ignore_label

    def forward(self, x):
        """``x``: integer ids of any shape; the result has one axis more."""
        return F.embed_id(x, self.W, ignore_label=self.ignore_label)


def _check_initial(**initial):
    """Check that initial values that are arrays have their parameter's shape."""
    for name, (value, shape) in initial.items():
        if is_array(value) and value.shape != shape:
            raise InvalidArguments("Bilinear", f"an initial {name} of shape {shape}", str(value.shape))


class Bilinear(Link):
    """``y_k = e1^T W_k e2 + e1 V1 + e2 V2 + b``.

    Args:
        left_size, right_size, out_size: sizes of e1, e2 and y.
        nobias: leave out ``V1``, ``V2`` and ``b``.
        initialW: initial ``W`` (left_size, right_size, out_size).
        initial_bias: initial values ``(V1, V2, b)``, or None.
    """

    def __init__(self, left_size, right_size, out_size, nobias=False, initialW=None, initial_bias=None):
        super().__init__()
        self.in_sizes, self.nobias = (left_size, right_size), nobias
        if not (initial_bias is None or isinstance(initial_bias, tuple) and len(initial_bias) == 3):
            raise ValueError(f"Bilinear takes initial_bias as a tuple (V1, V2, b) or None; got {type(initial_bias).__name__}")
        v1, v2, b = initial_bias or (None, None, None)
        _check_initial(W=(initialW, (left_size, right_size, out_size)), V1=(v1, (left_size, out_size)), V2=(v2, (right_size, out_size)),
                       b=(b, (out_size,)))
        with self.init_scope():
            self.W = new_weight(initialW, (left_size, right_size, out_size))
            if not nobias:
                self.V1 = new_weight(v1, (left_size, out_size))
                self.V2 = new_weight(v2, (right_size, out_size))
                self.b = new_bias(b, out_size)

    def forward(self, e1, e2):
        """``e1`` (n, left_size), ``e2`` (n, right_size) to (n, out_size)."""
        if self.nobias:
            return F.bilinear(e1, e2, self.W)
        return F.bilinear(e1, e2, self.W, self.V1, self.V2, self.b)


class Highway(Chain):
    """``y = t * activate(plain(x)) + (1 - t) * x`` with the gate ``t = sigmoid(transform(x))`` (Srivastava et al. 2015).

    Args:
        in_out_size: size of x and y.
        nobias: leave out both biases.
        activate: function of the plain branch.
        init_Wh, init_Wt, init_bh, init_bt: initial weights and biases of the plain branch (h) and the gate (t); the gate starts
            mostly closed.
    """

    def __init__(self, in_out_size, nobias=False, activate=F.relu, init_Wh=None, init_Wt=None, init_bh=None, init_bt=-1):
        super().__init__()
        self.activate = activate
        with self.init_scope():
            self.plain = Linear(in_out_size, in_out_size, nobias=nobias, initialW=init_Wh, initial_bias=init_bh)
            self.transform = Linear(in_out_size, in_out_size, nobias=nobias, initialW=init_Wt, initial_bias=init_bt)

    def forward(self, x):
        """``x`` (n, in_out_size) to the same shape."""
        plain = self.activate(self.plain(x))
        gate = F.sigmoid(self.transform(x))
        return plain * gate + x * (1 - gate)
