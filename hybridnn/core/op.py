"""``Op``: the record of an operation, from which everything else about it is derived, and how operations are declared."""
import inspect

import numpy as np

from hybridnn.backend import cupy, get_array_module, there
from hybridnn.core.application import apply
from hybridnn.core.programs import OPS, Program, as_ndarray
from hybridnn.core.variable import Variable

__all__ = ["OPS", "Op", "elementwise", "operation"]


class Op:
    """One operation: forward body, gradient rules, samples. Everything else is derived from this record.

    ``forward(xp, *operands, **attrs)`` computes on arrays (or Python numbers) and returns an array, or a tuple of arrays when
    ``multi``. Numbers that may change from call to call are operands; ``attrs`` hold structure (axes, shapes, flags, dtypes) and compare by ``==``.

    Called as ``op(x, y, axis=0)`` it is polymorphic: Variables in, Variable out; only arrays in, array out. Gradient rules rely on that.

    Attributes:
        kind: ``"elementwise"``, ``"reduction"``, ``"view"``, ``"matmul"``, ``"row"`` ... : what the JIT may do with it; ``"opaque"`` runs as a Python step.
        fast: a NumPy callable equal to ``forward`` on NumPy operands without attrs, or None.
        decompose: an equivalent function written with finer ops, which a trace records instead of this coarse op, or None.
        samples: ``samples(rng, dtype)`` yields ``(operands, attrs)`` for the derived tests.
        run_inplace: ``run_inplace(arrays, attrs)`` writes into NumPy operands as eager does where results replace operands, or None: run, then store.
        differentiable: per operand, whether a gradient exists (None: all).
        meta: what few operations have: ``check(operands, attrs)``, which raises for values that the operation refuses, or ``takes_all``, that it refuses none;
            ``like_first``, that results have the shape and dtype of the first operand if that is of floats, for what refuses most values.
    """

    def __init__(self, name, forward, kind="opaque", fast=None, multi=False, samples=None, domain=None, decompose=None, meta=None):
        self.name, self.forward, self.kind, self.fast, self.multi = name, forward, kind, fast, multi
        self.samples, self.domain, self.decompose, self.meta = samples, domain, decompose, meta or {}
        self.params = _operand_names(forward)
        self.rules, self.run_inplace = [], None
        self.programs = {}      # by the mask with a bit above it that tells the number of operands
        self.__name__, self.__doc__ = name, forward.__doc__
        if name in OPS:
            raise ValueError(f"two operations are called {name!r}")
        OPS[name] = self

    def __repr__(self):
        return f"<op {self.name}>"

    def __reduce__(self):
        return _find_op, (self.name,)

    def __call__(self, *inputs, **attrs):
        for x in inputs:
            if isinstance(x, Variable):
                return apply(self, inputs, attrs)
        return self.run(inputs, attrs)

    def run(self, arrays, attrs):
        """Forward on arrays; results are arrays of the operands' module, never NumPy scalars."""
        y = self.forward(np, *arrays, **attrs) if cupy is None else self._forward_there(arrays, attrs)
        return tuple([as_ndarray(v) for v in y]) if self.multi else as_ndarray(y)

    def _forward_there(self, arrays, attrs):
        with there(*arrays):
            return self.forward(get_array_module(*arrays), *arrays, **attrs)

    def vjp(self, rule):
        """Register the gradient rule of all operands: returns their gradients (a tuple if there are several operands; None for none).

        A rule names what it needs, and only that is kept alive: operands by name, ``y`` (``ys`` if multi) the output, ``g`` (``gs``) its
        gradient, attrs by name, ``shapes`` and ``dtypes`` of the operands, ``want`` (which operands need one), ``xs`` all operands.
        Rules use operators and ops only, so that they work on Variables (recorded, differentiable) and on plain arrays.
        """
        self.rules.append((rule, None))
        return rule

    def vjp_of(self, *names):
        """Like ``vjp`` for one operand: the decorated rule returns that operand's gradient and runs only when it is needed."""
        def register(rule):
            self.rules.append((rule, tuple(self.params.index(n) for n in names)))
            return rule
        return register

    def program(self, mask, n):
        """The gradient program for operands whose bits are set in ``mask``, of ``n`` operands."""
        key = mask | 1 << n
        found = self.programs.get(key)
        if found is None:
            found = self.programs[key] = Program(self, mask, n)
        return found


def _find_op(name):
    return OPS[name]


def _operand_names(forward):
    params = list(inspect.signature(forward).parameters.values())[1:]
    return tuple(p.name for p in params if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))


def elementwise(name=None, *, fast=None, domain=(-2.0, 2.0), samples=None, multi=False, decompose=None, **meta):
    """Declare an elementwise operation from its body ``f(xp, x, ...)``; see ``Op``. ``domain`` bounds the derived samples."""
    return lambda body: Op(name or body.__name__, body, "elementwise", fast=fast, multi=multi, samples=samples, domain=domain,
                           decompose=decompose, meta=meta)


def operation(name=None, kind="opaque", *, fast=None, samples=None, multi=False, decompose=None, **meta):
    """Declare any other operation from its body ``f(xp, x, ..., *, attr)``; see ``Op``."""
    return lambda body: Op(name or body.__name__, body, kind, fast=fast, multi=multi, samples=samples, decompose=decompose, meta=meta)
