"""Recurrent cells, and stacked recurrent networks over sequences of different lengths."""

from hybridnn.core import apply, as_variable
from hybridnn.core.argument import refuse_kwargs
from hybridnn.core.indexing import get_item
from hybridnn.core.shapes import reshape
from hybridnn.errors import InvalidType
from hybridnn.functions.activation import relu, sigmoid, tanh
from hybridnn.functions.array import concat, separate, split_axis, stack
from hybridnn.functions.connection import linear
from hybridnn.functions.noise import dropout
from hybridnn.ops.expect import describe, expect, expect_arrays, expect_choice, expect_float
from hybridnn.ops.rnn import lstm_cell

__all__ = [
    "lstm", "n_step_bigru", "n_step_bilstm", "n_step_birnn", "n_step_gru", "n_step_lstm", "n_step_rnn", "slstm", "tree_lstm"]


# --------------------------------------------------------------------------------------------------------------------- cells


def lstm(c_prev, x):
    """One step of a long short-term memory with forget gates, without peepholes (Hochreiter and Schmidhuber 1997; Gers et al.
    2000).

    c = tanh(a) sigmoid(i) + sigmoid(f) c_prev and h = sigmoid(o) tanh(c), where the rows of ``x`` hold a, i, f, o of the first
    unit, then of the second, ...

    Args:
        c_prev: cell state (n, units, ...).
        x: (m, 4 units, ...) with m <= n; the cells from m on stay as they are (sequences that have ended).

    Returns: c (n, units, ...) and h (m, units, ...).
    """
    expect_float("lstm", c_prev=c_prev, x=x)
    ok = len(c_prev.shape) == len(x.shape) >= 2 and x.shape[0] <= c_prev.shape[0] and x.shape[1] == 4 * c_prev.shape[1]
    if not ok or x.shape[2:] != c_prev.shape[2:]:
        raise InvalidType("lstm", "c_prev (n, units, ...) and x (m, 4 units, ...), m <= n", describe(c_prev=c_prev, x=x))
    m = x.shape[0]
    if m == c_prev.shape[0]:
        return apply(lstm_cell, (c_prev, x))[:2]
    c, h, _ = apply(lstm_cell, (get_item.index(c_prev, slice(None, m)), x))
    return concat((c, get_item.index(c_prev, slice(m, None))), axis=0), h


def slstm(c_prev1, c_prev2, x1, x2):
    """The S-LSTM cell, which joins two branches (Zhu et al. 2015).

    c = tanh(a1) sigmoid(i1) + tanh(a2) sigmoid(i2) + sigmoid(f1) c_prev1 + sigmoid(f2) c_prev2 and h = sigmoid(o1 + o2) tanh(c).

    Args:
        c_prev1, c_prev2: cell states (n, units, ...).
        x1, x2: (n, 4 units, ...), a unit's a, i, f, o side by side as for ``lstm``.

    Returns: c and h.
    """
    expect_float("slstm", c_prev1=c_prev1, c_prev2=c_prev2, x1=x1, x2=x2)
    wide = c_prev1.shape[:1] + (4 * c_prev1.shape[1],) + c_prev1.shape[2:] if len(c_prev1.shape) >= 2 else None
    expect(
        c_prev1.shape == c_prev2.shape and x1.shape == x2.shape == wide,
        "slstm",
        "c_prev1, c_prev2 (n, units, ...) and x1, x2 (n, 4 units, ...)",
        c_prev1=c_prev1,
        c_prev2=c_prev2,
        x1=x1,
        x2=x2,
    )
    a1, i1, f1, o1 = _side_by_side(x1)
    a2, i2, f2, o2 = _side_by_side(x2)
    c = tanh(a1) * sigmoid(i1) + tanh(a2) * sigmoid(i2) + sigmoid(f1) * c_prev1 + sigmoid(f2) * c_prev2
    return c, sigmoid(o1 + o2) * tanh(c)


def _side_by_side(x):
    """The four gates of x (n, 4 units, ...)."""
    n, width, *rest = x.shape
    return separate(reshape.to(x, (n, width // 4, 4, *rest)), axis=2)


def tree_lstm(*inputs):
    """The cell of an N-ary tree LSTM: one forget gate per child (Tai et al. 2015).

    c = tanh(a) sigmoid(i) + sum of sigmoid(f_k) c_k and h = sigmoid(o) tanh(c).

    Args:
        inputs: the children's cell states c_1 ... c_N, each (n, units, ...), then x (n, (3 + N) units, ...), which holds a, i,
            o, f_1, ..., f_N
            one behind the other.

    Returns: c and h.
    """
    if len(inputs) < 2:
        raise InvalidType("tree_lstm", "at least one cell state, then x", f"{len(inputs)} arguments")
    *cells, x = inputs
    expect_arrays("tree_lstm", **{f"c{k + 1}": c for k, c in enumerate(cells)}, x=x)
    wide = lambda c: len(c.shape) >= 2 and (c.shape[0], (3 + len(cells)) * c.shape[1], *c.shape[2:]) == x.shape
    expect(
        all(wide(c) and c.dtype.kind == "f" for c in cells),
        "tree_lstm",
        f"cell states (n, units, ...) and x (n, {3 + len(cells)} units, ...)",
        **{f"c{k + 1}": c for k, c in enumerate(cells)},
        x=x,
    )
    a, i, o, *forget = split_axis(x, 3 + len(cells), axis=1)
    c = tanh(a) * sigmoid(i)
    for f, child in zip(forget, cells):
        c = c + sigmoid(f) * child
    return c, sigmoid(o) * tanh(c)


# ------------------------------------------------------------------------------------------------- stacks over sequences


def n_step_lstm(n_layers, dropout_ratio, hx, cx, ws, bs, xs, **kwargs):
    """A stack of LSTM layers over a batch of sequences.

    Args:
        n_layers: number of layers S.
        dropout_ratio: dropout between layers, while ``config.train``.
        hx, cx: initial states (S, batch, units).
        ws: per layer 8 matrices: for x of the input, forget, candidate and output gate, then the same for h. Those for x are
            (units, in) in the first layer,
            all others (units, units).
        bs: per layer 8 vectors (units,) in that order.
        xs: per time step the inputs (batch_t, in) of the sequences that still run: sequences sorted by falling length and
            transposed
            (``transpose_sequence``), so that batch_t never grows.

    Returns: hy, cy (S, batch, units) and a tuple of the last layer's outputs (batch_t, units).
    """
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked("n_step_lstm", _lstm_parts, 8, n_layers, dropout_ratio, hx, cx, ws, bs, xs, directions=1)


def n_step_bilstm(n_layers, dropout_ratio, hx, cx, ws, bs, xs, **kwargs):
    """``n_step_lstm`` in both directions: states (2 S, batch, units), ``ws[2 * layer + direction]``; outputs (batch_t, 2
    units), and matrices for x of the layers above the first (units, 2 units).
    """
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked("n_step_bilstm", _lstm_parts, 8, n_layers, dropout_ratio, hx, cx, ws, bs, xs, directions=2)


def n_step_gru(n_layers, dropout_ratio, hx, ws, bs, xs, **kwargs):
    """A stack of gated recurrent units over a batch of sequences (Cho et al. 2014).

    r = sigmoid(W0 x + W3 h), z = sigmoid(W1 x + W4 h), h' = tanh(W2 x + r (W5 h)), h = (1 - z) h' + z h, each product with its
    bias. Arguments as ``n_step_lstm``, with 6 matrices and vectors per layer and no cell state. Returns hy and the outputs.
    """
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked("n_step_gru", _gru_parts, 6, n_layers, dropout_ratio, hx, None, ws, bs, xs, directions=1)


def n_step_bigru(n_layers, dropout_ratio, hx, ws, bs, xs, **kwargs):
    """``n_step_gru`` in both directions; see ``n_step_bilstm``."""
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked("n_step_bigru", _gru_parts, 6, n_layers, dropout_ratio, hx, None, ws, bs, xs, directions=2)


def n_step_rnn(n_layers, dropout_ratio, hx, ws, bs, xs, activation="tanh", **kwargs):
    """A stack of plain recurrent layers over a batch of sequences: h = f(W0 x + b0 + W1 h + b1), f tanh or relu.

    Arguments as ``n_step_lstm``, with 2 matrices and vectors per layer and no cell state. Returns hy and the outputs.
    """
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked(
        "n_step_rnn", _rnn_parts("n_step_rnn", activation), 2, n_layers, dropout_ratio, hx, None, ws, bs, xs, directions=1
    )


def n_step_birnn(n_layers, dropout_ratio, hx, ws, bs, xs, activation="tanh", **kwargs):
    """``n_step_rnn`` in both directions; see ``n_step_bilstm``."""
    if kwargs:
        refuse_kwargs(kwargs, "train", "use_cudnn")
    return _stacked(
        "n_step_birnn", _rnn_parts("n_step_birnn", activation), 2, n_layers, dropout_ratio, hx, None, ws, bs, xs, directions=2
    )


def _interleaved(parts):
    """Arrays (units, ...) as (len(parts) units, ...), a unit's rows side by side."""
    y = stack(parts, axis=1)
    return reshape.to(y, (y.shape[0] * y.shape[1], *y.shape[2:]))


# Parts of a cell: (weight and bias for x, weight and bias for h, step). The products with x are made for all time steps at once.


def _lstm_parts(w, b):
    order = (2, 0, 1, 3)
    xw, hw, xb, hb = [_interleaved([p[k + s] for k in order]) for p, s in ((w, 0), (w, 4), (b, 0), (b, 4))]

    def step(from_x, from_h, h, c):
        c, h = lstm(c, from_x + from_h)
        return h, c

    return xw, xb, hw, hb, step


def _gru_parts(w, b):
    xw, hw, xb, hb = [concat(p[s : s + 3], axis=0) for p, s in ((w, 0), (w, 3), (b, 0), (b, 3))]

    def step(from_x, from_h, h, c):
        rx, zx, hx = split_axis(from_x, 3, axis=1)
        rh, zh, hh = split_axis(from_h, 3, axis=1)
        z = sigmoid(zx + zh)
        new = tanh(hx + sigmoid(rx + rh) * hh)
        return (1 - z) * new + z * h, None

    return xw, xb, hw, hb, step


def _rnn_parts(name, activation):
    expect_choice(name, "activation", activation, ("tanh", "relu"))
    f = tanh if activation == "tanh" else relu
    return lambda w, b: (w[0], b[0], w[1], b[1], lambda from_x, from_h, h, c: (f(from_x + from_h), None))


def _stacked(name, parts, count, n_layers, dropout_ratio, hx, cx, ws, bs, xs, directions):
    hx, xs = as_variable(hx), list(xs)
    _check_sequences(name, hx, cx, ws, bs, xs, n_layers * directions, count)
    hs = separate(hx, axis=0)
    cs = [None] * len(hs) if cx is None else separate(cx, axis=0)
    hy, cy, layer_in = [], [], xs
    for layer in range(n_layers):
        outputs = []
        for k in range(directions * layer, directions * (layer + 1)):
            sequence = layer_in if layer == 0 else [dropout(x, dropout_ratio) for x in layer_in]
            h, c, out = _run_direction(parts(ws[k], bs[k]), sequence, hs[k], cs[k], backward=k % directions == 1)
            hy.append(h)
            cy.append(c)
            outputs.append(out)
        layer_in = outputs[0] if directions == 1 else [concat(pair, axis=1) for pair in zip(*outputs)]
    states = (stack(hy),) if cx is None else (stack(hy), stack(cy))
    return (*states, tuple(layer_in))


def _check_sequences(name, hx, cx, ws, bs, xs, layers, count):
    expect(len(xs) > 0, name, "at least one time step in xs", xs=xs)
    expect_arrays(name, hx=hx, **({} if cx is None else {"cx": cx}), **{f"xs[{t}]": x for t, x in enumerate(xs)})
    expect(
        len(hx.shape) == 3 and hx.shape[0] == layers and (cx is None or cx.shape == hx.shape),
        name,
        f"initial states ({layers}, batch, units)",
        hx=hx,
        **({} if cx is None else {"cx": cx}),
    )
    expect(
        len(ws) == len(bs) == layers and all(len(p) == count for p in (*ws, *bs)),
        name,
        f"ws and bs of {layers} layers with {count} arrays each",
        ws=[len(w) for w in ws],
        bs=[len(b) for b in bs],
    )
    sizes = [x.shape[0] for x in xs]
    expect(
        sizes[0] <= hx.shape[1] and sizes == sorted(sizes, reverse=True),
        name,
        "batch sizes in xs that never grow, the first at most that of hx",
        "sort the sequences by falling length, then F.transpose_sequence",
        sizes=sizes,
        hx=hx,
    )


def _run_direction(parts, xs, h, c, backward):
    """One layer in one direction: its last states, and its output per time step."""
    xw, xb, hw, hb, step = parts
    sizes = [x.shape[0] for x in xs]
    projected = _project(xs, sizes, xw, xb)
    outputs = [None] * len(xs)
    for t in reversed(range(len(xs))) if backward else range(len(xs)):
        n = sizes[t]
        h, h_rest = _cut(h, n)
        c, c_rest = _cut(c, n)
        h, c = step(projected[t], linear(h, hw, hb), h, c)
        outputs[t] = h
        h = h if h_rest is None else concat((h, h_rest), axis=0)
        c = c if c_rest is None else concat((c, c_rest), axis=0)
    return h, c, outputs


def _project(xs, sizes, W, b):
    """``linear(x, W, b)`` of every step, as one product."""
    if len(xs) == 1:
        return [linear(xs[0], W, b)]
    ends = [sum(sizes[:k]) for k in range(1, len(sizes))]
    return split_axis(linear(concat(xs, axis=0), W, b), ends, axis=0)


def _cut(x, n):
    """The first ``n`` rows and the rest; the rest is None where there is none."""
    if x is None or x.shape[0] == n:
        return x, None
    return get_item.index(x, slice(None, n)), get_item.index(x, slice(n, None))
