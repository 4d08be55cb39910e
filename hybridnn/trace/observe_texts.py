"""Texts that the program makes, as the observer follows them."""
import numpy as np

from hybridnn.trace.computed import Computed, is_last
from hybridnn.trace.refs import SCALARS, Doubt, Ref, constant

__all__ = ["Texts"]


class Texts:
    """Instructions that format values."""

    def op_BUILD_STRING(self, f, i):
        parts = self._take(f, i.arg)
        text = "".join([p.value for p in parts])
        f.stack.append(self._text("".join, Ref("mirror", tuple(parts)), text) if any(p.kind == "text" for p in parts) else constant(text))

    def op_FORMAT_VALUE(self, f, i):
        spec = f.stack.pop() if i.arg & 4 else constant("")
        convert = {0: lambda v: v, 1: str, 2: repr, 3: ascii}[i.arg & 3]
        if spec.kind != "static" or spec.value.endswith("n"):
            raise Doubt("a format that is not the same on every call")
        self._push_text(f, lambda v: format(convert(v), spec.value))

    def _push_text(self, f, convert):
        ref = f.stack.pop()
        floating = ref.kind in ("arg", "array") and isinstance(ref.value, np.floating)
        if floating or ref.kind in ("arg", "number", "hole", "text") and type(ref.value) in (int, float, str):
            value, text = ref.value, self._text(convert, ref, convert(ref.value))
        else:
            value = self.formatted(ref)
            text = constant(convert(value))
        if type(value) in SCALARS:
            f.stack.append(text)
        else:
            f.waiting = ("make", None, [], {}, text)        # NumPy's own Python may run meanwhile, for a dtype

    def _text(self, fn, ref, text):
        """The Ref of a text that may be another one on the next call."""
        waits = is_last(ref)
        found = Ref("text", text, Computed(fn, [ref], {}, len(self.call.path), safe=True, last=waits))
        self.keep += [ref, found]
        if waits:
            self.effects.append(("compute", found))
        return found

    def formatted(self, ref):
        """A value whose text is the same on every call."""
        value = self.whole(ref)
        if not _is_textual(value):
            raise Doubt("formats a value")
        return value


def _is_textual(value):
    """Whether the text of a value depends on nothing else."""
    if type(value) in (list, tuple):
        return all(map(_is_textual, value))
    if type(value) is dict:
        return all(map(_is_textual, [*value, *value.values()]))
    return type(value) in SCALARS or type(value) in (range, slice) or isinstance(value, np.dtype)
