"""What proofs take, and what pays for them.

To follow Python and to plan takes as long as some ten eager calls. One signature that repeats soon has that back; of sequences of many lengths each may
come but a few times. So what proofs take is paid for, in seconds: a callable begins with some (``memory.patience``), plans earn more, and without, a
signature is proved once its eager calls have taken as long as a proof does: as when skis are rented until that has cost what they do (Karlin et al.,
Algorithmica 3, 1988). Of what it begins with each proof takes half at least, until its plan shows that calls come back: where ways through Python are many,
these may never do.
"""
import math
from dataclasses import dataclass

__all__ = ["PATIENCE", "CallTimes", "has_come_back", "has_proved", "may_prove", "has_waited", "was_followed"]

PATIENCE, SAVED = 3.0, 0.25      # seconds to begin with; what part of a call that Python ran a plan saves at least


@dataclass(slots=True)
class CallTimes:
    """What calls of one signature have taken, in seconds."""
    waited: float = 0.0           # those that waited for a proof, since the last one
    followed: float = 0.0         # those that were recorded or followed, since the last proof
    shortest: float = math.inf    # the shortest of all these


def has_waited(times, seconds):
    """A call has waited for a proof."""
    times.waited += seconds
    times.shortest = min(times.shortest, seconds)


def was_followed(times, seconds):
    """A call has been recorded, or followed."""
    times.followed += seconds
    times.shortest = min(times.shortest, seconds)


def may_prove(memory, times):
    """Whether the time that a proof takes has been earned, by all plans or by the calls of this signature."""
    return memory.patience >= memory.proof_seconds or times.waited >= memory.proof_seconds


def has_proved(memory, times, plan):
    """Pay for a proof; nothing for the first one, as what compiles is loaded and most kernels are compiled then. Whatever that takes, there is time for
    another one, which tells what they take otherwise."""
    paid, times.waited, times.followed = times.followed, 0.0, 0.0
    if memory.proof_seconds:
        advance = min(memory.advance, max(paid, memory.advance / 2))
        plan.withheld = max(0., advance - paid)
        memory.advance -= advance
        memory.patience -= paid + plan.withheld
    memory.proof_seconds = min(paid, (memory.proof_seconds + paid) / 2) if memory.proof_seconds else min(paid, PATIENCE)
    plan.saves = SAVED * times.shortest


def has_come_back(memory, plan):
    """A call has run by a plan for the first time."""
    memory.advance += plan.withheld
    memory.patience += plan.withheld
    plan.withheld = 0.
