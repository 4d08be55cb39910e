"""Exponential moving average of parameters."""
import contextlib

from hybridnn.core import apply_inplace, elementwise

__all__ = ["ExponentialMovingAverage", "averaged"]


@elementwise("update_average")
def averaged(xp, mean, p, decay, rise):
    """decay mean + rise p"""
    return decay * mean + rise * p


class ExponentialMovingAverage:
    """An optimizer hook that keeps a moving average of every parameter after each update (Polyak and Juditsky 1992).

    ``with ema.applied(model): evaluate()`` runs a block on the averages.

    Args:
        decay: how much of the average stays per update.
        warmup: use min(decay, (1 + n) / (10 + n)) at update n, so that the first values do not linger.
    """
    name = "ExponentialMovingAverage"
    timing = "post"

    def __init__(self, decay=0.999, warmup=False):
        if not 0 <= decay < 1:
            raise ValueError(f"decay lies in [0, 1), not {decay}")
        self.decay, self.warmup = decay, warmup
        self.updates = 0
        self.averages = {}

    def __call__(self, opt):
        self.update(opt.target)

    def update(self, link):
        """Move the averages towards the link's parameters; a parameter seen for the first time starts its average."""
        n = self.updates
        decay = min(self.decay, (1 + n) / (10 + n)) if self.warmup else self.decay
        for name, param in link.namedparams(False):
            if name in self.averages:
                apply_inplace(averaged, (self.averages[name], param, decay, 1.0 - decay), (0,))
            else:
                self.averages[name] = param.array.copy()
        self.updates += 1

    def copy_to(self, link):
        """Overwrite the link's parameters by their averages."""
        for name, param in link.namedparams(False):
            if name in self.averages:
                param.array[...] = self.averages[name]

    @contextlib.contextmanager
    def applied(self, link):
        """A block in which the link's parameters are the averages."""
        saved = [(param, param.array.copy()) for _, param in link.namedparams(False)]
        self.copy_to(link)
        try:
            yield link
        finally:
            for param, a in saved:
                param.array[...] = a

    def serialize(self, serializer):
        """Save the averages, or load those whose names are known (after one update, or ``update(link)`` on the model)."""
        self.updates = int(serializer("updates", self.updates))
        for name in self.averages:
            self.averages[name] = serializer(name.strip("/").replace("/", "-"), self.averages[name])
