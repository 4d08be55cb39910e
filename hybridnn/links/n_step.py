"""Recurrent networks over batches of sequences of different lengths, in one call."""
import numpy as np

from hybridnn import functions as F
from hybridnn.core import Parameter as Param
from hybridnn.core import Variable
from hybridnn.core.argument import refuse_kwargs
from hybridnn.errors import InvalidType
from hybridnn.initializers import get_initializer
from hybridnn.link import ChainList, Link

__all__ = ["NStepBiGRU", "NStepBiLSTM", "NStepBiRNNReLU", "NStepBiRNNTanh", "NStepGRU", "NStepGRUBase", "NStepLSTM", "NStepLSTMBase",
           "NStepRNNBase", "NStepRNNReLU", "NStepRNNTanh", "argsort_list_descent", "permutate_list"]


def argsort_list_descent(lst):
    """Indices that put sequences in order of falling length, equal ones as they come."""
    return np.argsort([-len(x) for x in lst], kind="stable").astype(np.int32)


def permutate_list(lst, indices, inv):
    """The list in the order of ``indices``; ``inv=True`` undoes that."""
    if not inv:
        return [lst[i] for i in indices]
    result = [None] * len(lst)
    for i, x in zip(indices, lst, strict=True):
        result[i] = x
    return result


class NStepRNNBase(ChainList):
    """The weights of a stack of recurrent layers: one link per layer and direction, with parameters w0, b0, w1, b1, ...

    A class of its own kind of layer sets ``n_weights`` (and ``n_cells``, ``use_bi_direction``) and writes ``rnn``, which gets
    (n_layers, dropout, one state or more, ws, bs, time steps) and returns the last states and the list of outputs by time step.

    Args:
        n_layers: number of layers.
        in_size, out_size: inputs, and units of each layer (and direction).
        dropout: dropout ratio between layers.
        initialW, initial_bias: initial weights and biases.
    """
    n_weights = 0          # matrices per layer: the first half for the input, the second for the state
    n_cells = 1            # states per layer: h, or h and c
    use_bi_direction = False

    def __init__(self, n_layers, in_size, out_size, dropout, *, initialW=None, initial_bias=None, **kwargs):
        if kwargs:
            refuse_kwargs(kwargs, "use_cudnn", "use_bi_direction", "activation")
        super().__init__()
        self.n_layers, self.dropout, self.out_size = n_layers, dropout, out_size
        self.direction = 2 if self.use_bi_direction else 1
        W, b = get_initializer(initialW), get_initializer(0 if initial_bias is None else initial_bias)
        for i in range(n_layers):
            for _ in range(self.direction):
                self.append(self._new_layer(in_size if i == 0 else out_size * self.direction, W, b))

    def _new_layer(self, in_size, initialW, initial_bias):
        layer = Link()
        with layer.init_scope():
            for j in range(self.n_weights):
                inputs = in_size if j < self.n_weights // 2 else self.out_size
                setattr(layer, f"w{j}", Param(initialW, (self.out_size, inputs)))
                setattr(layer, f"b{j}", Param(initial_bias, self.out_size))
        return layer

    @property
    def ws(self):
        """The matrices, a list for each layer and direction."""
        return [[getattr(layer, f"w{j}") for j in range(self.n_weights)] for layer in self]

    @property
    def bs(self):
        """The biases, a list for each layer and direction."""
        return [[getattr(layer, f"b{j}") for j in range(self.n_weights)] for layer in self]

    def init_hx(self, xs):
        """A state of zeros (layers * directions, sequences, out_size)."""
        shape = self.n_layers * self.direction, len(xs), self.out_size
        return Variable(self.xp.zeros(shape, xs[0].dtype))

    def rnn(self, *args):
        """Run the layers on sequences transposed to time steps; a class of a kind of layer writes it."""
        raise NotImplementedError

    def forward(self, hx, xs, **kwargs):
        """Run the layers over all sequences.

        Args:
            hx: first state (layers * directions, n, out_size), or None for zeros.
            xs: list of n sequences (length, in_size).

        Returns:
            The last state and the list of outputs (length, out_size * directions).
        """
        if kwargs:
            refuse_kwargs(kwargs, "train")
        (hy,), ys = self._call([hx], xs)
        return hy, ys

    def _call(self, states, xs):
        if not isinstance(xs, (list, tuple)) or not xs:
            raise InvalidType(type(self).__name__, "sequences as a list or tuple, at least one", type(xs).__name__,
                              "[x] of one sequence (steps, features), list(x) of a batch of them")
        order = argsort_list_descent(xs)
        xs = permutate_list(xs, order, inv=False)
        states = [self.init_hx(xs) if s is None else F.permutate(s, order, axis=1, inv=False) for s in states]
        *lasts, steps = self.rnn(self.n_layers, self.dropout, *states, self.ws, self.bs, F.transpose_sequence(xs))
        lasts = [F.permutate(s, order, axis=1, inv=True) for s in lasts]
        ys = F.transpose_sequence(steps)
        ys += (steps[0][:0],) * (len(xs) - len(ys))     # of sequences that have no step
        return lasts, permutate_list(ys, order, inv=True)


class _NStepRNN(NStepRNNBase):
    n_weights = 2
    activation = "tanh"

    def rnn(self, *args):
        run = F.n_step_birnn if self.use_bi_direction else F.n_step_rnn
        return run(*args, activation=self.activation)


class NStepRNNTanh(_NStepRNN):
    """Plain recurrent layers with tanh; arguments as ``NStepLSTM``."""


class NStepRNNReLU(_NStepRNN):
    """Plain recurrent layers with relu; arguments as ``NStepLSTM``."""
    activation = "relu"


class NStepBiRNNTanh(_NStepRNN):
    """Plain recurrent layers with tanh, in both directions; arguments as ``NStepLSTM``."""
    use_bi_direction = True


class NStepBiRNNReLU(_NStepRNN):
    """Plain recurrent layers with relu, in both directions; arguments as ``NStepLSTM``."""
    activation = "relu"
    use_bi_direction = True


class NStepGRUBase(NStepRNNBase):
    """What the links of GRU layers share; arguments as ``NStepLSTM``."""
    n_weights = 6

    def rnn(self, *args):
        return (F.n_step_bigru if self.use_bi_direction else F.n_step_gru)(*args)


class NStepGRU(NStepGRUBase):
    """GRU layers; arguments as ``NStepLSTM``."""


class NStepBiGRU(NStepGRUBase):
    """GRU layers in both directions; arguments as ``NStepLSTM``."""
    use_bi_direction = True


class NStepLSTMBase(NStepRNNBase):
    """What the links of LSTM layers share; arguments as ``NStepLSTM``."""
    n_weights = 8
    n_cells = 2

    def rnn(self, *args):
        return (F.n_step_bilstm if self.use_bi_direction else F.n_step_lstm)(*args)

    def forward(self, hx, cx, xs, **kwargs):
        """As the other links', with the cells' state ``cx`` too; returns the last h, the last c and the list of outputs."""
        if kwargs:
            refuse_kwargs(kwargs, "train")
        (hy, cy), ys = self._call([hx, cx], xs)
        return hy, cy, ys


class NStepLSTM(NStepLSTMBase):
    """LSTM layers.

    Args:
        n_layers: number of layers.
        in_size, out_size: inputs, and units of each layer.
        dropout: dropout ratio between layers.
        initialW, initial_bias: initial weights and biases.
    """


class NStepBiLSTM(NStepLSTMBase):
    """LSTM layers in both directions; arguments as ``NStepLSTM``."""
    use_bi_direction = True
