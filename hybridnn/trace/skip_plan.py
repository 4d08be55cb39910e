"""What a proved path is: a ``Plan``, and what running one can give instead of a result."""
import weakref

__all__ = ["CHANGED", "GONE", "OTHERWISE", "RESTLESS", "STORES", "Miss", "Plan", "Refused", "killer"]


class Miss:
    """What a plan returns, instead of a result, for a guard that failed. ``decision``: the number of the plan's decision that came out otherwise, or None."""

    def __init__(self, reason="a condition came out otherwise", decision=None):
        self.reason, self.decision = reason, decision


class Refused:
    """What a plan returns when an operation has raised before anything was written: Python is to run, and gets the numbers already drawn. ``defect``: it is
    the plan's own text that is wrong. ``otherwise``: nothing has raised, but what NumPy computes came out of another kind."""

    def __init__(self, draws, defect=None, otherwise=False):
        self.draws, self.defect, self.otherwise = draws, defect, otherwise


CHANGED = Miss("what is computed before all else came out otherwise, or with a warning or an error")
OTHERWISE = Miss("what NumPy computes of what the call has computed came out of another kind, or with a warning or an error")
GONE = Miss("an object, or a member of one, that the plan was made for has gone")
RESTLESS = Miss("a namespace that the plan rests on changes again and again")
STORES = ("assign", "append", "hyper", "report")      # effects that keep a value, their last member


def _gone(self, args, kwargs):
    """What a plan does whose objects have gone."""
    return GONE


class Plan:
    """A proved path. ``run(self, args, kwargs)`` returns the result or a ``Miss``; ``source`` is the generated text, in which sizes are names, and
    ``code`` what it is compiled to.

    ``touched(self, args, kwargs)`` gives what a run changes: nodes of gradients, arrays, (object, attribute) pairs, counters, random streams.
    """

    def __init__(self, end, reads):
        self.end, self.config_reads = end, reads
        self.dead = False
        self.misses = self.hits = 0
        self.unsure, self.times = True, None   # whether eager may be faster; seconds of (skipped, eager) calls while that is being found out
        self.settled = ()       # what is computed before all else and decides what happens
        self.decisions = ()     # what Python decided by values: pairs (the event before, the outcome), in order
        self.saves = 0.0       # seconds that a call by it takes less than one that Python runs, at least
        self.withheld = 0.0    # seconds that further proofs may take once a call has run by it
        self.last_miss = None
        self.objects, self.used = ((), ()), 0       # places of the arguments that it guards by identity, and their ids; when it was used last
        self.leaves_graph = False       # whether its results are connected to a graph that backward can go through
        self.source, self.code = "", None
        self.run = self.touched = None
        self.let_go = None      # uncounts the references to arrays that it holds
        self.segments = []

    def kill(self):
        """Forget everything (a root object has gone)."""
        if self.let_go is not None:
            self.let_go()
        self.dead, self.run, self.touched, self.watched = True, _gone, None, None
        self.decisions = ()
        self.segments.clear()

    def is_refuted(self, other, number):
        """Whether this path cannot be the one on which ``other`` met a decision, of this number, that came out otherwise: both take the same decisions until
        one of them is known to be wrong here, too."""
        for k, (mine, theirs) in enumerate(zip(self.decisions[:number + 1], other.decisions)):
            if mine[0] is not theirs[0]:
                return False
            if (mine[1] == theirs[1]) is (k == number):
                return True
        return False


def killer(plan):
    """A callback for weak references, which does not keep the plan."""
    ref = weakref.ref(plan)

    def kill(_):
        if (plan := ref()) is not None:
            plan.kill()
    return kill
