"""Timing nested calls by name: what the timer hooks of links and functions are made of."""
import sys
import time

__all__ = ["CallTimer", "TimesCalls"]

_FACTORS = {"sec": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class CallTimer:
    """A stack of running calls and the history of finished ones.

    Attributes:
        call_history: pairs of a name and seconds, in the order in which calls ended.
    """

    def __init__(self):
        self.call_history = []
        self._running = []
        self._total = 0.0

    def start(self):
        """A call begins."""
        self._running.append(time.perf_counter())

    def stop(self, name):
        """The innermost running call, of that name, ends."""
        seconds = time.perf_counter() - self._running.pop()
        self.call_history.append((name, seconds))
        if not self._running:
            self._total += seconds

    def total_time(self):
        """Seconds in calls that were not inside others."""
        return self._total

    def summary(self):
        """For each name a dict of ``elapsed_time`` (seconds) and ``occurrence``, in order of first end."""
        found = {}
        for name, seconds in self.call_history:
            record = found.setdefault(name, {"elapsed_time": 0, "occurrence": 0})
            record["elapsed_time"] += seconds
            record["occurrence"] += 1
        return found

    def report(self, title, unit="auto", file=None):
        """Print the summary as a table.

        Args:
            title: heading of the names.
            unit: ``"sec"``, ``"ms"``, ``"us"``, ``"ns"``; ``"auto"`` for what suits the largest, ``"auto_foreach"`` for what
                suits each.
            file: where to; None: standard output.
        """
        if unit not in ("auto", "auto_foreach", *_FACTORS):
            raise ValueError(f"unit is 'auto', 'auto_foreach' or one of {', '.join(_FACTORS)}; got {unit!r}")
        file = sys.stdout if file is None else file
        records = self.summary()
        if unit == "auto":
            unit = _suitable(max((r["elapsed_time"] for r in records.values()), default=0))
        rows = [(title, "ElapsedTime", "Occurrence")]
        rows += [(name, _text(r["elapsed_time"], unit), str(r["occurrence"])) for name, r in records.items()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            file.write("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + "\n")
        if hasattr(file, "flush"):
            file.flush()


class TimesCalls:
    """What the timer hooks of functions and links have in common: a ``CallTimer``, and what it found.

    Attributes:
        call_history: pairs of a name and seconds.
        table: how many of each unit make a second.
    """
    table = _FACTORS
    _title: str        # heading of the names in the report

    def __init__(self):
        self._timer = CallTimer()

    @property
    def call_history(self):
        return self._timer.call_history

    def total_time(self):
        """Seconds in calls that were not inside others."""
        return self._timer.total_time()

    def summary(self):
        """For each name a dict of ``elapsed_time`` and ``occurrence``."""
        return self._timer.summary()

    def print_report(self, unit="auto", file=None):
        """Print names, times and numbers of calls; see ``CallTimer.report`` for ``unit``."""
        self._timer.report(self._title, unit, file)


def _suitable(seconds):
    """The largest unit in which a time is at least 1."""
    return next((unit for unit, factor in _FACTORS.items() if seconds * factor >= 1), "ns")


def _text(seconds, unit):
    unit = _suitable(seconds) if unit == "auto_foreach" else unit
    return f"{seconds * _FACTORS[unit]:3.2f}{unit}"
