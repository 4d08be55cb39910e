"""Recurrent cells and stacks against their equations, one sample and one step at a time; attention against its formula."""

import numpy as np
import pytest
from directional import check_gradients
from formulas import close, normals
from scipy.special import expit, softmax

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.errors import InvalidType

rng = np.random.default_rng(0)
normal = normals(rng)


# ----------------------------------------------------------------------------------------------------------------------- cells

def lstm_step(c, a, i, f, o):
    c = np.tanh(a) * expit(i) + expit(f) * c
    return c, expit(o) * np.tanh(c)


@pytest.mark.parametrize("rest", [(), (3,)])
def test_lstm(rest):
    c, x = normal(4, 2, *rest), normal(4, 8, *rest)
    for y, expected in zip(F.lstm(c, x), lstm_step(c, *[x[:, k::4] for k in range(4)]), strict=True):
        close(y, expected)
    check_gradients(F.lstm, c, x)
    check_gradients(lambda c, x: F.lstm(c, x)[1], c, x)


def test_lstm_keeps_the_cells_of_ended_sequences():
    c, x = normal(4, 2), normal(3, 8)
    expected, h = lstm_step(c[:3], *[x[:, k::4] for k in range(4)])
    new, out = F.lstm(c, x)
    close(new, np.concatenate([expected, c[3:]]))
    close(out, h)
    check_gradients(F.lstm, c, x)


@pytest.mark.parametrize("dtype, tolerance", [("float16", 1e-2), ("float32", 1e-5)])
def test_lstm_dtypes(dtype, tolerance):
    c, x = normal(3, 2), normal(3, 8)
    for y, exact in zip(F.lstm(c.astype(dtype), x.astype(dtype)), F.lstm(c, x), strict=True):
        assert y.dtype == dtype
        np.testing.assert_allclose(y.array, exact.array, atol=tolerance)


def test_slstm():
    c1, c2, x1, x2 = normal(3, 2), normal(3, 2), normal(3, 8), normal(3, 8)
    (a1, i1, f1, o1), (a2, i2, f2, o2) = ([x[:, k::4] for k in range(4)] for x in (x1, x2))
    c = np.tanh(a1) * expit(i1) + np.tanh(a2) * expit(i2) + expit(f1) * c1 + expit(f2) * c2
    for y, expected in zip(F.slstm(c1, c2, x1, x2), (c, expit(o1 + o2) * np.tanh(c)), strict=True):
        close(y, expected)
    check_gradients(F.slstm, c1, c2, x1, x2)


@pytest.mark.parametrize("children", [1, 2, 3])
def test_tree_lstm(children):
    cells, x = [normal(3, 2) for _ in range(children)], normal(3, (3 + children) * 2)
    a, i, o, *forget = np.split(x, 3 + children, axis=1)
    c = np.tanh(a) * expit(i) + sum(expit(f) * child for f, child in zip(forget, cells, strict=True))
    for y, expected in zip(F.tree_lstm(*cells, x), (c, expit(o) * np.tanh(c)), strict=True):
        close(y, expected)
    check_gradients(F.tree_lstm, *cells, x)


# ---------------------------------------------------------------------------------------------------------------------- stacks

LENGTHS, INPUTS, UNITS = [4, 3, 2], 3, 2


def sequences():
    """Per time step, the inputs of the sequences that still run."""
    return [normal(sum(n > t for n in LENGTHS), INPUTS) for t in range(max(LENGTHS))]


def weights(layers, directions, count):
    shapes = [[(UNITS, (INPUTS if layer == 0 else directions * UNITS) if k < count // 2 else UNITS) for k in range(count)]
              for layer in range(layers) for _ in range(directions)]
    return [[normal(*s) for s in layer] for layer in shapes], [[normal(UNITS) for _ in layer] for layer in shapes]


def lstm_cell(x, h, c, w, b):
    i, f, a, o = [w[k] @ x + w[k + 4] @ h + b[k] + b[k + 4] for k in range(4)]
    c, h = lstm_step(c, a, i, f, o)
    return h, c


def gru_cell(x, h, c, w, b):
    r, z = [expit(w[k] @ x + b[k] + w[k + 3] @ h + b[k + 3]) for k in range(2)]
    new = np.tanh(w[2] @ x + b[2] + r * (w[5] @ h + b[5]))
    return (1 - z) * new + z * h, c


def plain_cell(f):
    return lambda x, h, c, w, b: (f(w[0] @ x + b[0] + w[1] @ h + b[1]), c)


def one_by_one(cell, layers, directions, hx, cx, ws, bs, xs):
    """Each sequence by itself, each layer over its whole length."""
    hy, cy, ys = np.zeros_like(hx), np.zeros_like(hx), [np.zeros((len(x), directions * UNITS)) for x in xs]
    for k, length in enumerate(LENGTHS):
        inputs = [xs[t][k] for t in range(length)]
        for layer in range(layers):
            outputs = []
            for d in range(directions):
                s = directions * layer + d
                h, c, found = hx[s, k], None if cx is None else cx[s, k], {}
                for t in reversed(range(length)) if d else range(length):
                    h, c = cell(inputs[t], h, c, ws[s], bs[s])
                    found[t] = h
                hy[s, k], cy[s, k] = h, 0 if c is None else c
                outputs.append(found)
            inputs = [np.concatenate([found[t] for found in outputs]) for t in range(length)]
        for t in range(length):
            ys[t][k] = inputs[t]
    return hy, cy, ys


STACKS = [(F.n_step_lstm, 1, 8, lstm_cell, {}), (F.n_step_bilstm, 2, 8, lstm_cell, {}), (F.n_step_gru, 1, 6, gru_cell, {}),
          (F.n_step_bigru, 2, 6, gru_cell, {}), (F.n_step_rnn, 1, 2, plain_cell(np.tanh), {}),
          (F.n_step_birnn, 2, 2, plain_cell(lambda v: np.maximum(v, 0)), {"activation": "relu"})]


@pytest.mark.parametrize("stack, directions, count, cell, kwargs", STACKS)
def test_stacks_are_the_cell_over_each_sequence(stack, directions, count, cell, kwargs):
    layers, xs = 2, sequences()
    hx, cx = normal(layers * directions, 3, UNITS), normal(layers * directions, 3, UNITS)
    ws, bs = weights(layers, directions, count)
    has_cell = count == 8
    states = (hx, cx) if has_cell else (hx,)
    expected_h, expected_c, expected = one_by_one(cell, layers, directions, hx, cx if has_cell else None, ws, bs, xs)
    with hnn.using_config("train", False):       # dropout between the layers must not act outside training
        hy, *cy, ys = stack(layers, 0.5, *states, ws, bs, xs, **kwargs)
    close(hy, expected_h)
    assert isinstance(ys, tuple) and len(cy) == has_cell
    if has_cell:
        close(cy[0], expected_c)
    for y, e in zip(ys, expected, strict=True):
        close(y, e)


def test_stack_gradients():
    xs, (ws, bs) = sequences(), weights(1, 2, 8)
    hx, cx = normal(2, 3, UNITS), normal(2, 3, UNITS)

    def run(hx, cx, w, *xs):
        hy, cy, ys = F.n_step_bilstm(1, 0.0, hx, cx, [[w, *ws[0][1:]], ws[1]], bs, xs)
        return hy, cy, *ys
    check_gradients(run, hx, cx, ws[0][0], *xs)


def test_dropout_between_layers_draws_one_mask_per_step():
    xs, (ws, bs) = [x.astype("f") for x in sequences()], weights(2, 1, 2)
    hx = np.zeros((2, 3, UNITS), "f")
    ws, bs = [[[a.astype("f") for a in layer] for layer in group] for group in (ws, bs)]
    np.random.seed(3)
    ys = F.n_step_rnn(2, 0.5, hx, ws, bs, xs)[1]
    np.random.seed(3)
    first = F.n_step_rnn(1, 0.5, hx[:1], ws[:1], bs[:1], xs)[1]
    dropped = [F.dropout(y, 0.5) for y in first]
    for y, e in zip(ys, F.n_step_rnn(1, 0.0, hx[1:], ws[1:], bs[1:], dropped)[1], strict=True):
        np.testing.assert_allclose(y.array, e.array, rtol=1e-5)


# ------------------------------------------------------------------------------------------------------------------- attention

def test_attention():
    q, k, v = normal(2, 3, 4, 5), normal(2, 3, 6, 5), normal(2, 3, 6, 7)
    expected = softmax(q @ k.swapaxes(2, 3) / 5 ** .5, axis=-1) @ v
    attend = F.scaled_dot_product_attention
    close(attend(q, k, v), expected)
    close(attend(q, k, v, scale=.3), softmax(.3 * q @ k.swapaxes(2, 3), axis=-1) @ v)
    bias = normal(4, 6)
    close(attend(q, k, v, bias), softmax(q @ k.swapaxes(2, 3) / 5 ** .5 + bias, axis=-1) @ v)
    check_gradients(attend, q, k, v)


def test_attention_masks():
    q, k, v = normal(2, 4, 5), normal(2, 6, 5), normal(2, 6, 7)
    mask = rng.random((4, 6)) > .4
    mask[1] = False
    attend = F.scaled_dot_product_attention
    seen = np.where(mask, q @ k.swapaxes(1, 2) / 5 ** .5, -np.inf)
    rows = [0, 2, 3]
    y = attend(q, k, v, mask)
    np.testing.assert_allclose(y.array[:, rows], softmax(seen[:, rows], axis=-1) @ v)
    np.testing.assert_array_equal(y.array[:, 1], 0)
    past = np.tril(np.ones((4, 6), bool), 2)
    close(attend(q, k, v, causal=True), attend(q, k, v, past).array)
    close(attend(q, k, v, mask, causal=True), attend(q, k, v, mask & past).array)
    check_gradients(lambda q, k, v: attend(q, k, v, mask, causal=True), q, k, v)


def test_attention_dropout_is_dropout_of_the_weights():
    q, k, v = normal(3, 4, dtype="f"), normal(5, 4, dtype="f"), np.eye(5, dtype="f")
    np.random.seed(1)
    y = F.scaled_dot_product_attention(q, k, v, dropout_ratio=.5)
    np.random.seed(1)
    np.testing.assert_allclose(y.array, F.dropout(F.scaled_dot_product_attention(q, k, v), .5).array, rtol=1e-5)
    with hnn.using_config("train", False):
        close(F.scaled_dot_product_attention(q, k, v, dropout_ratio=.5), F.scaled_dot_product_attention(q, k, v).array)


def test_rotary_embedding():
    x = normal(2, 5, 6)
    y = F.rotary_embedding(x).array
    for t, i in np.ndindex(5, 3):
        turned = (x[:, t, i] + 1j * x[:, t, i + 3]) * np.exp(1j * t * 10000 ** (-i / 3))
        np.testing.assert_allclose(y[:, t, i] + 1j * y[:, t, i + 3], turned)
    q, k = normal(1, 6), normal(1, 6)
    dots = [np.vdot(F.rotary_embedding(q, np.array([a])).array, F.rotary_embedding(k, np.array([a + 2])).array) for a in (0, 7)]
    np.testing.assert_allclose(*dots)              # products depend on the distance alone
    assert F.rotary_embedding(x.astype("f")).dtype == np.float32
    check_gradients(F.rotary_embedding, x, second=False)


# ---------------------------------------------------------------------------------------------------------------------- errors

HX, WB = normal(1, 3, 2), weights(1, 1, 2)


@pytest.mark.parametrize("call, part", [
    (lambda: F.lstm(normal(3, 2), normal(3, 6)), "x (m, 4 units, ...)"),
    (lambda: F.lstm(normal(3, 2), normal(4, 8)), "m <= n"),
    (lambda: F.lstm(np.ones((3, 2), int), normal(3, 8)), "floating"),
    (lambda: F.slstm(normal(3, 2), normal(2, 2), normal(3, 8), normal(3, 8)), "c_prev1, c_prev2"),
    (lambda: F.tree_lstm(normal(3, 2)), "at least one cell state"),
    (lambda: F.tree_lstm(normal(3, 2), normal(3, 10)), "(n, 4 units, ...)"),
    (lambda: F.n_step_rnn(1, 0, HX, *WB, []), "at least one time step"),
    (lambda: F.n_step_rnn(2, 0, HX, *WB, sequences()), "initial states (2, batch, units)"),
    (lambda: F.n_step_gru(1, 0, HX, *WB, sequences()), "6 arrays each"),
    (lambda: F.n_step_rnn(1, 0, HX, *WB, sequences()[::-1]), "never grow"),
    (lambda: F.n_step_rnn(1, 0, HX, *WB, sequences(), activation="elu"), "activation as one of"),
    (lambda: F.scaled_dot_product_attention(normal(3, 4), normal(5, 3), normal(5, 2)), "query (..., queries, units)"),
    (lambda: F.rotary_embedding(normal(4, 3)), "even number"),
    (lambda: F.rotary_embedding(normal(4, 2), np.arange(3)), "one position per place"),
])
def test_errors_say_what_was_expected(call, part):
    with pytest.raises(InvalidType) as caught:
        call()
    assert part in str(caught.value)
