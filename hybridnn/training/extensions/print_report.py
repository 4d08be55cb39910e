"""``PrintReport`` shows a ``LogReport`` as a table."""
import sys

from hybridnn.training.extension import Extension
from hybridnn.training.extensions.log_report import LogReport

__all__ = ["PrintReport"]


class PrintReport(Extension):
    """A table of the log, a line per interval.

    Args:
        entries: names of the columns.
        log_report: name of the LogReport in the trainer, or a LogReport of its own.
        out: where to write; None: standard output at the time of writing.
    """

    def __init__(self, entries, log_report="LogReport", out=None):
        if isinstance(entries, str):
            raise TypeError(f"PrintReport takes a list of names, not a text\n  hint: PrintReport([{entries!r}])")
        self._entries, self._log_report, self._out = entries, log_report, out
        self._widths = [max(10, len(e)) for e in entries]
        self._header_due, self._printed = True, 0

    def __call__(self, trainer):
        if self._header_due:
            self._write("  ".join(f"{e:{w}}" for e, w in zip(self._entries, self._widths)) + "\n")
            self._header_due = False
        log = self._source(trainer).log
        for row in log[self._printed:]:
            self._write("\033[J" + "".join(_cell(row.get(e), w) for e, w in zip(self._entries, self._widths)) + "\n")
        self._printed = len(log)

    def _source(self, trainer):
        if isinstance(self._log_report, str):
            return trainer.get_extension(self._log_report)
        if not isinstance(self._log_report, LogReport):
            raise TypeError(f"PrintReport: expected log_report to be a name or a LogReport, found {type(self._log_report).__name__}")
        self._log_report(trainer)
        return self._log_report

    def _write(self, text):
        out = sys.stdout if self._out is None else self._out
        out.write(text)
        if hasattr(out, "flush"):
            out.flush()

    def initialize(self, trainer):
        """After a resumed snapshot, the lines of the log so far are shown again."""
        self._printed = 0

    def serialize(self, serializer):
        if isinstance(self._log_report, Extension):
            self._log_report.serialize(serializer["_log_report"])


def _cell(value, width):
    return " " * (width + 2) if value is None else f"{value:<{width}g}  "
