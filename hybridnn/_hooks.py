"""``Hookable``: named hooks before and after something, as optimizers and update rules have them."""
from collections import OrderedDict

from hybridnn.config import warn

__all__ = ["Hookable", "check_callable"]


class Hookable:
    """Named hooks in two queues, ``"pre"`` and ``"post"``, each called in order of registration.

    Args:
        warn_timing: warn of a hook whose ``timing`` attribute is unknown; it counts as ``"pre"``.
    """

    def __init__(self, warn_timing=False):
        self.queues = {"pre": OrderedDict(), "post": OrderedDict()}
        self.warn_timing = warn_timing

    def add(self, hook, name, timing):
        check_callable(hook)
        timing = self._timing(hook, timing)
        name = name or getattr(hook, "name", None) or getattr(hook, "__name__", None)
        if name is None:
            raise ValueError(f"the hook {hook!r} has no name\n  hint: pass name=..., or give it an attribute `name`")
        if any(name in queue for queue in self.queues.values()):
            raise KeyError(f"a hook called {name!r} is there already\n  hint: remove_hook({name!r}) first, or pass another name")
        self.queues[timing][name] = hook

    def _timing(self, hook, timing):
        if timing not in ("pre", "post", "auto"):
            raise ValueError(f"timing is 'pre', 'post' or 'auto', not {timing!r}")
        if timing != "auto":
            return timing
        timing = getattr(hook, "timing", "pre")
        if timing in self.queues:
            return timing
        if self.warn_timing:
            warn(f"the hook's timing {timing!r} is neither 'pre' nor 'post'; it runs as 'pre'", stacklevel=4)
        return "pre"

    def remove(self, name):
        for queue in self.queues.values():
            if queue.pop(name, None) is not None:
                return
        known = ", ".join(n for queue in self.queues.values() for n in queue)
        raise KeyError(f"there is no hook called {name!r}; known: {known or 'none'}")

    def hooks(self, timing):
        if timing not in self.queues:
            raise ValueError(f"timing is 'pre' or 'post', not {timing!r}")
        return list(self.queues[timing].values())


def check_callable(hook):
    """Raise ``TypeError`` for a hook that cannot be called."""
    if not callable(hook):
        raise TypeError(f"a hook is a callable, not {type(hook).__name__}")
