"""Array functions against NumPy and direct loops."""

import numpy as np
import pytest
from function_cases import Case, case, check_error, check_values, ids, untested

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.functions.array
import hybridnn.functions.image
import hybridnn.functions.sparse
from hybridnn import Variable

S, T = (3, 4), (2, 3, 4)
MASK = np.array([[True, False, True, True], [False, False, True, False], [True, True, False, False]])
ORDER = np.array([2, 0, 3, 1], "i")


def padded(*rows, length, fill=0):
    y = np.full((len(rows), length, *rows[0].shape[1:]), fill, rows[0].dtype)
    for i, r in enumerate(rows):
        y[i, : len(r)] = r
    return y


def blocks(x, r):
    """depth2space by its definition, pixel by pixel."""
    n, c, h, w = x.shape
    y = np.zeros((n, c // r**2, h * r, w * r), x.dtype)
    for i in range(r):
        for j in range(r):
            y[:, :, i::r, j::r] = x[:, (i * r + j) * (c // r**2) : (i * r + j + 1) * (c // r**2)]
    return y


def shuffled(x, r):
    y = np.zeros((x.shape[0], x.shape[1] // r**2, x.shape[2] * r, x.shape[3] * r), x.dtype)
    for i in range(r):
        for j in range(r):
            y[:, :, i::r, j::r] = x[:, i * r + j :: r**2]
    return y


def added(a, index, b):
    y = a.copy()
    np.add.at(y, index, b)
    return y


def indexing(index, shape=T, note=""):
    return Case(
        "get_item",
        lambda x: F.get_item(x, index),
        (shape,),
        lambda x: x[tuple(index) if isinstance(index, list) and not all(isinstance(i, int) for i in index) else index],
        note=note,
    )


SHAPES = [
    case("reshape", S, shape=(2, -1), formula=lambda x: x.reshape(2, 6)),
    case("reshape", S, shape=S, formula=lambda x: x),
    case("flatten", S, formula=np.ravel),
    case("flatten_batch", T, formula=lambda x: x.reshape(2, 12)),
    case("flatten_batch", (0, 3, 2), formula=lambda x: x.reshape(0, 6)),
    case("transpose", T, formula=lambda x: x.T),
    case("transpose", T, axes=(-1, 0, 1), formula=lambda x: x.transpose(2, 0, 1)),
    case("swapaxes", T, axis1=0, axis2=-1, formula=lambda x: x.swapaxes(0, 2)),
    *[
        Case("rollaxis", lambda x, a=a, s=s: F.rollaxis(x, a, s), (T,), lambda x, a=a, s=s: np.rollaxis(x, a, s), note=f"{a}{s}")
        for a in (-3, -1, 0, 1, 2)
        for s in (-3, -1, 0, 1, 2, 3)
    ],
    case("moveaxis", T, source=0, destination=-1, formula=lambda x: np.moveaxis(x, 0, -1)),
    case("moveaxis", T, source=(0, -1), destination=(2, 0), formula=lambda x: np.moveaxis(x, (0, 2), (2, 0))),
    case("expand_dims", S, axis=-2, formula=lambda x: x[:, None]),
    case("expand_dims", S, axis=0, formula=lambda x: x[None]),
    case("squeeze", (3, 1, 1), formula=lambda x: x[:, 0, 0]),
    case("squeeze", (3, 1, 1), axis=-1, formula=lambda x: x[:, :, 0]),
    case("squeeze", (1, 1), axis=(0, 1), formula=lambda x: x[0, 0]),
    case("broadcast_to", (3, 1), shape=(2, 3, 4), formula=lambda x: np.tile(x, (2, 1, 4))),
    case("broadcast_to", S, shape=S, formula=lambda x: x),
    case("broadcast", (3, 1), (4,), formula=lambda x, y: tuple(np.broadcast_arrays(x, y))),
    case("broadcast", S, formula=lambda x: x),
    case("copy", S, dst=-1, formula=lambda x: x),
    case("copy", S, dst="@numpy", formula=lambda x: x),
    Case("cast", lambda x: F.cast(x, "float16") - F.cast(x, np.float16) + x, (S,), lambda x: x),
]
JOINS = [
    Case("concat", lambda *xs: F.concat(xs), ((3, 1), (3, 4)), lambda *xs: np.hstack(xs)),
    Case("concat", lambda *xs: F.concat(list(xs), axis=-2), ((2, 4), (0, 4), (1, 4)), lambda *xs: np.vstack(xs)),
    *[
        Case("stack", lambda *xs, a=a: F.stack(xs, a), (S, S), lambda *xs, a=a: np.stack(xs, a), note=str(a))
        for a in (0, 1, 2, -1, -3)
    ],
    *[
        Case(name, lambda *xs, name=name: getattr(F, name)(xs), (s, s), lambda *xs, f=f: f(xs), note=str(s))
        for name, f in (("hstack", np.hstack), ("vstack", np.vstack), ("dstack", np.dstack))
        for s in ((), (3,), S, T)
    ],
    case("split_axis", (6, 2), indices_or_sections=3, axis=0, formula=lambda x: (x[:2], x[2:4], x[4:])),
    case("split_axis", S, indices_or_sections=[1, 3], axis=-1, formula=lambda x: (x[:, :1], x[:, 1:3], x[:, 3:])),
    case("split_axis", S, indices_or_sections=np.array([0, -1]), axis=0, formula=lambda x: (x[:0], x[:2], x[2:]), note="array"),
    case("split_axis", S, indices_or_sections=[], axis=0, formula=lambda x: (x,)),
    case("split_axis", S, indices_or_sections=1, axis=0, force_tuple=False, formula=lambda x: x),
    case("separate", T, formula=tuple),
    case("separate", T, axis=-1, formula=lambda x: tuple(np.moveaxis(x, 2, 0))),
    Case("pad_sequence", lambda *xs: F.pad_sequence(xs), ((3, 2), (1, 2), (2, 2)), lambda *xs: padded(*xs, length=3)),
    Case("pad_sequence", lambda *xs: F.pad_sequence(xs, 5, -1), ((3,), (0,)), lambda *xs: padded(*xs, length=5, fill=-1)),
    Case(
        "transpose_sequence",
        lambda *xs: F.transpose_sequence(xs),
        ((3, 2), (2, 2), (1, 2)),
        lambda a, b, c: (np.stack([a[0], b[0], c[0]]), np.stack([a[1], b[1]]), a[2:]),
    ),
    Case("transpose_sequence", lambda *xs: F.transpose_sequence(xs), ((2,), (0,)), lambda a, b: (a[:1], a[1:]), note="empty"),
    Case("transpose_sequence", lambda *xs: F.transpose_sequence(xs), ((3, 2), (1, 2), (0, 2), (0, 2)),
         lambda a, b, *_: (np.stack([a[0], b[0]]), a[1:2], a[2:]), note="two empty"),
]
MOVES = [
    case("tile", (2, 3), reps=2, formula=lambda x: np.tile(x, 2)),
    case("tile", (2, 3), reps=(2, 1, 3), formula=lambda x: np.tile(x, (2, 1, 3))),
    case("tile", T, reps=(0, 2), formula=lambda x: np.tile(x, (0, 2))),
    case("repeat", S, repeats=2, axis=1, formula=lambda x: np.repeat(x, 2, 1)),
    case("repeat", S, repeats=(1, 0, 3), axis=-2, formula=lambda x: np.repeat(x, (1, 0, 3), 0)),
    case("repeat", S, repeats=3, formula=lambda x: np.repeat(x, 3)),
    case("flip", T, axis=-1, formula=lambda x: x[:, :, ::-1]),
    case("flip", T, axis=(0, 2), formula=lambda x: x[::-1, :, ::-1]),
    case("fliplr", T, formula=np.fliplr),
    case("flipud", T, formula=np.flipud),
    case("roll", S, shift=2, formula=lambda x: np.roll(x, 2)),
    case("roll", S, shift=-1, axis=1, formula=lambda x: np.roll(x, -1, 1)),
    case("roll", S, shift=(1, 2), axis=(0, -1), formula=lambda x: np.roll(x, (1, 2), (0, 1))),
    *[
        case("pad", S, pad_width=((1, 2), (0, 3)), mode=m, formula=lambda x, m=m: np.pad(x, ((1, 2), (0, 3)), m))
        for m in ("constant", "edge", "reflect", "symmetric", "wrap")
    ],
    case(
        "pad", S, pad_width=(1, 2), mode="constant", constant_values=1.5, formula=lambda x: np.pad(x, (1, 2), constant_values=1.5)
    ),
    case("pad", S, pad_width=1, mode="constant", formula=lambda x: np.pad(x, 1)),
    case("depth2space", (2, 8, 3, 2), r=2, formula=lambda x: blocks(x, 2)),
    Case("space2depth", lambda x: F.space2depth(F.depth2space(x, 2), 2), ((2, 8, 3, 2),), lambda x: x),
    case("pixel_shuffle", (2, 8, 3, 2), r=2, formula=lambda x: shuffled(x, 2)),
]
SELECTIONS = [
    *[
        indexing(i, note=repr(i))
        for i in (
            1,
            (0, -1, 2),
            (slice(None), 1),
            (Ellipsis, None, -1),
            slice(None, None, -1),
            (slice(0, 2), [0, 2, 0]),
            [1, 0],
            ([1, 0], slice(None), [[1, 1], [0, 3]]),
            [[0, 1], [1, 1]],
            [],
            ([1], 2),
        )
    ],
    indexing(MASK, S, "mask"),
    indexing((slice(None), MASK), note="inner mask"),
    indexing((np.array([1, 0, 1]), None, slice(1, 3)), note="array"),
    Case(
        "scatter_add", lambda a, b: F.scatter_add(a, (slice(0, 2), 1), b), (S, (2,)), lambda a, b: added(a, (slice(0, 2), 1), b)
    ),
    Case("scatter_add", lambda a, b: F.scatter_add(a, [0, 2, 0], b), (S, S), lambda a, b: added(a, [0, 2, 0], b)),
    case("select_item", S, np.array([3, 0, 3], "i"), formula=lambda x, t: x[range(3), t]),
    case("permutate", S, ORDER, axis=1, formula=lambda x, i: x[:, i]),
    case("permutate", S, ORDER, axis=-1, inv=True, formula=lambda x, i: x[:, np.argsort(i)]),
    case("diagonal", S, formula=np.diagonal),
    case("diagonal", T, offset=-1, axis1=2, axis2=0, formula=lambda x: x.diagonal(-1, 2, 0)),
    case("where", MASK, S, (4,), formula=np.where),
    case("top_k", S, k=2, formula=lambda x: (-np.sort(-x)[:, :2], np.argsort(-x)[:, :2])),
    case("top_k", S, k=3, axis=0, largest=False, formula=lambda x: (np.sort(x, 0), np.argsort(x, 0))),
]
ARRAY = SHAPES + JOINS + MOVES + SELECTIONS


def columns(x, k, s, p, d, cover_all):
    """im2col by its definition, window by window."""
    x = np.pad(x, ((0, 0), (0, 0), (p[0], p[0] + 9), (p[1], p[1] + 9)))
    out = [
        (n - 9 - (d[i] * (k[i] - 1) + 1) + (s[i] - 1 if cover_all else 0)) // s[i] + 1
        for i, n in enumerate((x.shape[2], x.shape[3]))
    ]
    y = np.zeros((x.shape[0], x.shape[1], *k, *out), x.dtype)
    for i in range(out[0]):
        for j in range(out[1]):
            y[..., i, j] = x[:, :, i * s[0] :, j * s[1] :][:, :, : d[0] * k[0] : d[0], : d[1] * k[1] : d[1]]
    return y.reshape(x.shape[0], -1, *out)


def resized(x, shape, mode="bilinear", align_corners=True):
    """Pixel by pixel: the four neighbours of each place, or the one before it."""
    h, w = x.shape[2:]
    y = np.zeros((*x.shape[:2], *shape), x.dtype)
    for i in range(shape[0]):
        for j in range(shape[1]):
            y[:, :, i, j] = pixel(x, *[place(k, o, n, mode, align_corners) for k, o, n in ((i, shape[0], h), (j, shape[1], w))])
    return y


def place(k, out, size, mode, align_corners):
    if mode == "nearest":
        return float(min(int(np.floor(k * size / out)), size - 1))
    return (k * (size - 1) / max(out - 1, 1)) if align_corners else min(max((k + 0.5) * size / out - 0.5, 0), size - 1)


def pixel(x, v, u):
    """The image at a place inside it, bilinearly."""
    i, j = int(v), int(u)
    k, m = min(i + 1, x.shape[2] - 1), min(j + 1, x.shape[3] - 1)
    a, b = v - i, u - j
    return ((x[:, :, i, j] * (1 - b) + x[:, :, i, m] * b) * (1 - a) + (x[:, :, k, j] * (1 - b) + x[:, :, k, m] * b) * a).astype(
        x.dtype
    )


def sampled(x, grid):
    """The images read at the grid's places, zero outside."""
    framed = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    n, c, h, w = x.shape
    y = np.zeros((n, c, *grid.shape[2:]), x.dtype)
    for b, i, j in np.ndindex(n, *grid.shape[2:]):
        u, v = (np.clip((grid[b, k, i, j] + 1) * (size - 1) / 2 + 1, 0, size + 1) for k, size in ((0, w), (1, h)))
        y[b, :, i, j] = (
            pixel(framed[b : b + 1], min(v, h + 0.999999), min(u, w + 0.999999))[0] if 0 < u < w + 1 and 0 < v < h + 1 else 0
        )
    return y


def grid_of(theta, h, w):
    y = np.zeros((len(theta), 2, h, w), theta.dtype)
    for b, i, j in np.ndindex(len(theta), h, w):
        y[b, :, i, j] = theta[b] @ np.array([-1 + 2 * j / (w - 1), -1 + 2 * i / (h - 1), 1], theta.dtype)
    return y


IMAGES = [
    case("im2col", (2, 3, 5, 6), ksize=3, stride=2, pad=1, formula=lambda x: columns(x, (3, 3), (2, 2), (1, 1), (1, 1), False)),
    case(
        "im2col",
        (2, 3, 5, 6),
        ksize=(2, 3),
        stride=(2, 1),
        pad=(0, 1),
        dilate=(1, 2),
        cover_all=True,
        formula=lambda x: columns(x, (2, 3), (2, 1), (0, 1), (1, 2), True),
    ),
    *[
        Case(
            "resize_images",
            lambda x, s=s, o=o: F.resize_images(x, s, **o),
            ((2, 2, 3, 4),),
            lambda x, s=s, o=o: resized(x, s, **o),
            note=f"{s}{o}",
        )
        for s in ((5, 7), (2, 2), (1, 1), (3, 4))
        for o in ({}, {"mode": "nearest"}, {"align_corners": False})
    ],
    case("spatial_transformer_grid", (2, 2, 3), output_shape=(3, 4), formula=lambda t: grid_of(t, 3, 4)),
    case("spatial_transformer_sampler", (2, 3, 4, 5), (2, 2, 3, 6), formula=sampled, bounds=(-1.5, 1.5)),
    case(
        "as_strided",
        S,
        shape=(2, 3),
        strides=(1, 4),
        storage_offset=2,
        formula=lambda x: np.array([[x.flat[2 + i + 4 * j] for j in range(3)] for i in range(2)]),
    ),
    case("as_strided", (4,), shape=(4, 2), strides=(-1, 0), storage_offset=3, formula=lambda x: np.stack([x[::-1]] * 2, 1)),
]


def sparse_case(transa, transb, batch, swap):
    """A matrix with zeros through ``to_coo``, from the left or the right, against the dense product."""

    def dense(*shape):
        x = np.random.default_rng(sum(shape) + 2 * transa + transb).normal(size=(*batch, *shape))
        return np.where(x < -0.2, 0, x)

    a, b = dense(*((4, 3) if transa else (3, 4))), dense(*((2, 4) if transb else (4, 2)))

    def call(x):
        operands = (x, F.to_coo(b.astype(x.dtype))) if swap else (F.to_coo(a.astype(x.dtype), ldnz=30), x)
        return F.sparse_matmul(*operands, transa=transa, transb=transb)

    product = lambda x: (a if not swap else x, x if not swap else b)
    turn = lambda x, t: x.swapaxes(-1, -2) if t else x
    formula = lambda x: turn(product(x)[0].astype(x.dtype), transa) @ turn(product(x)[1].astype(x.dtype), transb)
    return Case("sparse_matmul", call, ((a if swap else b).shape,), formula, note=f"{transa}{transb}{batch}{swap}")


SPARSE = [
    sparse_case(ta, tb, batch, swap)
    for ta in (False, True)
    for tb in (False, True)
    for batch in ((), (2,))
    for swap in (False, True)
] + [
    Case(
        "to_coo",
        lambda x: Variable(F.to_coo(getattr(x, "array", x) * (getattr(x, "array", x) > 0)).to_dense()),
        (s,),
        lambda x: x * (x > 0),
        note=str(s),
    )
    for s in (S, T)
]
CASES = ARRAY + IMAGES + SPARSE


@pytest.mark.parametrize("c", CASES, ids=ids(CASES))
def test_values(c):
    check_values(c)


@pytest.mark.parametrize(
    "module, elsewhere",
    [(hybridnn.functions.array, ()), (hybridnn.functions.image, ()), (hybridnn.functions.sparse, ("CooMatrix",))],
)
def test_every_function_has_a_case(module, elsewhere):
    assert untested(module, CASES, elsewhere) == []


ONES = np.ones
A, IMAGE = ONES(S), ONES((1, 4, 3, 3))
ERRORS = [
    ("reshape", lambda: F.reshape(A, (5, -1))),
    ("reshape", lambda: F.reshape(A, (-1, -1))),
    ("reshape", lambda: F.reshape(A, (3, 5))),
    ("flatten_batch", lambda: F.flatten_batch(ONES(()))),
    ("transpose", lambda: F.transpose(A, (0, 0))),
    ("swapaxes", lambda: F.swapaxes(A, 0, 2)),
    ("rollaxis", lambda: F.rollaxis(A, 2)),
    ("rollaxis", lambda: F.rollaxis(A, 0, 3)),
    ("rollaxis", lambda: F.rollaxis(A, "a")),
    ("moveaxis", lambda: F.moveaxis(A, (0, 1), 0)),
    ("moveaxis", lambda: F.moveaxis(A, 0, 2)),
    ("expand_dims", lambda: F.expand_dims(A, 3)),
    ("squeeze", lambda: F.squeeze(A, 0)),
    ("squeeze", lambda: F.squeeze(A, "a")),
    ("broadcast_to", lambda: F.broadcast_to(A, (3, 5))),
    ("broadcast_to", lambda: F.broadcast_to(A, (4,))),
    ("broadcast", lambda: F.broadcast(A, ONES(3))),
    ("concat", lambda: F.concat([])),
    ("concat", lambda: F.concat([A, ONES((2, 4))])),
    ("concat", lambda: F.concat([A, A], axis=2)),
    ("concat", lambda: F.concat([A, ONES(3)])),
    ("stack", lambda: F.stack([A, ONES(3)])),
    ("stack", lambda: F.stack([A], axis=3)),
    ("hstack", lambda: F.hstack([A, ONES((2, 4))])),
    ("vstack", lambda: F.vstack([A, ONES((3, 3))])),
    ("dstack", lambda: F.dstack([A, ONES((3, 3))])),
    ("split_axis", lambda: F.split_axis(A, 2, 0)),
    ("split_axis", lambda: F.split_axis(A, [2, 1], 0)),
    ("split_axis", lambda: F.split_axis(A, [1.5], 0)),
    ("split_axis", lambda: F.split_axis(A, 1.5, 0)),
    ("split_axis", lambda: F.split_axis(A, 2, 2)),
    ("separate", lambda: F.separate(A, 2)),
    ("pad_sequence", lambda: F.pad_sequence([])),
    ("pad_sequence", lambda: F.pad_sequence([A, ONES((3, 3))])),
    ("pad_sequence", lambda: F.pad_sequence([A], length=2)),
    ("transpose_sequence", lambda: F.transpose_sequence([ONES(1), ONES(2)])),
    ("tile", lambda: F.tile(A, -1)),
    ("tile", lambda: F.tile(A, 1.5)),
    ("repeat", lambda: F.repeat(A, -1)),
    ("repeat", lambda: F.repeat(A, "a")),
    ("repeat", lambda: F.repeat(A, (1, 2), 0)),
    ("repeat", lambda: F.repeat(A, 2, True)),
    ("flip", lambda: F.flip(A, 2)),
    ("fliplr", lambda: F.fliplr(ONES(3))),
    ("flipud", lambda: F.flipud(ONES(()))),
    ("roll", lambda: F.roll(A, (1, 2), 0)),
    ("pad", lambda: F.pad(A, -1, "constant")),
    ("pad", lambda: F.pad(A, (1, 2, 3), "edge")),
    ("pad", lambda: F.pad(A, 1, "nonsense")),
    ("get_item", lambda: F.get_item(A, (Ellipsis, Ellipsis))),
    ("scatter_add", lambda: F.scatter_add(A, 0, ONES(3))),
    ("select_item", lambda: F.select_item(A, np.array([0, 4, 0]))),
    ("select_item", lambda: F.select_item(A, np.array([0, -1, 0]))),
    ("select_item", lambda: F.select_item(A, ONES(3))),
    ("permutate", lambda: F.permutate(A, np.array([0, 0, 1]))),
    ("permutate", lambda: F.permutate(A, np.array([-1, 0, 1]))),
    ("permutate", lambda: F.permutate(A, np.array([0, 1]))),
    ("permutate", lambda: F.permutate(A, ONES(3))),
    ("diagonal", lambda: F.diagonal(A, axis1=0, axis2=-2)),
    ("diagonal", lambda: F.diagonal(A, axis2=2)),
    ("where", lambda: F.where(A, A, A)),
    ("top_k", lambda: F.top_k(A, 5)),
    ("depth2space", lambda: F.depth2space(IMAGE, 3)),
    ("space2depth", lambda: F.space2depth(IMAGE, 2)),
    ("pixel_shuffle", lambda: F.pixel_shuffle(A, 2)),
    ("im2col", lambda: F.im2col(A, 2)),
    ("im2col", lambda: F.im2col(IMAGE, 4)),
    ("resize_images", lambda: F.resize_images(IMAGE, (2, 2), mode="cubic")),
    ("resize_images", lambda: F.resize_images(IMAGE, (0, 2))),
    ("resize_images", lambda: F.resize_images(A, (2, 2))),
    ("spatial_transformer_grid", lambda: F.spatial_transformer_grid(ONES((2, 3, 3)), (2, 2))),
    ("spatial_transformer_sampler", lambda: F.spatial_transformer_sampler(IMAGE, ONES((2, 2, 3, 3)))),
    ("as_strided", lambda: F.as_strided(A, (4, 4), (4, 1))),
    ("as_strided", lambda: F.as_strided(A, (3,), (-1,), 1)),
    ("as_strided", lambda: F.as_strided(A, (3,), (1, 1))),
    ("sparse_matmul", lambda: F.sparse_matmul(A, A)),
    ("sparse_matmul", lambda: F.sparse_matmul(F.to_coo(A), A)),
    ("sparse_matmul", lambda: F.sparse_matmul(F.to_coo(ONES((2, 3, 4))), ONES((3, 4, 2)))),
    ("to_coo", lambda: F.to_coo(ONES(3))),
    ("CooMatrix", lambda: F.CooMatrix(ONES(2), np.zeros(2, int), np.zeros(3, int), (2, 2))),
    ("CooMatrix", lambda: F.CooMatrix(ONES(2), np.array([0, -1]), np.array([0, 1]), (2, 2))),
]


@pytest.mark.parametrize("name, call", ERRORS, ids=[f"{n}-{i}" for i, (n, _) in enumerate(ERRORS)])
def test_errors_name_the_function(name, call):
    check_error(call, name)


def test_no_images_to_sample_from():
    assert F.spatial_transformer_sampler(ONES((0, 3, 4, 4)), ONES((0, 2, 2, 5))).shape == (0, 3, 2, 5)


def test_a_device_that_is_not_there():
    with pytest.raises(hnn.errors.BackendError, match="copy: expected"):
        F.copy(A, 0)


def test_cast_without_change_is_a_node_over_the_same_memory():
    x = Variable(A)
    y = F.cast(x, x.dtype)
    assert y is not x and np.shares_memory(y.array, A)
    assert F.cast(A, "d").array is A
    with hnn.no_backprop_mode():
        assert F.cast(x, "d") is x


def test_reshape_to_the_same_shape_is_the_variable_itself():
    x = Variable(A)
    assert F.reshape(x, A.shape) is x and F.broadcast_to(x, A.shape) is x and F.sum_to(x, A.shape) is x
    assert x.reshape(A.shape) is x and x.reshape(*A.shape) is x and x.reshape(-1) is not x
    v = x.reshape(-1)
    assert F.flatten(v) is v and F.flatten(x) is not x


def test_gradients_of_split_results_that_nobody_used():
    x = Variable(np.arange(4.0))
    a, _, c = F.split_axis(x, [1, 3], 0)
    F.sum(2 * a + 3 * c).backward()
    np.testing.assert_array_equal(x.grad, [2, 0, 0, 3])
    x.cleargrad()
    F.separate(x)[2].backward()
    np.testing.assert_array_equal(x.grad, [0, 0, 1, 0])


def test_sparse_gradients_reach_the_entries():
    a, b = np.array([[0, 2.0], [3, 0], [0, 5]]), Variable(np.array([[1.0, 2], [3, 4]]))
    coo = F.to_coo(a, ldnz=4, requires_grad=True)
    y = F.sparse_matmul(coo, b)
    y.grad = g = np.arange(6.0).reshape(3, 2)
    y.backward()
    dense = g @ b.array.T
    np.testing.assert_array_equal(coo.data.grad, [*dense[a != 0], 0])
    np.testing.assert_array_equal(b.grad, a.T @ g)


def test_order_of_coordinates():
    coo = F.to_coo(np.array([[1, 2], [3, 0]]))
    data, row, col = coo.data.array, coo.row, coo.col
    assert coo.order == "C"
    assert F.CooMatrix(data, col, row, (2, 2)).order == "F"
    assert F.CooMatrix(data[::-1], row[::-1], col[::-1], (2, 2)).order == "other"
    assert F.to_coo(np.zeros((2, 2))).order == "C"
    assert F.CooMatrix(data, col, row, (2, 2), order="other").order == "other"


@pytest.mark.parametrize("name", ["concat", "stack", "hstack", "vstack", "dstack", "pad_sequence"])
def test_a_variable_is_a_sequence_of_its_rows_as_an_array_is(name):
    function, x = getattr(F, name), np.arange(12.0).reshape(2, 3, 2)
    assert (function(Variable(x)).array == function(x).array).all()
    assert (function(x).array == function(list(x)).array).all()
