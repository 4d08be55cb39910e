"""How many references to an array plans have: they read it, and write it in calls of their own. Whoever else holds one could do so at any time."""
import weakref
from collections import Counter

import numpy as np

__all__ = ["held_by_plans", "note_holdings"]

# id of an array -> {a token of each plan that holds it, and so keeps it alive: how often}. Plans may go at any time, also while the collector runs in the
# middle of a line here: each entry has one owner, which sets or drops it at once, so that never more are counted than there are.
_holders: dict[int, dict[object, int]] = {}


def held_by_plans(a):
    """How many of the references to ``a`` are those of plans, at the most recent count."""
    found = _holders.get(id(a))
    return sum(list(found.values())) if found else 0


def note_holdings(plan, names):
    """Count what a plan holds from now on, until it goes: in the names of its text, in tables among them, and as what it writes."""
    tables = [table for name, table in names.items() if name.startswith("table")]
    held = [*names.values(), *[x for table in tables for row in table for x in row], *names["shares"].__self__.arrays]
    token = object()
    counts = Counter([id(a) for a in held if type(a) is np.ndarray])
    for key, n in counts.items():
        _holders.setdefault(key, {})[token] = n
    plan.let_go = weakref.finalize(plan, _forget, tuple(counts), token)
    plan.let_go.atexit = False


def _forget(keys, token):
    for key in keys:
        found = _holders.get(key)
        if found is not None:
            found.pop(token, None)
            if not found:
                _holders.pop(key, None)
