"""LSTM cells: stateless, stateful, with peepholes, with zoneout."""
from math import prod

from hybridnn import functions as F
from hybridnn.core import Variable
from hybridnn.core.argument import refuse_kwargs
from hybridnn.errors import InvalidType
from hybridnn.initializers import get_initializer
from hybridnn.link import Chain
from hybridnn.links.linear import Linear
from hybridnn.links.weights import shape_of

__all__ = ["LSTM", "LSTMBase", "Stateful", "StatefulPeepholeLSTM", "StatefulZoneoutLSTM", "StatelessLSTM"]


def _zeros(link, x):
    """The cell, or the output, before the first input."""
    return Variable(link.xp.zeros((x.shape[0], link.state_size), x.dtype))


def _gates_in(link, x, h):
    """What the gates get of the input, and of the last output, which may be None."""
    lstm_in = link.upward(x)
    return lstm_in if h is None else lstm_in + link.lateral(h)


class LSTMBase(Chain):
    """The two linear maps of an LSTM: ``upward`` from the input, with bias, and ``lateral`` from the last output.

    Their 4 * out_size outputs interleave the cell input a and the gates i, f, o: row 4 k + j belongs to unit k.

    Args:
        in_size: inputs; None (or leaving out out_size) takes it from the first call.
        out_size: units.
        lateral_init, upward_init: initial weights, drawn quarter by quarter.
        bias_init: initial bias of a, i and o (0 by default).
        forget_bias_init: initial bias of f (1 by default).
    """

    def __init__(self, in_size, out_size=None, lateral_init=None, upward_init=None, bias_init=None, forget_bias_init=None):
        super().__init__()
        if out_size is None:
            in_size, out_size = None, in_size
        self.state_size = out_size
        self.lateral_init, self.upward_init = lateral_init, upward_init
        self.bias_init = 0 if bias_init is None else bias_init
        self.forget_bias_init = 1 if forget_bias_init is None else forget_bias_init
        with self.init_scope():
            self.upward = Linear(in_size, 4 * out_size, initialW=0)
            self.lateral = Linear(out_size, 4 * out_size, initialW=0, nobias=True)
        if in_size is not None:
            self._initialize_params()

    def _initialize_params(self):
        lateral, upward = get_initializer(self.lateral_init), get_initializer(self.upward_init)
        n = self.state_size
        for i in range(0, 4 * n, n):
            lateral(self.lateral.W.array[i:i + n])
            upward(self.upward.W.array[i:i + n])
        gates = self.upward.b.array.reshape(1, n, 4, 1)
        for k, initial in enumerate((self.bias_init, self.bias_init, self.forget_bias_init, self.bias_init)):
            get_initializer(initial)(gates[:, :, k])

    def _prepare(self, x):
        if not self.upward.W.is_initialized:
            self.upward._initialize_params(prod(shape_of(self, x)[1:]))
            self._initialize_params()


class StatelessLSTM(LSTMBase):
    """An LSTM cell that takes and returns its state; arguments as ``LSTM``."""

    def forward(self, c, h, x):
        """``(c, h)`` after input ``x`` (n, in_size); ``c`` and ``h`` (n, out_size) or None for zeros."""
        self._prepare(x)
        return F.lstm(_zeros(self, x) if c is None else c, _gates_in(self, x, h))


class Stateful:
    """What links that keep Variables from call to call share; ``_state`` names them."""
    _state: tuple[str, ...]

    def device_resident_accept(self, visitor):
        super().device_resident_accept(visitor)
        for name in self._state:
            if getattr(self, name) is not None:
                visitor.visit_variable(getattr(self, name))

    def _set(self, **values):
        """Set the state, on the link's device."""
        for name, value in values.items():
            if not isinstance(value, Variable):
                raise TypeError(f"{type(self).__name__}.set_state: {name} should be a Variable; got {type(value).__name__}")
            value.to_device(self.device)
        for name, value in values.items():
            setattr(self, name, value)

    def reset_state(self):
        """Forget the state: the next call begins a sequence."""
        for name in self._state:
            setattr(self, name, None)


class _StatefulLSTM(Stateful):
    _state = ("c", "h")

    def set_state(self, c, h):
        """Set the cell and the output, both Variables (n, out_size)."""
        self._set(c=c, h=h)


class LSTM(_StatefulLSTM, LSTMBase):
    """An LSTM layer that keeps its state ``c``, ``h`` between calls.

    Sequences of a batch may end early: a later input may have fewer rows, which then are the first ones of the state.

    Args:
        in_size: inputs; None (or ``LSTM(out_size)``) takes it from the first call.
        out_size: units.
        lateral_init, upward_init: initial weights.
        bias_init: initial bias of the cell input and the input and output gates (0 by default).
        forget_bias_init: initial bias of the forget gate (1 by default).
    """

    def __init__(self, in_size, out_size=None, lateral_init=None, upward_init=None, bias_init=None, forget_bias_init=None):
        super().__init__(in_size, out_size, lateral_init, upward_init, bias_init, forget_bias_init)
        self.reset_state()

    def forward(self, x):
        """The output (n, out_size) after one more input ``x`` (n, in_size)."""
        self._prepare(x)
        lstm_in = self.upward(x)
        n = x.shape[0]
        rest = None
        if self.h is not None:
            h = self.h
            if h.shape[0] < n:
                raise InvalidType("LSTM", f"an input of at most {h.shape[0]} rows, as the state has", f"{n} rows",
                                  "reset_state() begins new sequences")
            if h.shape[0] > n:
                h, rest = h[:n], h[n:]
            if n:
                lstm_in = lstm_in + self.lateral(h)
        self.c, y = F.lstm(_zeros(self, x) if self.c is None else self.c, lstm_in)
        self.h = y if rest is None else rest if n == 0 else F.concat([y, rest], axis=0)
        return y


class StatefulPeepholeLSTM(_StatefulLSTM, Chain):
    """An LSTM whose gates also see the cell, through full matrices.

    Args:
        in_size, out_size: inputs and units.
    """

    def __init__(self, in_size, out_size):
        super().__init__()
        self.state_size = out_size
        self.reset_state()
        with self.init_scope():
            self.upward = Linear(in_size, 4 * out_size)
            self.lateral = Linear(out_size, 4 * out_size, nobias=True)
            self.peep_i = Linear(out_size, out_size, nobias=True)
            self.peep_f = Linear(out_size, out_size, nobias=True)
            self.peep_o = Linear(out_size, out_size, nobias=True)

    def forward(self, x):
        """The output (n, out_size) after one more input ``x`` (n, in_size)."""
        lstm_in = _gates_in(self, x, self.h)
        c = _zeros(self, x) if self.c is None else self.c
        a, i, f, o = _split_gates(lstm_in)
        i = F.sigmoid(i + self.peep_i(c))
        f = F.sigmoid(f + self.peep_f(c))
        self.c = F.tanh(a) * i + f * c
        self.h = F.sigmoid(o + self.peep_o(self.c)) * F.tanh(self.c)
        return self.h


class StatefulZoneoutLSTM(_StatefulLSTM, Chain):
    """An LSTM that keeps randomly chosen units of its state unchanged while training (Krueger et al. 2016).

    Args:
        in_size, out_size: inputs and units.
        c_ratio, h_ratio: probability that a unit of the cell, or the output, stays.
    """

    def __init__(self, in_size, out_size, c_ratio=0.5, h_ratio=0.5, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "train")
        super().__init__()
        self.state_size, self.c_ratio, self.h_ratio = out_size, c_ratio, h_ratio
        self.reset_state()
        with self.init_scope():
            self.upward = Linear(in_size, 4 * out_size)
            self.lateral = Linear(out_size, 4 * out_size, nobias=True)

    def forward(self, x):
        """The output (n, out_size) after one more input ``x`` (n, in_size)."""
        lstm_in = _gates_in(self, x, self.h)
        old_h, old_c = (_zeros(self, x) if v is None else v for v in (self.h, self.c))
        a, i, f, o = _split_gates(lstm_in)
        c = F.tanh(a) * F.sigmoid(i) + F.sigmoid(f) * old_c
        self.c = F.zoneout(old_c, c, self.c_ratio)
        self.h = F.zoneout(old_h, F.sigmoid(o) * F.tanh(c), self.h_ratio)
        return self.h


def _split_gates(x):
    """The interleaved (n, 4 units) as four (n, units): a, i, f, o."""
    gates = F.reshape(x, (x.shape[0], x.shape[1] // 4, 4))
    return gates[:, :, 0], gates[:, :, 1], gates[:, :, 2], gates[:, :, 3]
