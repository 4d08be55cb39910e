"""Errors of operations that say what they saw, and what debug mode looks for."""
import re
import traceback

import numpy as np

from hybridnn.backend import get_array_module, is_array
from hybridnn.config import config
from hybridnn.errors import InvalidType, is_own, user_line
from hybridnn.spec import spec_of

__all__ = ["add_stack", "check_nan", "explain", "remember_stack"]


def explain(op, arrays, attrs, error):
    """``error``, that NumPy raised, as an ``InvalidType`` that names the operation and its operands."""
    names = op.params if len(op.params) == len(arrays) else [f"x{i}" for i in range(len(arrays))]
    seen = ", ".join(f"{n}: {_describe(a)}" for n, a in zip(names, arrays, strict=True))
    if attrs:
        seen += "; " + ", ".join(f"{k}={v!r}" for k, v in attrs.items())
    return InvalidType(op.name, "operands that fit together", seen, _reason(dict(zip(names, arrays, strict=True)), str(error).splitlines()[0]))


def _reason(named, text):
    """Why operands do not fit; NumPy's text, where nothing plainer is known."""
    nothing = [name for name, x in named.items() if x is None]
    if nothing:
        return f"{nothing[0]} is None, as a gradient that is not there, and what a function gives that returns nothing"
    sizes = re.search(r"core dimension .* \(size (\d+) is different from (\d+)\)", text)
    if sizes:
        return f"the axes that are summed over have {sizes[2]} and {sizes[1]} elements"
    batches = re.findall(r"(\(\S*\))->", text)
    return f"the axes before the last two of {' and '.join(batches)} do not broadcast" if batches else text.strip()


def _describe(x):
    return str(spec_of(x)) if is_array(x) or type(x) in (int, float, bool, complex) or isinstance(x, np.generic) else f"{type(x).__name__} {x!r:.60}"


def remember_stack(result):
    """In debug mode: a node knows where it was applied, so that an error in backward can say it."""
    node = (result[0] if type(result) is tuple else result).creator_node
    if node is not None:
        node.stack = traceback.extract_stack()


def add_stack(error, node):
    """In debug mode: say in the text of an error of a node's gradient where the node was applied."""
    if config.debug and node.stack is not None:
        lines = [line for line in node.stack if not is_own(line.filename)] or node.stack
        text = f"{error}\nStacktrace of {node.label}, which this is the gradient of:\n{''.join(traceback.format_list(lines))}"
        error.args = (text, *error.args[1:])


def check_nan(label, direction, arrays):
    """In debug mode: raise ``RuntimeError`` if an array has a NaN."""
    for i, a in enumerate(arrays):
        if a is not None and a.dtype.kind in "fc" and bool(get_array_module(a).isnan(a).any()):
            what = "result" if direction == "forward" else "gradient"
            raise RuntimeError(f"NaN is detected on {direction} computation of {label}\n  in {what} {i}, {spec_of(a)}\n"
                               f"  hint: this check belongs to config.debug\n  at {user_line(2)}")
