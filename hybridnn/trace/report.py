"""``explain()``: what a traced function has learned, as text and as data."""
from dataclasses import dataclass
from itertools import groupby

from hybridnn.trace.events import path_to, terminals
from hybridnn.trace.signature import described

__all__ = ["Explanation", "PathReport"]


@dataclass(frozen=True)
class PathReport:
    """One recorded path.

    Attributes:
        signature: the arguments' key.
        outcomes: what Python saw at each look at a value, in order: (kind, outcome or None, line).
        hits: replays from start to end.
        tier: ``"python skipped"``, ``"verified replay"`` or ``"eager"``.
        reason: why Python is not skipped, with file and line.
        segments: a tuple of tuples of the executables' step records.
        outside: how many of them, the last ones, are gradients that backward outside of the function has asked for.
        memory: of each segment, the bytes of its arena and of arena and outputs together, and the least that these could be for its order of steps.
    """
    signature: tuple
    outcomes: tuple
    hits: int
    tier: str
    reason: str
    segments: tuple
    outside: int
    memory: tuple


@dataclass(frozen=True)
class Explanation:
    """Prints as a report; ``paths``, ``eager`` and ``why`` are the facts."""
    name: str
    stats: object
    paths: tuple
    eager: tuple
    why: tuple

    @classmethod
    def of(cls, memory):
        paths, eager = [], []
        for root in list(memory.roots.values()):
            if root.reason:
                eager.append((root.signature, root.reason))
            paths += [_path_report(memory, root, end) for end in terminals(root)]
        return cls(memory.name, memory.stats, tuple(paths), tuple(eager), tuple(memory.why))

    def __str__(self):
        lines = [f"{self.name}: {self.stats}"]
        for i, p in enumerate(self.paths):
            lines += [f"path {i}: {p.tier}, {p.hits} hits, signature {described(p.signature)}"]
            lines += [f"  python not skipped: {p.reason}"] if p.reason else []
            lines += [f"  {kind} -> {'any value' if outcome is None else outcome[1]}   at {line}" for kind, outcome, line in p.outcomes]
            for k, steps in enumerate(p.segments):
                where = ", backward outside" if k >= len(p.segments) - p.outside else ""
                lines += [f"  segment {k}{where}: {len(steps)} steps, {_memory(*p.memory[k])}", *[f"    {_step(s)}" for s in steps]]
        lines += [f"eager: signature {described(s)}: {r}" for s, r in self.eager]
        lines += _said_once([f"{what}: {text}" for what, text in self.why])[-10:]
        return "\n".join(lines)

    __repr__ = __str__


def _said_once(lines):
    """The lines; those that follow each other and are equal are one."""
    groups = [(line, len([*same])) for line, same in groupby(lines)]
    return [line if n == 1 else f"{line} ({n} times)" for line, n in groups]


def _step(s):
    ops = f" [{', '.join(s.ops)}]" if s.ops and s.ops != (s.name,) else ""
    reason = f" ({s.reason})" if s.reason else ""
    line = f"   {s.lines[0]}" if s.lines and s.lines[0] else ""
    return f"{s.kind:8} {s.name}{ops}{reason}{line}"


def _memory(arena, both, least):
    return f"memory {both} bytes (arena {arena}, the rest outputs), at least {least}"


def _plan_segments(memory, end):
    """Those of a plan that skips Python on a path; several plans may do that, under other guards."""
    return next((p.segments for p in memory.plans if p.end is end), [])


def _path_report(memory, root, end):
    path = path_to(end)
    outcomes = tuple((e.key[0], e.key[1], e.line) for e in path if e.kind == "read")
    executables = [s.executable for s in [*_plan_segments(memory, end), *[s for e in path for s in e.segments.values()]] if s.executable]
    planned = tuple((exe.arena_bytes, exe.memory_bytes, exe.memory_lower_bound) for exe in executables)
    tier = "eager" if root.reason else "verified replay" if end.doubt else "python skipped"
    outside = sum(s.executable is not None for s in end.segments.values())      # an end computes nothing itself
    return PathReport(root.signature, outcomes, end.hits, tier, root.reason or end.doubt, tuple(tuple(exe.steps) for exe in executables), outside, planned)
