"""``OpNode``: an application of an operation on the tape. It keeps what its gradient rules name and nothing else."""
import functools
import weakref

import numpy as np

from hybridnn.backend import is_array
from hybridnn.config import config, state
from hybridnn.core.labels import class_name
from hybridnn.core.labels import label as label_of
from hybridnn.core.programs import RELEASED, listed
from hybridnn.core.tape import RELEASED_TEXT, Output, TapeNode, TracedNumber, Untaped, next_seq, rank_of
from hybridnn.core.variable import connected
from hybridnn.core.variable_node import OutputRef, view_of_input
from hybridnn.core.walk import fit
from hybridnn.errors import ReleasedGraphError

__all__ = ["OpNode", "show", "tell"]


def _shown(name, node):
    if name not in node.shown:
        raise AttributeError(f"{node!r} has no {name!r}")
    return node.shown[name](node)


def show(result, **functions):
    """``result``, whose ``creator`` gets attributes: functions of the node, which read them from what it keeps."""
    result._shown = functions
    return result


def tell(result, **values):
    """``result``, which needs no gradient and has no node: what is its ``creator`` gets these Variables' arrays as attributes, where there would be nodes."""
    if config.enable_backprop:
        result._shown = Untaped(values)
    return result


class OpNode(TapeNode):
    """An application of an ``Op``: its gradient program and what the rules named."""

    out = specs = stack = None
    numbers = {}          # operands that are no arrays, by position, if a hook was there when the operation was applied
    _is_op = True
    shown = {}            # names of Chainer's for what was drawn or computed on the way (``creator.mask``): functions of the node

    def __init__(self, program, edges, saved, out, attrs, specs):
        self.seq, self.plain = next_seq(), True
        self.program, self.edges, self.saved, self.out, self.attrs, self.specs = program, edges, saved, out, attrs, specs

    y, mask, flag_x, flag_h, samples = [property(functools.partial(_shown, name)) for name in ("y", "mask", "flag_x", "flag_h", "samples")]

    @property
    def creator(self):
        return None if self.is_leaf else self

    @property
    def rank(self):
        """The highest rank among the inputs."""
        return rank_of(self) - 1

    @property
    def label(self):
        return label_of(self.program.op, self._numbers(), len(self.shape or ()))

    def __repr__(self):
        return f"<{self.program.op.name} node>"

    @property
    def _impl_name(self):
        return class_name(self.program.op, self._numbers(), len(self.shape or ()))

    def _numbers(self):
        """The operands, of which only numbers that the gradient needs are sure to be known."""
        return [x.plain() if isinstance(x, TracedNumber) else x for x in self.kept_inputs()]

    @property
    def inputs(self):
        """The ``VariableNode``s of the operands that need gradients."""
        return tuple([view_of_input(x, a) for x, a in zip(self.edges, self.kept_inputs(), strict=False) if x is not None])

    _outputs = None        # weak references to the nodes of several outputs

    @property
    def outputs(self):
        """Weak references to the ``VariableNode``s of the outputs."""
        refs = (self._outputs or ()) if self.program.op.multi else (weakref.ref(self),)
        return tuple([OutputRef(ref) for ref in refs])

    def unchain(self):
        """Be no output's creator any more: backward stops at the outputs."""
        for ref in self.outputs:
            node = ref()
            if node is not None:
                node.unchain()

    def kept_inputs(self):
        """The operands' arrays or numbers, None for those that were not kept."""
        kept = dict(zip(self.program.keep, self.saved)) if self.saved and self.saved is not RELEASED else {}
        return tuple([kept.get(i, self.numbers.get(i)) for i in range(self.program.n)])

    def operand(self, position, as_variable):
        """Saved operand number ``position``: the array, or a Variable connected to the graph."""
        x = self.saved[position]
        if type(x) is np.ndarray or is_array(x):
            return connected(x, self.edges[self.program.keep[position]]) if as_variable else x
        return x.plain() if isinstance(x, TracedNumber) and state.tracer is None else x

    def output(self, as_variable):
        if not as_variable:
            return self.out
        if self.program.op.multi:
            return tuple([connected(y, Output(self, i, y.shape, y.dtype)) for i, y in enumerate(self.out)])
        return connected(self.out, self)

    def gradients(self, g, as_variables):
        """Gradients of the inputs, in order; None where none is needed or none exists."""
        if self.saved is RELEASED:
            raise ReleasedGraphError(RELEASED_TEXT)
        result = self._on_variables(g) if as_variables else self.program.on_arrays(self, g)
        fitted = []
        for x, gx in zip(self.edges, result):   # a rule may return fewer
            if x is None or gx is None:
                fitted.append(None)
                continue
            shape, dtype = x.shape, x.dtype
            fitted.append(gx if gx.shape == shape and gx.dtype is dtype else fit(gx, shape, dtype))
        return fitted

    def _on_variables(self, g):
        result = [None] * self.program.n
        for rule, targets, getters in self.program.calls:
            value = rule(*[get(self, g, True) for get in getters])
            if targets is None:
                result = listed(value)
            else:
                result[targets[0]] = value
        return result

    def _forget_creator(self):
        super()._forget_creator()
        self.saved, self.out = None, None

    def release(self):
        """Forget what the rules need, so that memory is free; backward through here raises from now on."""
        self.saved, self.plain = RELEASED, False
        self.out = None
