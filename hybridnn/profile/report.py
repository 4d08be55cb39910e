"""What a profile found: rows, a table, a page, a timeline."""
from dataclasses import dataclass, replace

from hybridnn.profile.page import page
from hybridnn.profile.timeline import chrome_trace

__all__ = ["Report", "Row", "Span"]

TITLES = ("", "time", "Python", "native", "kernels", "Python steps", "planned", "lower bound", "peak", "hits", "skipped",
          "recordings")


@dataclass(frozen=True)
class Row:
    """One kind of call. Times in seconds (medians), memory in bytes; None where the kind has no such thing.

    Attributes:
        name: "eager" or "traced".
        seconds: time of a call.
        native_seconds: the part spent in compiled segments, their Python steps included.
        kernels, python_steps, steps: generated kernels, steps that call Python, and all steps that a call runs.
        memory_planned, memory_lower_bound: arenas for intermediate values and the results of compiled segments, and the least that these could be
            for their order of steps.
        memory_peak: most memory allocated during a call beyond what was there before, arenas, results and Python objects included.
        hits, python_skipped, recordings: of the timed calls, the replays from start to end, those that ran no Python, and new
            recordings.
    """
    name: str
    seconds: float
    native_seconds: float | None = None
    kernels: int | None = None
    python_steps: int | None = None
    steps: int | None = None
    memory_planned: int | None = None
    memory_lower_bound: int | None = None
    memory_peak: int | None = None
    hits: int | None = None
    python_skipped: int | None = None
    recordings: int | None = None

    @property
    def python_seconds(self):
        """Time outside compiled segments."""
        return None if self.native_seconds is None else max(self.seconds - self.native_seconds, 0.0)


@dataclass(frozen=True)
class Span:
    """A stretch of time in the timeline of ``track`` ("eager" or "traced"), in seconds; ``steps`` are those of a segment."""
    track: str
    name: str
    start: float
    end: float
    steps: tuple = ()

    def moved(self, seconds):
        """The same, so much earlier."""
        return replace(self, start=self.start - seconds, end=self.end - seconds)


@dataclass(frozen=True)
class Report:
    """A profile; prints as a table.

    Attributes:
        name: of the function.
        repeat: timed calls of each kind.
        rows: a ``Row`` for eager and one for traced calls.
        difference: greatest relative difference of the results of eager and traced calls.
        differences: pairs (what, relative difference) of results beyond ``tolerance``; empty if eager and traced agree.
        spans: timelines of one call of each kind.
        explanation: what ``explain()`` gives.
    """
    name: str
    repeat: int
    rows: tuple[Row, ...]
    difference: float
    differences: tuple[tuple[str, float], ...]
    tolerance: float
    spans: tuple[Span, ...]
    explanation: object

    @property
    def eager(self):
        """The row of eager calls."""
        return self.rows[0]

    @property
    def traced(self):
        """The row of traced calls."""
        return self.rows[1]

    @property
    def speedup(self):
        """Time of an eager call over that of a traced one."""
        return self.eager.seconds / self.traced.seconds

    @property
    def agrees(self):
        """Whether eager and traced calls gave the same results, within the tolerance."""
        return not self.differences

    @property
    def notes(self):
        """What to know beside the table, a sentence each."""
        medians = f"medians of {self.repeat} calls each, in turn, from the same state"
        found = [f"traced is {self.speedup:.2f} x as fast as eager; {medians}"]
        if self.agrees:
            found.append(f"results of eager and traced agree: relative difference at most {self.difference:.1e}")
        found += [f"DIFFERENT: {what} (relative difference {d:.2g})" for what, d in self.differences[:10]]
        if self.traced.python_steps:
            found.append(f"native time includes {self.traced.python_steps} Python steps")
        if self.traced.hits == 0:
            reasons = [reason for _, reason in self.explanation.eager]
            found.append(f"no call was replayed: {'; '.join(reasons) or 'see explain()'}")
        return tuple(found)

    def cells(self):
        """The table as text: titles, then a tuple for each row."""
        return (TITLES, *[_cells(r) for r in self.rows])

    def __str__(self):
        table = self.cells()
        widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in table]
        rule = "  ".join("-" * w for w in widths)
        return "\n".join([f"profile of {self.name}", lines[0], rule, *lines[1:], *self.notes])

    __repr__ = __str__

    def save(self, path):
        """Write a page of HTML that needs nothing else: table, timelines, explanation."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(page(self))

    def to_chrome_trace(self, path):
        """Write the timelines in the trace-event format of chrome://tracing and Perfetto."""
        with open(path, "w", encoding="utf-8") as file:
            file.write(chrome_trace(self))


def _cells(r):
    counts = [_count(n) for n in (r.kernels, r.python_steps)]
    memory = [_size(n) for n in (r.memory_planned, r.memory_lower_bound, r.memory_peak)]
    return (r.name, *[_time(s) for s in (r.seconds, r.python_seconds, r.native_seconds)], *counts, *memory,
            *[_count(n) for n in (r.hits, r.python_skipped, r.recordings)])


def _count(n):
    return "-" if n is None else str(n)


def _time(s):
    if s is None:
        return "-"
    unit, scale = ("us", 1e6) if s < 1e-3 else ("ms", 1e3) if s < 1 else ("s", 1)
    return f"{s * scale:.1f} {unit}" if s * scale < 100 else f"{s * scale:.0f} {unit}"


def _size(n):
    if n is None:
        return "-"
    unit, scale = ("B", 1) if n < 1 << 10 else ("KiB", 1 << 10) if n < 1 << 20 else ("MiB", 1 << 20)
    return f"{n} B" if scale == 1 else f"{n / scale:.1f} {unit}"
