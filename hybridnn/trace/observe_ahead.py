"""What NumPy computes behind an update, of values that were there before it: a plan computes it before the update, while it is not too late to leave."""
import numpy as np

from hybridnn.trace.arrays import CLOCKS, Computed, below
from hybridnn.trace.events import vid_of

__all__ = ["Ahead"]


class Ahead:
    """Moves computations ahead of the first change in place that operations make."""

    def move_ahead(self, ref):
        """Whether a computation can be made just before the first update, of what it finds there; then it will be, and so will be what it rests on."""
        path = self.call.path
        first = next((k for k, e in enumerate(path) if e.kind == "inplace"), None)
        if first is None or self.errstates:
            return False
        made = {v for e in path[:first] for app in e.apps for v in app.node.outputs} | {vid_of(o) for e in path[:first] for o in e.operands}
        changed = {self.call.origin(old) for e in path[first:] for old, _ in e.rebinds} | {self.call.origin(v) for v in self.changed_at}
        refs = [*below(ref, lambda found: found.last or found.at > first)]
        if not all(self._comes_before(r, first, made, changed) for r in refs):
            return False
        moved = [r for r in refs if isinstance(r.source, Computed) and not r.source.drawn]
        self._wait_no_more([r for r in moved if r.source.last])
        for r in moved:
            r.source.at = min(r.source.at, first)
        return True

    def _comes_before(self, ref, first, made, changed):
        """Whether a value is what it is before event number ``first`` already."""
        found = ref.source
        if isinstance(found, Computed):
            if found.at <= first and not found.last:
                return True
            movable = not found.last or ref.kind in ("array", "number") and not any(e[0] == "decide" and e[1] is ref for e in self.effects)
            return movable and found.fn not in CLOCKS and not found.behind
        if ref.kind == "hole":
            return found[1] in self.call.path[:first]
        if ref.kind == "fresh":
            vid = found[1] if found else ref.value._vid
            return vid in made and self.call.origin(vid) not in changed
        return not isinstance(ref.value, np.ndarray) or not self.is_written(ref.value)

    def _wait_no_more(self, refs):
        """What would have been computed after all operations is computed where it may still warn or fail."""
        self.effects = [e for e in self.effects if e[0] != "compute" or not any(e[1] is r for r in refs)]
        self.computed += [r for r in refs if not r.source.safe]
        for r in refs:
            r.source.last = False
