"""The operations that there are, by name, and what each does backward for a pattern of operands that need gradients."""
import inspect

import numpy as np

from hybridnn.backend import is_array

__all__ = ["NO_ATTRS", "OPS", "RELEASED", "Program", "as_ndarray", "listed"]

NO_ATTRS: dict = {}
OPS: dict = {}
RELEASED = ("released",)      # in place of what a node saved, once it is given up


def as_ndarray(y):
    """``y`` as an array: NumPy's scalars become arrays without axes."""
    return y.__array__() if isinstance(y, np.generic) else y if is_array(y) else _array_of(y)


def _array_of(y):
    a = np.asarray(y)
    if a.dtype.kind == "O":
        raise TypeError(f"{type(y).__name__} is neither an array nor a number")
    return a


class Program:
    """What an op does backward for one pattern of operands that need gradients: what to keep, and which rules to run."""

    def __init__(self, op, mask, n):
        self.op, self.mask, self.n = op, mask, n
        self.want = tuple(bool(mask >> i & 1) for i in range(n))
        chosen = [(r, t) for r, t in op.rules if t is None or any(self.want[i] for i in t)]
        names = [list(inspect.signature(r).parameters) for r, _ in chosen]
        needed = {name for ns in names for name in ns} - {"g", "gs"}      # these mean the output's gradient, whatever operands are called
        self.keep = tuple(range(n)) if "xs" in needed else tuple(i for i, p in enumerate(op.params) if p in needed)
        self.keep_output = bool({"y", "ys"} & needed - set(op.params))       # an operand may be called y
        self.needs_specs = bool({"shapes", "dtypes"} & needed)
        self.calls = tuple((r, t, tuple(self._getter(p) for p in ns)) for (r, t), ns in zip(chosen, names, strict=True))
        self.on_arrays = self._write(chosen, names)

    def _write(self, chosen, names):
        """``on_arrays(node, g)``: the list of gradients of plain arrays, as a function that does just that."""
        rules = {f"rule{k}": r for k, (r, _) in enumerate(chosen)}
        calls = [f"rule{k}({', '.join(self._expression(p, rules) for p in ns)})" for k, ns in enumerate(names)]
        if len(chosen) == 1 and chosen[0][1] is None:
            body = calls[0] if self.n > 1 else f"_listed({calls[0]})"
        else:
            parts = ["None"] * self.n
            for k, (_, targets) in enumerate(chosen):
                parts[targets[0]] = calls[k]
            body = f"[{', '.join(parts)}]"
        names_of = {**rules, "_listed": listed}
        text = f"def on_arrays(node, g):\n    s = node.saved\n    return {body}\n"
        exec(compile(text, f"{__file__} (gradients)", "exec"), names_of)        # a file of the library, not of the user
        return names_of["on_arrays"]

    def _expression(self, name, space):
        """How a rule's parameter is read from the node."""
        if name in self.op.params and name not in ("g", "gs"):
            return f"s[{self.keep.index(self.op.params.index(name))}]"
        if name in ("g", "gs"):
            return "g"
        if name in ("y", "ys"):
            return "node.out"
        if name == "xs":
            return "tuple(s)"
        if name in ("shapes", "dtypes"):
            return f"[x.{name[:-1]} for x in node.specs]"
        space[f"default_{name}"] = self.want if name == "want" else inspect.signature(self.op.forward).parameters[name].default
        return "default_want" if name == "want" else f"node.attrs.get({name!r}, default_{name})"

    def _getter(self, name):
        if name in self.op.params and name not in ("g", "gs"):
            position = self.keep.index(self.op.params.index(name))
            return lambda node, g, v: node.operand(position, v)
        special = {
            "g": lambda node, g, v: g, "gs": lambda node, g, v: g,
            "y": lambda node, g, v: node.output(v), "ys": lambda node, g, v: node.output(v),
            "xs": lambda node, g, v: tuple([node.operand(i, v) for i in range(len(node.program.keep))]),
            "shapes": lambda node, g, v: [s.shape for s in node.specs], "dtypes": lambda node, g, v: [s.dtype for s in node.specs],
            "want": lambda node, g, v: node.program.want}
        default = inspect.signature(self.op.forward).parameters[name].default if name not in special else None
        return special.get(name) or (lambda node, g, v: node.attrs.get(name, default))


def listed(value):
    """What a rule returned, one gradient per operand."""
    return value if type(value) in (tuple, list) else [value]
