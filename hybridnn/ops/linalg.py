"""Linear algebra: einsum, tensordot, inverse, determinant, Cholesky factor, Fourier transform."""
from math import prod

import numpy as np

from hybridnn.core.application import apply
from hybridnn.core.arithmetic import cast, where
from hybridnn.core.fixed import fixed_array
from hybridnn.core.op import operation
from hybridnn.core.product import matmul
from hybridnn.core.shapes import broadcast_to, reshape, sum_, transpose
from hybridnn.errors import InvalidType
from hybridnn.openblas import factored
from hybridnn.ops.array import diagonal, put_diagonal
from hybridnn.ops.axes import axis_of, of_shape
from hybridnn.ops.util import zeros_for


def _swap(x):
    """The transposed matrices."""
    return transpose(x, axes=(*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


def _matrices(rng, dtype):
    for batch in ((), (2,)):
        yield ((rng.normal(size=(*batch, 3, 3)) + 3 * np.eye(3)).astype(dtype),), {}


def _in_single(function, x):
    """LAPACK has no half precision: float16 is computed in float32."""
    return factored(function, x.astype(np.float32)).astype(x.dtype) if x.dtype == np.float16 else factored(function, x)


def _lapack(name, function, x):
    try:
        return _in_single(function, x)
    except np.linalg.LinAlgError as error:
        raise InvalidType(name, "matrices for which it exists", f"x.shape={x.shape}", str(error)) from error


@operation(samples=_matrices, like_first=True)
def inv(xp, x):
    """Inverses of the matrices in the last two axes."""
    return _lapack("inv: Input has singular matrices", xp.linalg.inv, x)


@inv.vjp
def _(g, y):
    return -matmul(matmul(y, g, transa=True), y, transb=True)


@operation(samples=_matrices)
def det(xp, x):
    """Determinants of the matrices in the last two axes."""
    return _lapack("det", xp.linalg.det, x)


@det.vjp
def _(g, x, y):
    return reshape(g * y, shape=(*y.shape, 1, 1)) * _swap(inv(x))


def _positive_definite(rng, dtype):
    for (x,), attrs in _matrices(rng, np.float64):
        yield ((x @ x.swapaxes(-1, -2)).astype(dtype),), attrs


@operation(samples=_positive_definite, symmetric=True, like_first=True)
def cholesky(xp, x):
    """Lower triangular factors of symmetric positive definite matrices. The gradient is symmetric."""
    return _lapack("cholesky", xp.linalg.cholesky, x)


@cholesky.vjp
def _(g, y):
    """Murray 2016, equation 10: S = L^-T phi(L^T g) L^-1, made symmetric."""
    inverse = inv(y)
    s = matmul(matmul(inverse, half_lower(matmul(y, g, transa=True)), transa=True), inverse)
    return (s + _swap(s)) * .5


def _half_lower_parts(x):
    below, on = np.tril(np.ones(x.shape[-2:], bool), -1), np.eye(*x.shape[-2:], dtype=bool)
    return where(below, x, where(on, x - x * .5, 0))


@operation(samples=_matrices, decompose=_half_lower_parts)
def half_lower(xp, x):
    """The lower triangles, with half of the diagonals; it is its own adjoint."""
    return xp.tril(x) - xp.tril(xp.triu(x)) * .5


@half_lower.vjp
def _(g):
    return half_lower(g)


# -------------------------------------------------------------------------------------------------------------------- Fourier

def _pairs(rng, dtype):
    for inverse in (False, True):
        yield (rng.normal(size=(2, 5)).astype(dtype), rng.normal(size=(2, 5)).astype(dtype)), {"inverse": inverse}


LONGEST_PRODUCT = 64       # elements that are transformed by a product with the matrix of the transform: longer ones take fewer operations otherwise


def _wave(n, function, scale, dtype):
    """The matrix of ``scale`` times a sine or cosine of 2 pi j k / n."""
    k = np.arange(n)
    return (scale * function(2 * np.pi * (np.outer(k, k) % n) / n)).astype(dtype)


def _fft_products(real, imag, *, inverse):
    """Short transforms as sums of products with matrices of cosines and sines."""
    shape, n = real.shape, real.shape[-1]
    if n > LONGEST_PRODUCT or real.dtype != imag.dtype:
        raise ValueError("a long transform, or one of parts of different dtypes, is no product")
    scale, dtype = 1 / n if inverse else 1.0, real.dtype.str
    sign = -scale if inverse else scale
    c, s, t = [fixed_array(_wave, n, *each, dtype) for each in ((np.cos, scale), (np.sin, sign), (np.sin, -sign))]
    re, im = [reshape(x, shape=(prod(shape[:-1]), n)) for x in (real, imag)]
    parts = [(re, c, im, s), (im, c, re, t)]
    return tuple([reshape(matmul(a, x, transa=False, transb=False) + matmul(b, y, transa=False, transb=False), shape=shape) for a, x, b, y in parts])


@operation(samples=_pairs, multi=True, decompose=_fft_products)
def fft(xp, real, imag, *, inverse=False):
    """(Inverse) discrete Fourier transform along the last axis: real and imaginary part in, both out."""
    y = (xp.fft.ifft if inverse else xp.fft.fft)(real + 1j * imag)
    return y.real.astype(real.dtype), y.imag.astype(imag.dtype)


@fft.vjp
def _(gs, inverse):
    """The adjoint of multiplication by the symmetric matrix F in the plane of both parts: the same transform, parts exchanged."""
    real, imag = (zeros_for(gs[1 - i], shape=gs[1 - i].shape) if g is None else g for i, g in enumerate(gs))
    gi, gr = fft(imag, real, inverse=inverse)
    return gr, gi


# ------------------------------------------------------------------------------------------------------------------- tensordot

def tensordot_of(a, b, axes):
    """``tensordot`` by a transposition, a reshape and one matrix product; all three differentiate themselves."""
    first, second = _tensordot_axes(a, b, axes)
    rows = tuple(i for i in range(a.ndim) if i not in first)
    columns = tuple(i for i in range(b.ndim) if i not in second)
    inner = prod(a.shape[i] for i in first)
    left, right = tuple(a.shape[i] for i in rows), tuple(b.shape[i] for i in columns)
    a = reshape.to(transpose.by(a, rows + first), (prod(left), inner))
    b = reshape.to(transpose.by(b, second + columns), (inner, prod(right)))
    return reshape.to(apply(matmul, (a, b), {"transa": False, "transb": False}), left + right)


def _tensordot_axes(a, b, axes):
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise InvalidType("tensordot", f"0 <= axes <= {min(a.ndim, b.ndim)}", f"axes={axes}, shapes {a.shape}, {b.shape}")
        pair = range(a.ndim - axes, a.ndim), range(axes)
    elif isinstance(axes, (tuple, list)) and len(axes) == 2:
        pair = [x if isinstance(x, (tuple, list, range)) else (x,) for x in axes]
    else:
        raise InvalidType("tensordot", "axes as an int or a pair of sequences of ints", repr(axes))
    first, second = (tuple(axis_of("tensordot", i, x.ndim) for i in one) for one, x in zip(pair, (a, b)))
    if len(set(first)) != len(first) or len(set(second)) != len(second):
        raise InvalidType("tensordot", "distinct axes", f"axes={axes}")
    if [a.shape[i] for i in first] != [b.shape[i] for i in second]:
        raise InvalidType("tensordot", "the summed axes to have equal lengths", f"shapes {a.shape}, {b.shape}, axes={axes}")
    return first, second


# ---------------------------------------------------------------------------------------------------------------------- einsum

def _einsum_samples(rng, dtype):
    for text, *shapes in (("ij,jk->ik", (2, 3), (3, 4)), ("ij->j", (2, 3)), ("ii->i", (3, 3)),
                          ("...ij,...j->...i", (2, 2, 3), (2, 3)),
                          ("i,j,ij->", (2,), (3,), (2, 3)), ("iji->j", (2, 3, 2)), ("ij,->ij", (2, 3), ())):
        inputs, output = text.split("->")
        yield tuple(rng.normal(size=s).astype(dtype) for s in shapes), {"inputs": tuple(inputs.split(",")), "output": output}


def _label(word, ndim):
    """Subscripts with a digit for each axis under an ellipsis."""
    return word.replace("...", "0123456789"[:ndim - len(word.replace("...", ""))])


def _diagonals(word):
    """Triples (word, axis1, axis2) of the diagonals that leave every subscript once, and the word that is left."""
    found = []
    while len(set(word)) < len(word):
        letter = next(c for c in word if word.count(c) > 1)
        i, j = word.index(letter), word.index(letter, word.index(letter) + 1)
        found.append((word, i, j))
        word = word[:i] + word[i + 1:j] + word[j + 1:] + letter
    return found, word


def _distinct(x, word):
    found, word = _diagonals(word)
    for _, i, j in found:
        x = diagonal(x, offset=0, axis1=i, axis2=j)
    return x, word


def _without(x, word, kept):
    """Sums over the subscripts that are not ``kept``."""
    gone = tuple([i for i, c in enumerate(word) if c not in kept])
    return (sum_(x, axis=gone, keepdims=False) if gone else x), "".join([c for c in word if c in kept])


def _ordered(x, word, target):
    """The axes in another order."""
    return x if word == target else transpose(x, axes=tuple(map(word.index, target)))


def _einsum_parts(*xs, inputs, output):
    """One operand after the other is multiplied: matrices, or elements where no subscript is summed over."""
    if any(x.dtype.kind != "f" for x in xs):
        raise ValueError("einsum is only decomposed for floats")
    dtype = np.result_type(*[x.dtype for x in xs])
    xs = [x if x.dtype == dtype else cast(x, dtype=dtype.str) for x in xs]       # as NumPy does, before anything is summed
    dots = max([x.ndim - len(w.replace("...", "")) for x, w in zip(xs, inputs)])
    out = _label(output, len(output.replace("...", "")) + dots)
    parts = [_distinct(x, _label(w, x.ndim)) for x, w in zip(xs, inputs)]
    y, word = parts.pop(0)
    while parts:
        other, right = parts.pop(next((k for k, (_, w) in enumerate(parts) if set(w) & set(word)), 0))
        y, word = _times(y, word, other, right, set(out).union(*[w for _, w in parts]))
    return _ordered(*_without(y, word, out), out)


def _times(a, left, b, right, kept):
    """The product of two operands, and its subscripts, which are ``kept``."""
    (a, left), (b, right) = (_without(x, w, kept | set(other)) for x, w, other in ((a, left, right), (b, right, left)))
    batch, summed = ("".join([c for c in left if c in right and (c in kept) is stays]) for stays in (True, False))
    rows, columns = ("".join([c for c in w if c not in other]) for w, other in ((left, right), (right, left)))
    sizes = dict([*zip(left, a.shape), *zip(right, b.shape)])
    y = (_matrix_product if summed else _element_product)(a, left, b, right, (batch, summed, rows, columns), sizes)
    return y, batch + rows + columns


def _shape_of(word, sizes):
    return tuple([sizes[c] for c in word])


def _matrix_product(a, left, b, right, groups, sizes):
    batch, summed, rows, columns = groups
    lead = _shape_of(batch, sizes)
    m, k, n = (prod(_shape_of(word, sizes)) for word in (rows, summed, columns))
    a = reshape(_ordered(a, left, batch + rows + summed), shape=(*lead, m, k))
    b = reshape(_ordered(b, right, batch + summed + columns), shape=(*lead, k, n))
    return reshape(matmul(a, b, transa=False, transb=False), shape=_shape_of(batch + rows + columns, sizes))


def _element_product(a, left, b, right, groups, sizes):
    batch, _, rows, columns = groups
    ones = lambda word: (1,) * len(word)
    a = reshape(_ordered(a, left, batch + rows), shape=(*_shape_of(batch + rows, sizes), *ones(columns)))
    return a * reshape(_ordered(b, right, batch + columns), shape=(*_shape_of(batch, sizes), *ones(rows), *_shape_of(columns, sizes)))


@operation(samples=_einsum_samples, decompose=_einsum_parts)
def einsum(xp, *operands, inputs, output):
    """Einstein summation; ``inputs`` holds a string of subscripts for each operand, ``...`` at most once in each."""
    return xp.einsum(",".join(inputs) + "->" + output, *operands, optimize=len(operands) > 2)


@einsum.vjp
def _(g, xs, want, inputs, output):
    """Each operand's gradient is the summation with ``g`` in its place; what only it has is spread, repeats go on diagonals."""
    return tuple(_einsum_gradient(g, xs, i, inputs, output) if want[i] else None for i in range(len(xs)))


def _einsum_gradient(g, xs, i, inputs, output):
    others = [j for j in range(len(xs)) if j != i]
    known = set("".join([output, *(inputs[j] for j in others)])) - {"."}
    letters = "".join(dict.fromkeys(c for c in inputs[i] if c != "." and c in known))
    shape = tuple(xs[i].shape)
    broadcast = "..." if "..." in inputs[i] or "..." in output else ""
    partial = einsum(g, *[xs[j] for j in others], inputs=(output, *(inputs[j] for j in others)), output=broadcast + letters)
    return einsum_spread(partial, source=broadcast + letters, target=inputs[i], shape=shape)


def _spread_samples(rng, dtype):
    yield (rng.normal(size=(3,)).astype(dtype),), {"source": "j", "target": "iji", "shape": (2, 3, 2)}
    yield (rng.normal(size=(2, 3)).astype(dtype),), {"source": "...j", "target": "...jk", "shape": (2, 3, 2)}


def _spread_parts(x, *, source, target, shape):
    """A transposition and a broadcast, onto diagonals where subscripts are repeated."""
    if x.dtype.kind != "f":
        raise ValueError("einsum_spread is only decomposed for floats")
    whole, own = _label(target, len(shape)), source.replace("...", "")
    found, word = _diagonals(whole)
    sizes, lead = dict(zip(whole, shape)), "".join([c for c in whole if c.isdigit()])
    extra = x.ndim - len(own) - len(lead)
    if extra:
        x = sum_(x, axis=tuple(range(extra)), keepdims=False)
    known = lead + own
    x = _ordered(x, known, "".join([c for c in word if c in known]))
    x = broadcast_to(reshape(x, shape=tuple([sizes[c] if c in known else 1 for c in word])), shape=_shape_of(word, sizes))
    for outer, i, j in reversed(found):
        x = put_diagonal(x, shape=_shape_of(outer, sizes), offset=0, axis1=i, axis2=j)
    return x


@operation(samples=_spread_samples, decompose=_spread_parts)
def einsum_spread(xp, x, *, source, target, shape):
    """The adjoint of ``einsum(target -> source)``: repeats along missing subscripts, zeros off the diagonal of repeated ones."""
    y = xp.zeros(shape, x.dtype)
    view, letters = _diagonal_view(xp, y, target)
    lead = len(shape) - len(target.replace("...", ""))
    own = source.replace("...", "")
    extra = x.ndim - len(own) - (lead if "..." in target else 0)
    x = x.sum(axis=tuple(range(extra))) if extra > 0 else x
    x = xp.moveaxis(x, [x.ndim - len(own) + own.index(c) for c in letters if c in own], range(x.ndim - len(own), x.ndim))
    batch = x.ndim - len(own)
    index = (slice(None),) * batch + tuple(slice(None) if c in own else None for c in letters)
    view[...] = x[index]
    return y


def _diagonal_view(xp, y, target):
    """A writable view of ``y``, batch axes first, then an axis per distinct subscript (its diagonal if repeated); and those."""
    letters = "".join(dict.fromkeys(target.replace("...", "")))
    position = _subscript_axes(target, y.ndim)
    batch = [i for i, c in enumerate(position) if c == "."]
    steps = [sum(y.strides[i] for i, c in enumerate(position) if c == letter) for letter in letters]
    strides = [y.strides[i] for i in batch] + steps
    sizes = [y.shape[i] for i in batch] + [y.shape[position.index(letter)] for letter in letters]
    return xp.lib.stride_tricks.as_strided(y, sizes, strides), letters


def _subscript_axes(subscripts, ndim):
    """One character for each axis: its subscript, or "." where the ellipsis stands."""
    left, dots, right = subscripts.partition("...")
    return list(left) + (["."] * (ndim - len(left) - len(right)) if dots else []) + list(right)


@einsum_spread.vjp
def _(g, source, target, shapes):
    partial = einsum(g, inputs=(target,), output=source if "..." in target else source.replace("...", ""))
    return partial if "..." in target or "..." not in source else broadcast_to(partial, shape=shapes[0])


def einsum_of(operands):
    """Parse both of NumPy's call forms and apply."""
    if not operands:
        raise InvalidType("einsum", "subscripts and operands", "no arguments")
    text, arrays = operands[0], operands[1:]
    text, arrays = (text.replace(" ", ""), arrays) if isinstance(text, str) else _subscripts_text(operands)
    arrays = tuple(map(of_shape, arrays))
    inputs, output = _parse(text)
    _check_einsum(inputs, output, arrays, text)
    inputs = tuple(w if x.ndim > len(w.replace("...", "")) else w.replace("...", "") for w, x in zip(inputs, arrays))
    output = output if any("..." in w for w in inputs) else output.replace("...", "")
    return apply(einsum, arrays, {"inputs": inputs, "output": output})


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _subscripts_text(operands):
    """``a, [0, 1], b, [1, 2], [0, 2]`` as text and arrays."""
    lists = list(operands[1::2]) + (list(operands[-1:]) if len(operands) % 2 else [])
    words = []
    for one in lists:
        if not all(i is Ellipsis or isinstance(i, int) for i in one):
            raise InvalidType("einsum", "subscript lists of ints or Ellipsis", repr(one))
        words.append("".join("..." if i is Ellipsis else _LETTERS[i] for i in one))
    if len(operands) % 2:
        return ",".join(words[:-1]) + "->" + words[-1], operands[:-1:2]
    return ",".join(words), operands[::2]


def _parse(text):
    inputs, arrow, output = text.partition("->")
    if not arrow:
        plain = inputs.replace(",", "").replace("...", "")
        output = ("..." if "..." in inputs else "") + "".join(sorted(c for c in set(plain) if plain.count(c) == 1))
    for word in (*inputs.split(","), output):
        rest = word.replace("...", "", 1)
        if not all(c in _LETTERS for c in rest):
            raise InvalidType("einsum", "letters, commas, '...' and one '->' as subscripts", repr(text))
    return tuple(inputs.split(",")), output


def _check_einsum(inputs, output, arrays, text):
    if len(inputs) != len(arrays):
        raise InvalidType("einsum", "as many operands as subscripts", f"{text!r} with {len(arrays)} operands")
    if any(c not in "".join(inputs) for c in output) or len(set(output) - {"."}) != len(output.replace("...", "")):
        raise InvalidType("einsum", "distinct output subscripts that appear in the input", repr(text))
    sizes = {}
    for word, x in zip(inputs, arrays):
        lead = x.ndim - len(word.replace("...", ""))
        if lead < 0 or (lead and "..." not in word):
            raise InvalidType("einsum", f"an operand with {len(word)} axes for {word!r}", f"shape {x.shape}")
        if lead and "..." not in output:
            raise InvalidType("einsum", "'...' in the output too: it does not sum over an ellipsis", repr(text))
        axes = _subscript_axes(word, x.ndim)
        for c, n in zip(axes, x.shape):
            if c != "." and sizes.setdefault(c, n) != n:
                raise InvalidType("einsum", f"one length for subscript {c!r}", f"{sizes[c]} and {n} in {text!r}")
        batch = tuple(n for c, n in zip(axes, x.shape) if c == ".")
        if "..." in word and sizes.setdefault("...", batch) != batch:
            raise InvalidType("einsum", "equal lengths under every '...' (it does not broadcast)", f"{sizes['...']} and {batch}")
