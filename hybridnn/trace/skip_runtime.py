"""What the text of a plan calls beside NumPy and the compiled stages."""
import numpy as np

from hybridnn.config import config, global_config
from hybridnn.core.variable import Variable, replaying
from hybridnn.errors import raised_by_signal
from hybridnn.trace.failures import Unexpected, as_defect
from hybridnn.trace.operands import array_of
from hybridnn.trace.skip_plan import OTHERWISE, Refused

__all__ = ["copied", "grad_of", "gradient", "keep_others", "new", "put_back", "refuse", "setting", "take", "take_back", "unscale"]

new, copied = object.__new__, np.array


def refuse(error, written, counted, draws):
    """Take counters back; the program itself will raise the error where it belongs. What only came out otherwise may fit another path."""
    unexpected = type(error) is Unexpected
    if written or not unexpected and (getattr(error, "after_update", False) or raised_by_signal(error)):
        raise error
    for steps in counted:
        steps[0] -= 1
    if unexpected and not draws:
        return OTHERWISE
    return Refused(draws, as_defect(error), unexpected)


def keep_others():
    """The plan is about to write: what is pending in calls of other threads rests on what arrays hold now."""
    for call in list(replaying):
        call.keep_values()


def take_back(undone):
    """Arrays get back the parts that NumPy has written into, the last one first."""
    for a, part, old in reversed(undone):
        a[part] = old


def setting(key):
    """The effective value of a configuration key, without noting that it was read; NotImplemented if there is none (a block set it where it was read)."""
    values = config.overrides()
    return values[key] if key in values else global_config.__dict__.get(key, NotImplemented)


def unscale(nodes):
    """The gradients just stored are not scaled, whatever those before them were."""
    for n in nodes:
        n.loss_scale = None


def gradient(a, requires_grad):
    """The Variable of a gradient."""
    v = new(Variable)
    v._array = a
    if not requires_grad:
        v._requires_grad = False
    return v


def grad_of(node):
    """A node's gradient as an array, or None."""
    return array_of(node.grad)


def take(nodes):
    """The nodes' gradients, which they have no more: from now on nobody can come upon one who has not got it already."""
    old = [n.grad for n in nodes]
    for n in nodes:
        n.grad = None
    return old


def put_back(nodes, old):
    """What was taken, where nothing has come in its place."""
    for n, g in zip(nodes, old):
        if n.grad is None:
            n.grad = g
