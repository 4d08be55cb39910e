"""What links with weights share: parameters from what a user gives as an initial value, and pairs from numbers."""
from hybridnn.core import Parameter
from hybridnn.errors import InvalidType
from hybridnn.initializers import get_initializer
from hybridnn.ops.expect import expect_arrays

__all__ = ["add_weights", "as_pair", "as_tuple", "channels_of", "grouped", "new_bias", "new_weight", "shape_of"]


def new_weight(initial, shape=None):
    """A Parameter; ``initial`` is an initializer, a number, an array, or None for ``LeCunNormal``."""
    return Parameter(get_initializer(initial), shape)


def new_bias(initial, shape=None):
    """A Parameter; None starts it at 0."""
    return Parameter(get_initializer(0 if initial is None else initial), shape)


def add_weights(link, n_in, n_out, initialW, initial_bias, nobias):
    """Give a link ``W``, with its shape if the size of the input is known, and ``b`` unless there is to be none."""
    with link.init_scope():
        link.W = new_weight(initialW)
        if n_in is not None:
            link._initialize_params(n_in)
        link.b = None if nobias else new_bias(initial_bias, n_out)


def as_pair(x):
    """``(x, x)`` for a number; a sequence stays as it is."""
    return x if hasattr(x, "__getitem__") else (x, x)


def as_tuple(x, n):
    """A tuple of ``n`` equal numbers, or the given sequence of ``n`` as a tuple."""
    if not hasattr(x, "__getitem__"):
        return (x,) * n
    if len(x) != n:
        raise InvalidType("links", f"one number, or one for each of {n} axes", repr(x))
    return tuple(x)


def shape_of(link, x):
    """The shape of ``x``, by which a link takes its own at the first call."""
    expect_arrays(type(link).__name__, x=x)
    return x.shape


def channels_of(link, x, ndim=None):
    """Size of the channel axis of ``x``, by which a link takes its shape at the first call."""
    shape = shape_of(link, x)
    if len(shape) < 2 or ndim is not None and len(shape) != ndim:
        axes = "at least two" if ndim is None else ndim
        raise InvalidType(type(link).__name__, f"an input with {axes} axes (batch, channels, ...)", f"shape {shape}")
    return shape[1]


def grouped(link, in_channels, out_channels, groups):
    """Check that both numbers of channels can be split into ``groups``."""
    for what, n in (("output", out_channels), ("input", in_channels)):
        if groups < 1 or n % groups:
            raise InvalidType(type(link).__name__, f"a number of {what} channels divisible by the number of groups",
                              f"{n} channels, groups={groups}")
