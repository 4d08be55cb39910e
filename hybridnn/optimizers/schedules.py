"""Schedules: functions from the number of updates made to a value, and the hook that sets a hyperparameter from one.

``optimizer.add_hook(Schedule(warmup_cosine(1e-3, 100, 1000), "alpha"))``. Hyperparameters are run-time operands of the update,
so a traced step is not recorded anew when one changes.
"""
import bisect
import math

__all__ = ["Schedule", "constant", "cosine", "exponential", "inverse_sqrt", "joined", "linear", "one_cycle", "piecewise",
           "polynomial", "warmup", "warmup_cosine"]


class Schedule:
    """An optimizer hook that sets ``attr`` to ``schedule(t)`` before update number t (0 for the first).

    Args:
        schedule: a function of one integer.
        attr: the hyperparameter; None: ``alpha`` if the optimizer has one, else ``lr``.
    """
    timing = "pre"

    def __init__(self, schedule, attr=None):
        if not callable(schedule):
            raise TypeError(f"a schedule is a function of the number of updates, not {type(schedule).__name__}\n"
                            "  hint: schedules.constant(value), or another of them")
        self.schedule, self.attr = schedule, attr

    @property
    def name(self):
        return f"Schedule({self.attr or 'lr'})"

    def __call__(self, opt):
        # RMSprop has both names and alpha is not its learning rate, so lr goes first where it is a hyperparameter.
        attr = self.attr or ("lr" if "lr" in opt.hyperparam.get_dict() else "alpha")
        if attr not in opt.hyperparam.get_dict():
            known = ", ".join(sorted(opt.hyperparam.get_dict()))
            raise AttributeError(f"{type(opt).__name__} has no hyperparameter {attr!r}; known: {known}")
        setattr(opt.hyperparam, attr, self.schedule(opt.t))


def constant(value):
    """Always ``value``."""
    return lambda t: value


def linear(start, end, steps):
    """From ``start`` to ``end`` in ``steps`` updates, then ``end``."""
    _positive(steps=steps)
    return lambda t: start + (end - start) * min(t / steps, 1.0)


def polynomial(start, end, steps, power=2.0):
    """end + (start - end) (1 - t / steps)^power, then ``end``."""
    _positive(steps=steps)
    return lambda t: end + (start - end) * (1.0 - min(t / steps, 1.0)) ** power


def exponential(start, rate, steps=1, staircase=False):
    """start rate^(t / steps); ``staircase`` rounds the exponent down."""
    _positive(steps=steps)
    return lambda t: start * rate ** (t // steps if staircase else t / steps)


def cosine(start, steps, end=0.0, cycles=1):
    """Half a cosine from ``start`` to ``end`` in ``steps`` updates, ``cycles`` times over (arXiv 1608.03983, eq. 5)."""
    _positive(steps=steps, cycles=cycles)

    def schedule(t):
        x = 1.0 if t >= steps * cycles else t % steps / steps
        return end + (start - end) * (1 + math.cos(math.pi * x)) / 2
    return schedule


def inverse_sqrt(peak, steps):
    """Linear rise to ``peak`` at ``steps``, then peak sqrt(steps / t) (Vaswani et al. 2017, arXiv 1706.03762, eq. 3)."""
    _positive(steps=steps)
    return lambda t: peak * min((t + 1) / steps, math.sqrt(steps / (t + 1)))


def piecewise(boundaries, values):
    """``values[i]`` between ``boundaries[i - 1]`` and ``boundaries[i]``."""
    boundaries, values = list(boundaries), list(values)
    if len(values) != len(boundaries) + 1 or sorted(boundaries) != boundaries:
        raise ValueError("piecewise needs ascending boundaries and one value more than boundaries, "
                         f"not {boundaries} and {len(values)} values")
    return lambda t: values[bisect.bisect_right(boundaries, t)]


def joined(*parts):
    """Pairs ``(schedule, steps)`` one after the other, each counted from its own start; the last may have None steps."""
    if not parts or any(n is None for _, n in parts[:-1]):
        raise ValueError("joined needs pairs (schedule, steps); only the last may have steps None")

    def schedule(t):
        for part, steps in parts:
            if steps is None or t < steps:
                return part(t)
            t -= steps
        part, steps = parts[-1]
        return part(t + steps)
    return schedule


def warmup(schedule, steps, start=0.0):
    """Rises linearly from ``start`` to ``schedule(0)`` in ``steps`` updates, then follows ``schedule`` from its beginning."""
    return joined((linear(start, schedule(0), steps), steps), (schedule, None))


def warmup_cosine(peak, warmup_steps, total, end=0.0):
    """Linear rise to ``peak``, then half a cosine down to ``end`` at update ``total``."""
    _positive(**{"total - warmup_steps": total - warmup_steps})
    return warmup(cosine(peak, total - warmup_steps, end), warmup_steps)


def one_cycle(peak, total, rise=0.3, start_factor=0.04, end_factor=1e-4):
    """Cosine up from ``start_factor peak`` in a fraction ``rise`` of the steps, down to ``end_factor peak`` (arXiv 1708.07120).
    """
    up = max(1, round(total * rise))
    return joined((cosine(start_factor * peak, up, peak), up), (cosine(peak, max(1, total - up), end_factor * peak), None))


def _positive(**counts):
    for name, n in counts.items():
        if not n > 0:
            raise ValueError(f"a schedule's {name} is positive, not {n}")
