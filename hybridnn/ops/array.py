"""Joining, splitting, repeating, rearranging. Views (reshape, transpose, get_item, broadcast_to) are in core.shapes and core.indexing."""
from itertools import accumulate, pairwise

import numpy as np

from hybridnn.core.arithmetic import identity, where
from hybridnn.core.indexing import get_item, put, put_item, take
from hybridnn.core.op import operation
from hybridnn.core.shapes import broadcast_to, reshape, sum_
from hybridnn.errors import InvalidType
from hybridnn.ops.axes import slice_along
from hybridnn.ops.util import zeros_for


def _draw(*shapes, **attrs):
    """A sample: normal arrays of these shapes, and attrs."""
    return lambda rng, dtype: [(tuple(rng.normal(size=s).astype(dtype) for s in shapes), attrs)]


def bounds(sizes):
    """Pairs (start, stop) of consecutive pieces."""
    return pairwise([0, *accumulate(sizes)])


# ------------------------------------------------------------------------------------------------------------- join and split

@operation(samples=_draw((2, 3), (2, 1), (2, 2), axis=1), takes_all=True)
def concat(xp, *xs, axis):
    """The arrays one behind the other along an existing axis."""
    return xp.concatenate(xs, axis)


@concat.vjp
def _(g, shapes, want, axis):
    pieces = bounds(s[axis] for s in shapes)
    return tuple([get_item(g, index=slice_along(axis, a, b)) if w else None for (a, b), w in zip(pieces, want, strict=True)])


@operation(samples=_draw((2, 3), (2, 3), axis=1), takes_all=True)
def stack(xp, *xs, axis):
    """The arrays side by side along a new axis."""
    return xp.stack(xs, axis)


@stack.vjp
def _(g, want, axis):
    return tuple([get_item(g, index=_at(axis, i)) if w else None for i, w in enumerate(want)])


def _at(axis, i):
    return (("slice", None, None, None),) * axis + (i,)


def _split_parts(x, axis, at):
    return tuple([get_item(x, index=slice_along(axis, a, b)) for a, b in _cuts(x.shape[axis], at)])


def _cuts(n, at):
    return pairwise([0, *at, n])


@operation(samples=_draw((2, 6), axis=1, at=(1, 4)), multi=True, decompose=_split_parts)
def split(xp, x, *, axis, at):
    """The pieces of x between consecutive positions ``at`` (in [0, n]) along an axis: views."""
    lead = (slice(None),) * axis
    return tuple([x[(*lead, slice(a, b))] for a, b in _cuts(x.shape[axis], at)])


@split.vjp
def _(gs, shapes, axis, at):
    shape = shapes[0]
    if all(g is not None for g in gs):
        return concat(*gs, axis=axis)
    cuts = zip(gs, _cuts(shape[axis], at), strict=True)
    return _sum_of_pieces([put_item(g, shape=shape, index=slice_along(axis, a, b)) for g, (a, b) in cuts if g is not None])


def _sum_of_pieces(pieces):
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return total


def _separate_parts(x, axis):
    return tuple([get_item(x, index=_at(axis, i)) for i in range(x.shape[axis])])


@operation(samples=_draw((2, 3, 4), axis=1), multi=True, decompose=_separate_parts)
def separate(xp, x, *, axis):
    """The arrays that lie side by side along an axis, which they lose: views."""
    return tuple(xp.moveaxis(x, axis, 0)) if axis else tuple(x)


@separate.vjp
def _(gs, shapes, axis):
    if all(g is not None for g in gs):
        return stack(*gs, axis=axis)
    return _sum_of_pieces([put_item(g, shape=shapes[0], index=_at(axis, i)) for i, g in enumerate(gs) if g is not None])


# --------------------------------------------------------------------------------------------------------------------- repeat

def _tile_parts(x, *, reps):
    n = max(len(reps), x.ndim)
    sizes, reps = (1,) * (n - x.ndim) + tuple(x.shape), (1,) * (n - len(reps)) + tuple(reps)
    one, many = (tuple([k for pair in zip(counts, sizes) for k in pair]) for counts in ((1,) * n, reps))
    return reshape(broadcast_to(reshape(x, shape=one), shape=many), shape=tuple([r * k for r, k in zip(reps, sizes)]))


@operation(samples=_draw((2, 3), reps=(2, 1, 3)), decompose=_tile_parts)
def tile(xp, x, *, reps):
    """x repeated as a whole ``reps`` times along each axis (NumPy's rule where the lengths differ)."""
    return xp.tile(x, reps)


@tile.vjp
def _(g, shapes, reps):
    shape = (1,) * (len(reps) - len(shapes[0])) + shapes[0]
    reps = (1,) * (len(shape) - len(reps)) + reps
    split_up = tuple(n for r, s in zip(reps, shape) for n in (r, s))
    return reshape(sum_(reshape(g, shape=split_up), axis=tuple(range(0, len(split_up), 2)), keepdims=False), shape=shapes[0])


def _repeat_samples(rng, dtype):
    for repeats in ((2,), (1, 0, 3), (0,)):
        yield (rng.normal(size=(2, 3)).astype(dtype),), {"repeats": repeats, "axis": 1}


def _along(axis):
    """The pattern of ``take`` and ``put`` that picks slices along an axis."""
    return (("slice", None, None, None),) * axis + (("array", 0),)


def _copies(repeats, n):
    """For each slice that ``repeat`` makes, the one of ``n`` that it is a copy of."""
    return np.repeat(np.arange(n), repeats if len(repeats) > 1 else repeats[0])


def _repeat_parts(x, *, repeats, axis):
    if len(repeats) == 1:
        axis, (times,) = axis % x.ndim, repeats
        before, after = tuple(x.shape[:axis + 1]), tuple(x.shape[axis + 1:])
        apart = broadcast_to(reshape(x, shape=(*before, 1, *after)), shape=(*before, times, *after))
        return reshape(apart, shape=(*before[:-1], before[-1] * times, *after))
    return take(x, _copies(repeats, x.shape[axis]), pattern=_along(axis % x.ndim))


def _sum_repeated_parts(g, *, shape, repeats, axis):
    if len(repeats) == 1:
        axis %= len(shape)
        apart = reshape(g, shape=(*shape[:axis + 1], repeats[0], *shape[axis + 1:]))
        return sum_(apart, axis=(axis + 1,), keepdims=False)
    return put(g, _copies(repeats, shape[axis]), shape=tuple(shape), pattern=_along(axis % len(shape)))


@operation(samples=_repeat_samples, decompose=_repeat_parts)
def repeat(xp, x, *, repeats, axis):
    """Each slice along an axis ``repeats`` times (one number for all, or one each)."""
    return xp.repeat(x, repeats if len(repeats) > 1 else repeats[0], axis)


@repeat.vjp
def _(g, shapes, repeats, axis):
    return sum_repeated(g, shape=shapes[0], repeats=repeats, axis=axis)


def _sum_repeated_samples(rng, dtype):
    for n, repeats in ((4, (1, 0, 3)), (6, (2,)), (0, (0,))):
        yield (rng.normal(size=(2, n)).astype(dtype),), {"shape": (2, 3), "repeats": repeats, "axis": 1}


@operation(samples=_sum_repeated_samples, decompose=_sum_repeated_parts)
def sum_repeated(xp, g, *, shape, repeats, axis):
    """Sums over the copies that ``repeat`` made: its adjoint."""
    y = xp.zeros(shape, g.dtype)
    lead = (slice(None),) * axis
    counts = repeats * shape[axis] if len(repeats) == 1 else repeats
    for i, (a, b) in enumerate(bounds(counts)):
        y[(*lead, i)] = g[(*lead, slice(a, b))].sum(axis=axis)
    return y


@sum_repeated.vjp
def _(g, repeats, axis):
    return repeat(g, repeats=repeats, axis=axis)


def _roll_parts(x, *, shift, axis):
    for by, a in zip(shift, axis, strict=True):
        a, n = a % x.ndim, x.shape[a]
        if n and by % n:
            cut = n - by % n
            x = concat(get_item(x, index=slice_along(a, cut, n)), get_item(x, index=slice_along(a, 0, cut)), axis=a)
    return identity(x)


@operation(samples=_draw((2, 5), shift=(2,), axis=(1,)), decompose=_roll_parts)
def roll(xp, x, *, shift, axis):
    """Elements moved along axes, those that leave at one end coming in at the other."""
    return xp.roll(x, shift, axis)


@roll.vjp
def _(g, shift, axis):
    return roll(g, shift=tuple(-s for s in shift), axis=axis)


# ------------------------------------------------------------------------------------------------------------------------ pad

def _pad_samples(rng, dtype):
    for mode in ("constant", "edge", "reflect", "symmetric", "wrap"):
        options = (("constant_values", 2),) if mode == "constant" else ()
        yield (rng.normal(size=(3, 4)).astype(dtype),), {"width": ((1, 2), (0, 1)), "mode": mode, "options": options}


@operation(samples=_pad_samples, takes_all=True)
def pad(xp, x, *, width, mode, options=()):
    """NumPy's pad; ``options`` holds its keyword arguments as pairs."""
    return xp.pad(x, width, mode, **dict(options))


@pad.vjp
def _(g, shapes, width, mode, options):
    if mode == "constant":
        return get_item(g, index=tuple(("slice", a, a + n, None) for (a, _), n in zip(width, shapes[0])))
    return unpad(g, shape=shapes[0], width=width, mode=mode, options=options)


@operation(samples=_draw((3, 5), shape=(3, 3), width=((0, 0), (1, 1)), mode="reflect", options=()), takes_all=True)
def unpad(xp, g, *, shape, width, mode, options=()):
    """Sums of what ``pad`` copied from each element: its adjoint in the modes that copy (edge, reflect, symmetric, wrap)."""
    if mode not in ("edge", "reflect", "symmetric", "wrap"):
        raise InvalidType("pad", "a mode with a gradient: constant, edge, reflect, symmetric or wrap", repr(mode))
    origin = xp.pad(xp.arange(int(np.prod(shape))).reshape(shape), width, mode, **dict(options))
    y = xp.zeros(int(np.prod(shape)), g.dtype)
    xp.add.at(y, origin.ravel(), g.ravel())
    return y.reshape(shape)


@unpad.vjp
def _(g, width, mode, options):
    return pad(g, width=width, mode=mode, options=options)


def _sequences(rng, dtype):
    yield (.5, *[rng.normal(size=(n, 2)).astype(dtype) for n in (3, 1, 4)]), {"length": 4}


def _padded(padding, *xs, length):
    """Sequences joined with zeros, in whose place the padding then comes."""
    lengths, rest = np.array([x.shape[0] for x in xs]), xs[0].shape[1:]
    zeros = [np.zeros((length - n, *rest), xs[0].dtype) for n in lengths]
    y = stack(*[concat(x, z, axis=0) if len(z) else x for x, z in zip(xs, zeros, strict=True)], axis=0)
    inside = np.arange(length) < lengths[:, None]
    return where(inside.reshape(*inside.shape, *[1] * len(rest)), y, padding)


@operation(samples=_sequences, decompose=_padded)
def pad_sequence(xp, padding, *xs, length):
    """Arrays of several lengths as one (N, length, ...), filled up with the number ``padding``."""
    y = xp.full((len(xs), length, *xs[0].shape[1:]), padding, xs[0].dtype)
    for row, x in zip(y, xs, strict=True):
        row[:len(x)] = x
    return y


@pad_sequence.vjp
def _(g, shapes, want):
    rows = enumerate(zip(shapes[1:], want[1:], strict=True))
    return None, *[get_item(g, index=(i, ("slice", 0, s[0], None))) if w else None for i, (s, w) in rows]


def _steps_of_sequences(*xs, lengths):
    """Between two ends of sequences the batch stays the same: these time steps are slices of one stack."""
    steps = []
    for a, b in pairwise(sorted({0, *lengths})):
        rows = [get_item(x, index=slice_along(0, a, b)) for x, n in zip(xs, lengths, strict=True) if n > a]
        steps += separate(stack(*rows, axis=1), axis=0)
    return tuple(steps)


@operation(samples=_draw((4, 2), (3, 2), (3, 2), (1, 2), lengths=(4, 3, 3, 1)), multi=True, decompose=_steps_of_sequences)
def transpose_sequence(xp, *xs, lengths):
    """Batch-major to time-major: output t holds row t of every input that has one. Lengths do not increase. It undoes itself."""
    return tuple([xp.stack([x[t] for x in xs if len(x) > t]) for t in range(lengths[0])])


@transpose_sequence.vjp
def _(gs, shapes, lengths):
    some = next(g for g in gs if g is not None)
    counts = tuple(sum(n > t for n in lengths) for t in range(lengths[0]))
    gs = [zeros_for(some, shape=(n, *shapes[0][1:])) if g is None else g for g, n in zip(gs, counts, strict=True)]
    found = transpose_sequence(*gs, lengths=counts)
    return *found, *[zeros_for(some, shape=s) for s in shapes[len(found):]]       # of empty sequences


# ------------------------------------------------------------------------------------------------------- diagonals and selection

@operation(samples=_draw((2, 3, 4), offset=1, axis1=0, axis2=2), takes_all=True)
def diagonal(xp, x, *, offset, axis1, axis2):
    """The diagonals of the planes of two axes, as a new last axis."""
    return x.diagonal(offset, axis1, axis2).copy()


@diagonal.vjp
def _(g, shapes, offset, axis1, axis2):
    return put_diagonal(g, shape=shapes[0], offset=offset, axis1=axis1, axis2=axis2)


@operation(samples=_draw((3, 2), shape=(2, 3, 4), offset=1, axis1=0, axis2=2), takes_all=True)
def put_diagonal(xp, g, *, shape, offset, axis1, axis2):
    """Zeros of ``shape`` with g on the diagonals: the adjoint of ``diagonal``."""
    y = xp.zeros(shape, g.dtype)
    planes = xp.moveaxis(y, (axis1, axis2), (-2, -1))
    n = g.shape[-1]
    rows = xp.arange(n) + max(-offset, 0)
    planes[..., rows, rows + offset] = g
    return y


@put_diagonal.vjp
def _(g, offset, axis1, axis2):
    return diagonal(g, offset=offset, axis1=axis1, axis2=axis2)


@operation(samples=_draw((2, 3)), takes_all=True)
def copy(xp, x):
    """A copy in memory of its own."""
    return x.copy()


@copy.vjp
def _(g):
    return copy(g)
