"""Attention with several heads, and the layers of transformers (Vaswani et al. 2017)."""
from hybridnn import functions as F
from hybridnn.errors import InvalidType
from hybridnn.link import Chain
from hybridnn.links.linear import Linear
from hybridnn.links.normalization import LayerNormalization

__all__ = ["MultiHeadAttention", "TransformerDecoderLayer", "TransformerEncoderLayer"]


class MultiHeadAttention(Chain):
    """Attention in ``n_heads`` subspaces, with linear maps ``query``, ``key``, ``value`` and ``out``.

    Args:
        n_units: size of queries and outputs.
        n_heads: number of heads, a divisor of n_units.
        dropout: share of attention weights dropped while training.
        nobias: leave out the biases.
        initialW, initial_bias: initial values of the four maps.
        key_size, value_size: sizes of keys and values; None: n_units.
    """

    def __init__(self, n_units, n_heads, dropout=0.0, nobias=False, initialW=None, initial_bias=None, *, key_size=None,
                 value_size=None):
        super().__init__()
        if n_heads < 1 or n_units % n_heads:
            raise ValueError(f"MultiHeadAttention: n_heads divides n_units; got n_units={n_units}, n_heads={n_heads}")
        self.n_units, self.n_heads, self.dropout = n_units, n_heads, dropout
        how = {"nobias": nobias, "initialW": initialW, "initial_bias": initial_bias}
        with self.init_scope():
            self.query = Linear(n_units, n_units, **how)
            self.key = Linear(n_units if key_size is None else key_size, n_units, **how)
            self.value = Linear(n_units if value_size is None else value_size, n_units, **how)
            self.out = Linear(n_units, n_units, **how)

    @property
    def printable_specs(self):
        yield "n_units", self.n_units
        yield "n_heads", self.n_heads
        yield "dropout", self.dropout

    def forward(self, query, key=None, value=None, mask=None, causal=False):
        """Attend from every query to the keys.

        Args:
            query: (n, queries, n_units).
            key: (n, keys, key_size); None: query (self-attention).
            value: (n, keys, value_size); None: key.
            mask: (queries, keys), (n, queries, keys) or (n, heads, queries, keys), sizes may be 1: bool, True where a query may
                see a key, or floats that are added to the scores.
            causal: let a query see no later keys.

        Returns:
            (n, queries, n_units).
        """
        key = query if key is None else key
        value = key if value is None else value
        q, k, v = self._heads(self.query, query), self._heads(self.key, key), self._heads(self.value, value)
        if mask is not None and len(mask.shape) == 3:
            mask = F.expand_dims(mask, 1)
        y = F.scaled_dot_product_attention(q, k, v, mask=mask, causal=causal, dropout_ratio=self.dropout)
        y = F.reshape(F.transpose(y, (0, 2, 1, 3)), (query.shape[0], query.shape[1], self.n_units))
        return self.out(y, n_batch_axes=2)

    def _heads(self, layer, x):
        if len(x.shape) != 3:
            raise InvalidType("MultiHeadAttention", "queries, keys and values with three axes (n, length, units)",
                              f"shape {x.shape}")
        h = layer(x, n_batch_axes=2)
        return F.transpose(F.reshape(h, (x.shape[0], x.shape[1], self.n_heads, self.n_units // self.n_heads)), (0, 2, 1, 3))


class _TransformerLayer(Chain):
    """Sublayers with residual connections, dropout and layer normalisation around each."""

    def __init__(self, n_units, n_heads, n_hidden, dropout, activation, norm_first, eps):
        super().__init__()
        n_hidden = 4 * n_units if n_hidden is None else n_hidden
        self.dropout, self.activation, self.norm_first = dropout, activation, norm_first
        with self.init_scope():
            self.attention = MultiHeadAttention(n_units, n_heads, dropout)
            self.norm1 = LayerNormalization(n_units, eps)
            self.hidden, self.out = Linear(n_units, n_hidden), Linear(n_hidden, n_units)
            self.norm2 = LayerNormalization(n_units, eps)

    def _around(self, norm, x, sublayer, *args):
        """``norm(x + sublayer(x))``, or ``x + sublayer(norm(x))``."""
        if self.norm_first:
            return x + self._drop(sublayer(norm(x), *args))
        return norm(x + self._drop(sublayer(x, *args)))

    def _drop(self, x):
        return F.dropout(x, self.dropout) if self.dropout else x

    def _feed(self, x):
        h = self._drop(self.activation(self.hidden(x, n_batch_axes=2)))
        return self.out(h, n_batch_axes=2)

    def _attend(self, x, mask, causal):
        return self.attention(x, mask=mask, causal=causal)


class TransformerEncoderLayer(_TransformerLayer):
    """Self-attention, then two linear maps at every place.

    Args:
        n_units: size of inputs and outputs.
        n_heads: number of attention heads.
        n_hidden: units between the two linear maps; None: 4 * n_units.
        dropout: dropout ratio everywhere.
        activation: function between the linear maps.
        norm_first: normalise before the sublayers instead of behind them.
        eps: of the layer normalisations.
    """

    def __init__(self, n_units, n_heads, n_hidden=None, dropout=0.1, activation=F.relu, norm_first=False, eps=1e-5):
        super().__init__(n_units, n_heads, n_hidden, dropout, activation, norm_first, eps)

    def forward(self, x, mask=None, causal=False):
        """``x`` (n, length, n_units) to the same shape; ``mask`` and ``causal`` as ``MultiHeadAttention.forward``."""
        x = self._around(self.norm1, x, self._attend, mask, causal)
        return self._around(self.norm2, x, self._feed)


class TransformerDecoderLayer(_TransformerLayer):
    """Causal self-attention, attention to the encoder's output (``memory``), then two linear maps at every place.

    Arguments as ``TransformerEncoderLayer``.
    """

    def __init__(self, n_units, n_heads, n_hidden=None, dropout=0.1, activation=F.relu, norm_first=False, eps=1e-5):
        super().__init__(n_units, n_heads, n_hidden, dropout, activation, norm_first, eps)
        with self.init_scope():
            self.cross = MultiHeadAttention(n_units, n_heads, dropout)
            self.norm3 = LayerNormalization(n_units, eps)

    def forward(self, x, memory, mask=None, memory_mask=None, causal=True):
        """``x`` (n, length, n_units) to the same shape, seeing ``memory`` (n, keys, n_units)."""
        x = self._around(self.norm1, x, self._attend, mask, causal)
        x = self._around(self.norm3, x, self._cross, memory, memory_mask)
        return self._around(self.norm2, x, self._feed)

    def _cross(self, x, memory, mask):
        return self.cross(x, memory, mask=mask)
