"""What stands in for a call's tracer for a while: nothing, or one that only gives numbers to values."""
from hybridnn.config import state
from hybridnn.core.application import run_checked, wrap_outputs
from hybridnn.core.variable import Variable
from hybridnn.trace.numbers import plain_numbers, traced

__all__ = ["Naming", "Paused"]


class Paused:
    """A block in which operations are not traced."""

    def __enter__(self):
        self.outer, state.tracer = state.tracer, None

    def __exit__(self, *exc):
        state.tracer = self.outer


class Naming:
    """The tracer while a gradient is computed again: gives the values inside the numbers that the recording gave them."""

    is_of_the_past = True      # gradients that other outputs were given since are no part of it

    def __init__(self, call, event):
        self.call, self.apps, self.host = call, iter(event.apps), iter(event.host)

    def __enter__(self):
        self.outer, state.tracer, self.call.naming = state.tracer, self, self

    def __exit__(self, *exc):
        state.tracer, self.call.naming = self.outer, None

    def derive(self, fn, args):
        """A number that a gradient rule computes from traced ones: it gets its name from the recording, too."""
        result = fn(*plain_numbers(args))
        vid, noted, _ = next(self.host, (None, None, None))
        return traced(result, vid, self.call) if noted is fn and type(result) in (float, int) else result

    def apply(self, op, inputs, attrs):
        """Compute with Python's own numbers; the tape keeps those that are followed."""
        arrays = [x.array if isinstance(x, Variable) else x for x in inputs]
        mask = sum(1 << i for i, x in enumerate(inputs) if isinstance(x, Variable) and x._requires_grad)
        result = wrap_outputs(op, inputs, arrays, attrs, mask, run_checked(op, plain_numbers(arrays), attrs))
        app = next(self.apps, None)
        if app is not None and app.node.op is op:
            for v, vid in zip(result if op.multi else (result,), app.node.outputs, strict=True):
                self.call.know(v._array, vid)
                if v._tape is not None:
                    self.call.nodes[id(v._tape)] = vid
                    self.call.keep.append(v._tape)
        return result

    def note_function(self, function, gs):
        """No event of its own is a backward through a user's function."""
        return gs

    def note_hooks(self):
        """Nothing is recorded here."""

    def note_warning(self):
        """Nothing is recorded here."""

    def expose(self, v):
        """Nothing is pending."""

    def assign(self, v, a):
        """Nothing is pending."""
