"""Forty training steps as users write them: each is observed to be what it is without the trace, and Python is skipped, except where a reason is given."""
import pytest
from idioms_learning import IDIOMS as LEARNING
from idioms_models import IDIOMS as MODELS
from worlds import MODES, check

IDIOMS = {**LEARNING, **MODELS}
SENSITIVE = ("simclr", "transformer")      # the first steps of Adam magnify the rounding of gradients near zero
RUNS = {"a2c": "gradients are scaled in place before the update", "user_function": "a function with its own Python"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", IDIOMS)
def test_idiom(name, mode):
    w = check(IDIOMS[name], mode, tolerance=1000.0 if name in SENSITIVE else 1.0)
    if mode == "auto" and name not in RUNS:
        assert w.total("python_skipped") >= 0.4 * w.total("calls"), [t.explain() for t in w]
