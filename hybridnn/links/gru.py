"""Gated recurrent units (Cho et al. 2014) and minimal gated units (Zhou et al. 2016), stateless and stateful."""
from hybridnn import functions as F
from hybridnn.backend import get_dtype
from hybridnn.core import Variable
from hybridnn.link import Chain
from hybridnn.links.linear import Linear
from hybridnn.links.lstm import Stateful
from hybridnn.ops.expect import expect_arrays

__all__ = ["GRU", "GRUBase", "MGUBase", "StatefulGRU", "StatefulMGU", "StatelessGRU", "StatelessMGU"]


class GRUBase(Chain):
    """The linear maps of a GRU: ``W`` from the input, ``U`` from the state; for the gates r and z, and the new value.

    Args:
        in_size: inputs, or None to take it from the first call.
        out_size: units.
        init, inner_init, bias_init: initial weights of the input's and the state's maps, and biases.
    """

    def __init__(self, in_size, out_size, init=None, inner_init=None, bias_init=None):
        super().__init__()
        outer = {"initialW": init, "initial_bias": bias_init}
        inner = {"initialW": inner_init, "initial_bias": bias_init}
        with self.init_scope():
            self.W_r, self.U_r = Linear(in_size, out_size, **outer), Linear(out_size, out_size, **inner)
            self.W_z, self.U_z = Linear(in_size, out_size, **outer), Linear(out_size, out_size, **inner)
            self.W, self.U = Linear(in_size, out_size, **outer), Linear(out_size, out_size, **inner)


class StatelessGRU(GRUBase):
    """A GRU cell that takes and returns its state; arguments as ``GRU``."""

    def forward(self, h, x):
        """The state (n, out_size) after input ``x`` (n, in_size): ``(1 - z) h + z tanh(W x + U (r h))``."""
        r = F.sigmoid(self.W_r(x) + self.U_r(h))
        z = F.sigmoid(self.W_z(x) + self.U_z(h))
        return F.linear_interpolate(z, F.tanh(self.W(x) + self.U(r * h)), h)


class _OneState(Stateful):
    _state = ("h",)

    def set_state(self, h):
        """Set the state, a Variable (n, out_size)."""
        self._set(h=h)


class StatefulGRU(_OneState, GRUBase):
    """A GRU that keeps its state ``h`` between calls; arguments as ``GRU``."""
    def __init__(self, in_size, out_size, init=None, inner_init=None, bias_init=0):
        super().__init__(in_size, out_size, init, inner_init, bias_init)
        self.state_size = out_size
        self.reset_state()

    def forward(self, x):
        """The state (n, out_size) after one more input ``x`` (n, in_size)."""
        z, new, h = self.W_z(x), self.W(x), self.h
        if h is None:
            self.h = F.sigmoid(z) * F.tanh(new)
            return self.h
        r = F.sigmoid(self.W_r(x) + self.U_r(h))
        z = F.sigmoid(z + self.U_z(h))
        self.h = F.linear_interpolate(z, F.tanh(new + self.U(r * h)), h)
        return self.h


class GRU(StatefulGRU):
    """``StatefulGRU`` under its short name.

    Args:
        in_size: inputs, or None to take it from the first call.
        out_size: units.
        init, inner_init, bias_init: initial weights of the input's and the state's maps, and biases.
    """

    def forward(self, *args):
        if len(args) != 1:
            raise ValueError(f"GRU takes one input; got {len(args)} arguments. The cell that takes its state is StatelessGRU")
        return super().forward(args[0])


class MGUBase(Chain):
    """The two linear maps of an MGU, from input and state together."""

    def __init__(self, n_inputs, n_units):
        super().__init__()
        with self.init_scope():
            self.W_f = Linear(n_inputs + n_units, n_units)
            self.W_h = Linear(n_inputs + n_units, n_units)

    def _step(self, h, x):
        f = F.sigmoid(self.W_f(F.concat([h, x])))
        return F.linear_interpolate(f, F.tanh(self.W_h(F.concat([f * h, x]))), h)


class StatelessMGU(MGUBase):
    """An MGU cell that takes and returns its state.

    Args:
        n_inputs, n_units: inputs and units.
    """

    def forward(self, h, x):
        """The state (n, n_units) after input ``x`` (n, n_inputs)."""
        return self._step(h, x)


class StatefulMGU(_OneState, MGUBase):
    """An MGU that keeps its state ``h`` between calls.

    Args:
        in_size, out_size: inputs and units.
    """
    def __init__(self, in_size, out_size):
        super().__init__(in_size, out_size)
        self.state_size = out_size
        self.reset_state()

    def forward(self, x):
        """The state (n, out_size) after one more input ``x`` (n, in_size)."""
        h = self.h
        if h is None:
            expect_arrays("StatefulMGU", x=x)
            h = Variable(self.xp.zeros((x.shape[0], self.state_size), get_dtype()))
        self.h = self._step(h, x)
        return self.h
