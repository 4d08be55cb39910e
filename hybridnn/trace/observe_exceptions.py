"""Exceptions that an instruction is known to raise, and that a handler of the same function catches, as the observer follows them."""
import dis
import functools

from hybridnn.trace.refs import Doubt, Ref, constant

__all__ = ["Exceptions"]


@functools.lru_cache(1024)
def _entries(code):
    return tuple(dis.Bytecode(code).exception_entries)


def _entry(code, offset):
    """The handler of an instruction, or None."""
    return next((e for e in _entries(code) if e.start <= offset < e.end), None)


class Exceptions:
    """Instructions of handlers. An exception itself is not looked at."""

    def will_raise(self, f, offset, raised, stack):
        """The instruction at ``offset`` raises in CPython, too: the handler goes on with the ``stack`` as it was before."""
        entry = _entry(f.code, offset)
        if entry is None:
            raise raised
        f.stack, f.kwnames = stack, ()
        f.waiting = ("raise", raised.kind, [offset], {}, entry)

    def has_raised(self, f, frame, kind):
        """CPython has raised an exception."""
        if f.real is not frame or f.waiting is None or f.waiting[0] != "raise" or f.waiting[1] is not kind:
            raise Doubt("an exception is raised")
        (offset,), entry, f.waiting = f.waiting[2], f.waiting[4], None
        self._handle(f, offset, entry, Ref("exception", kind))

    @staticmethod
    def _handle(f, offset, entry, raised):
        """Go on where a handler begins."""
        f.stack = [*f.stack[:entry.depth], *([constant(offset)] if entry.lasti else []), raised]
        f.branch = f.handler = entry.target

    def op_PUSH_EXC_INFO(self, f, i):
        f.stack.insert(-1, Ref("null", None))

    def op_CHECK_EXC_MATCH(self, f, i):
        classes = self.use(f.stack.pop())
        options = [self.use(r) for r in classes.value] if classes.kind == "mirror" else [classes]
        found = [c for r in options for c in (r.value if type(r.value) is tuple else [r.value])]
        raised = f.stack[-1]
        if raised.kind != "exception" or any(r.kind != "static" for r in options) or not all(type(c) is type and issubclass(c, BaseException) for c in found):
            raise Doubt("catches what is no class of exceptions")
        f.stack.append(constant(issubclass(raised.value, tuple(found))))

    def op_POP_EXCEPT(self, f, i):
        f.stack.pop()

    def op_RERAISE(self, f, i):
        entry, raised = _entry(f.code, i.offset), f.stack[-1]
        if entry is None or raised.kind != "exception":
            raise Doubt("an exception is raised that no handler of the function catches")
        self._handle(f, i.offset, entry, raised)        # of which CPython does not tell again
