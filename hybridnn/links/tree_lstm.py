"""Tree-LSTM: recurrent networks over trees (Tai et al. 2015)."""
from hybridnn import functions as F
from hybridnn.errors import InvalidType
from hybridnn.link import Chain
from hybridnn.links.linear import Linear

__all__ = ["ChildSumTreeLSTM", "NaryTreeLSTM"]


class _TreeLSTM(Chain):
    """What both kinds share: arguments are the children's cells, their outputs and the node's own input; each may be None for
    zeros."""

    def _input(self, cs, hs, x):
        """The node's input; zeros of the children's batch size if it is None."""
        if x is not None:
            return x
        known = [v for v in (*cs, *hs) if v is not None]
        if not known:
            raise InvalidType(type(self).__name__, "a child's state or the input x", "None for all")
        return self.xp.zeros((known[0].shape[0], self.in_size), known[0].dtype)

    def _filled(self, states, x):
        """The states, with zeros for None."""
        if all(s is not None for s in states):
            return states
        zero = self.xp.zeros((x.shape[0], self.state_size), x.dtype)
        return tuple(zero if s is None else s for s in states)


class ChildSumTreeLSTM(_TreeLSTM):
    """A node with any number of children, whose outputs are summed.

    Args:
        in_size, out_size: inputs and units.
    """

    def __init__(self, in_size, out_size):
        super().__init__()
        with self.init_scope():
            self.W_x = Linear(in_size, 4 * out_size)
            self.W_h_aio = Linear(out_size, 3 * out_size, nobias=True)
            self.W_h_f = Linear(out_size, out_size, nobias=True)
        self.in_size, self.state_size = in_size, out_size

    def forward(self, *cshsx):
        """``forward(c1, ..., ck, h1, ..., hk, x)`` returns the node's cell and output (n, out_size)."""
        if len(cshsx) % 2 != 1:
            raise InvalidType("ChildSumTreeLSTM", "as many cells as outputs of children, then x: an odd number of arguments",
                              str(len(cshsx)))
        k = len(cshsx) // 2
        cs, hs, x = cshsx[:k], cshsx[k:-1], cshsx[-1]
        x = self._input(cs, hs, x)
        x_in = self.W_x(x)
        aio, f = x_in[:, :3 * self.state_size], x_in[:, 3 * self.state_size:]
        if not k:
            a, i, o = F.split_axis(aio, 3, axis=1)
            c = F.sigmoid(i) * F.tanh(a)
            return c, F.sigmoid(o) * F.tanh(c)
        cs, hs = self._filled(cs, x), self._filled(hs, x)
        aio = self.W_h_aio(sum(hs)) + aio
        fs = [h + f for h in F.split_axis(self.W_h_f(F.concat(hs, axis=0)), k, axis=0)]
        return F.tree_lstm(*cs, F.concat([aio, *fs], axis=1))


class NaryTreeLSTM(_TreeLSTM):
    """A node with ``n_ary`` children, each with weights of its own.

    Args:
        in_size, out_size: inputs and units.
        n_ary: number of children.
    """

    def __init__(self, in_size, out_size, n_ary=2):
        if n_ary < 1:
            raise ValueError(f"NaryTreeLSTM has at least one child; got n_ary={n_ary}")
        super().__init__()
        with self.init_scope():
            self.W_x = Linear(in_size, (3 + n_ary) * out_size)
            for i in range(1, n_ary + 1):
                setattr(self, f"W_h{i}", Linear(out_size, (3 + n_ary) * out_size, nobias=True))
        self.in_size, self.state_size, self.n_ary = in_size, out_size, n_ary

    def forward(self, *cshsx):
        """``forward(c1, ..., cN, h1, ..., hN, x)`` returns the node's cell and output (n, out_size)."""
        n = self.n_ary
        if len(cshsx) != 2 * n + 1:
            raise InvalidType("NaryTreeLSTM", f"{n} cells, {n} outputs of children and x: {2 * n + 1} arguments", str(len(cshsx)))
        cs, hs, x = cshsx[:n], cshsx[n:-1], cshsx[-1]
        x = self._input(cs, hs, x)
        total = self.W_x(x)
        for i, h in enumerate(hs, start=1):
            if h is not None:
                total = total + getattr(self, f"W_h{i}")(h)
        return F.tree_lstm(*self._filled(cs, x), total)
