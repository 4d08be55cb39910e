"""The cell of a long short-term memory as a coarse operation. Its gradient and its decomposition are elementwise, so that a
trace fuses a cell into one kernel.
"""

from hybridnn.backend import get_array_module, is_array
from hybridnn.core.arithmetic import add
from hybridnn.core.indexing import get_item, put_item
from hybridnn.core.op import operation
from hybridnn.core.shapes import reshape
from hybridnn.ops.activation import sigmoid
from hybridnn.ops.array import stack
from hybridnn.ops.math import tanh

__all__ = ["lstm_cell"]

WHOLE = ("slice", None, None, None)


def _by_gate(x):
    """x (n, 4 units, ...) as (n, units, 4, ...): Chainer's layout, gates side by side."""
    return reshape(x, shape=(x.shape[0], x.shape[1] // 4, 4, *x.shape[2:]))


def _gate(x, k):
    return get_item(x, index=(WHOLE, WHOLE, k))


def _join_gates(parts, shape):
    """The inverse of cutting ``_by_gate`` into its gates, under the shape of the cell's input; None for the last: zeros."""
    if parts[3] is not None:
        return reshape(stack(*parts, axis=2), shape=shape)
    n, units, *rest = parts[0].shape
    a, i, f = [put_item(p, shape=(n, units, 4, *rest), index=(WHOLE, WHOLE, k)) for k, p in enumerate(parts[:3])]
    return reshape(add(add(a, i), f), shape=shape)


def _samples(rng, dtype):
    for rest in ((), (2,)):
        yield (rng.normal(size=(3, 2, *rest)).astype(dtype), rng.normal(size=(3, 8, *rest)).astype(dtype)), {}


def _decompose(c_prev, x):
    gates = _by_gate(x)
    a = tanh(_gate(gates, 0))
    i, f, o = [sigmoid(_gate(gates, k)) for k in (1, 2, 3)]
    c = a * i + f * c_prev
    return c, o * tanh(c), reshape(_join_gates((a, i, f, o), x.shape), shape=gates.shape)


def _activation_constants(xp, x):
    """tanh(k x) k + m is tanh for the first gate (k = 1, m = -0, which keeps the sign of zeros) and the logistic for the others (k = m = 1/2)."""
    shape = (4,) + (1,) * (x.ndim - 3)
    return xp.array([1, 0.5, 0.5, 0.5], x.dtype).reshape(shape), xp.array([-0.0, 0.5, 0.5, 0.5], x.dtype).reshape(shape)


@operation(kind="coarse", multi=True, samples=_samples, decompose=_decompose)
def lstm_cell(xp, c_prev, x):
    """(c, h, activated gates) for c_prev (n, units, ...) and x (n, 4 units, ...) (Hochreiter and Schmidhuber 1997, with forget
    gates).

    The gates of a unit lie side by side in x: candidate a, input i, forget f, output o. c = tanh(a) sigmoid(i) + sigmoid(f)
        c_prev, h = sigmoid(o) tanh(c).
    """
    gates = x.reshape(x.shape[0], x.shape[1] // 4, 4, *x.shape[2:])
    k, m = _activation_constants(xp, gates)
    gates = xp.tanh(gates * k)
    gates *= k
    gates += m
    c = gates[:, :, 0] * gates[:, :, 1]
    c += gates[:, :, 2] * c_prev
    return c, gates[:, :, 3] * xp.tanh(c), gates


@lstm_cell.vjp
def _(gs, ys, c_prev, shapes):
    gc, gh, g_gates = gs
    c, _, gates = ys
    if is_array(gates) and g_gates is None:
        return _fast_gradient(gc, gh, c, gates, c_prev, shapes[1])
    a, i, f, o = [_gate(gates, k) for k in range(4)]
    t = tanh(c)
    total = (0 if gc is None else gc) + (0 if gh is None else gh * (o * (1 - t * t)))
    slopes = [1 - a * a, i * (1 - i), f * (1 - f), o * (1 - o)]
    parts = [total * (i * slopes[0]), total * (a * slopes[1]), total * (c_prev * slopes[2]), None if gh is None else gh * t * slopes[3]]
    if g_gates is not None:
        direct = [_gate(g_gates, k) * s for k, s in enumerate(slopes)]
        parts = [g if p is None else p + g for p, g in zip(parts, direct)]
    return total * f, _join_gates(parts, shapes[1])


def _fast_gradient(gc, gh, c, gates, c_prev, shape):
    """The same on arrays, in few passes."""
    xp = get_array_module(gates)
    a, i, f, o = [gates[:, :, k] for k in range(4)]
    gx = xp.empty_like(gates)
    total = xp.zeros_like(c) if gc is None else gc
    if gh is None:
        gx[:, :, 3] = 0
    else:
        t = xp.tanh(c)
        total = total + gh * (o * (1 - t * t))
        gx[:, :, 3] = gh * t * (o * (1 - o))
    gx[:, :, 0] = total * (i * (1 - a * a))
    gx[:, :, 1] = total * (a * (i * (1 - i)))
    gx[:, :, 2] = total * (c_prev * (f * (1 - f)))
    return total * f, gx.reshape(shape)
