"""Fixed random numbers for tests."""
import functools
import random
import types

import numpy as np

from hybridnn.backend import cupy, number_of_gpus
from hybridnn.testing.bundle import classes_of

__all__ = ["do_setup", "do_teardown", "fix_random", "generate_seed"]

_SEED = 100
_saved = []


def do_setup(deterministic=True):
    """Save the random states and seed NumPy's; undone by ``do_teardown``. Inner calls of nested ones do nothing."""
    _saved.append((random.getstate(), np.random.get_state()) if not _saved else None)
    if len(_saved) > 1:
        return
    seed = _SEED if deterministic else None
    np.random.seed(seed)
    if number_of_gpus():
        cupy.random.seed(seed)


def do_teardown():
    """Restore what the matching ``do_setup`` saved."""
    if not _saved:
        raise RuntimeError("do_teardown without do_setup")
    states = _saved.pop()
    if states is not None:
        random.setstate(states[0])
        np.random.set_state(states[1])


def generate_seed():
    """A seed drawn from the fixed random numbers; only inside ``fix_random``."""
    if not _saved:
        raise RuntimeError("generate_seed needs @testing.fix_random()")
    return int(np.random.randint(0x7fffffff))


def fix_random(*, setup_method="setUp", teardown_method="tearDown"):
    """Decorator of a test method, a test class or a parameterised one: the same random numbers on every run."""
    def decorate(decorated):
        if isinstance(decorated, types.FunctionType):
            return _around(decorated)
        for cls in classes_of(decorated):
            _fix_class(cls, setup_method, teardown_method)
        return decorated
    return decorate


def _around(method):
    @functools.wraps(method)
    def run(*args, **kwargs):
        do_setup()
        try:
            return method(*args, **kwargs)
        finally:
            do_teardown()
    return run


def _fix_class(cls, setup_method, teardown_method):
    set_up, tear_down = getattr(cls, setup_method, None), getattr(cls, teardown_method, None)

    def setup(self, *args):
        do_setup()
        if set_up is not None:
            set_up(self, *args)

    def teardown(self, *args):
        try:
            if tear_down is not None:
                tear_down(self, *args)
        finally:
            do_teardown()
    setattr(cls, setup_method, setup)
    setattr(cls, teardown_method, teardown)
