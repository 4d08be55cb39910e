"""Triggers fire when they should, also when they are asked seldom or training was resumed."""
from types import SimpleNamespace

import numpy as np
import pytest

from hybridnn.serializers import DictionarySerializer, NpzDeserializer
from hybridnn.training import get_trigger, triggers

PER_EPOCH = 4


def at(iteration, **observation):
    updater = SimpleNamespace(iteration=iteration, epoch=iteration // PER_EPOCH, epoch_detail=iteration / PER_EPOCH,
                              previous_epoch_detail=(iteration - 1) / PER_EPOCH)
    return SimpleNamespace(updater=updater, observation=observation, elapsed_time=float(iteration))


def fired(trigger, iterations, **kwargs):
    return [i for i in iterations if trigger(at(i, **kwargs))]


def resumed(trigger, make):
    """A new trigger with the state of ``trigger``, through a serializer."""
    saver, other = DictionarySerializer(), make()
    trigger.serialize(saver)
    other.serialize(NpzDeserializer({k: np.array(v) for k, v in saver.target.items()}))
    return other


CASES = {
    "every third iteration": (lambda: triggers.IntervalTrigger(3, "iteration"), [3, 6, 9, 12]),
    "epochs": (lambda: triggers.IntervalTrigger(1, "epoch"), [4, 8, 12]),
    "half epochs": (lambda: triggers.IntervalTrigger(0.5, "epoch"), [2, 4, 6, 8, 10, 12]),
    "one point": (lambda: triggers.ManualScheduleTrigger(5, "iteration"), [5]),
    "epochs by hand": (lambda: triggers.ManualScheduleTrigger([0.5, 2], "epoch"), [2, 8]),
    "no point": (lambda: triggers.ManualScheduleTrigger([], "iteration"), []),
    "once": (triggers.OnceTrigger, [1]),
    "seconds": (lambda: triggers.TimeTrigger(5), [6, 11]),
    "pair": (lambda: get_trigger((6, "iteration")), [6, 12]),
}


@pytest.mark.parametrize("name", CASES)
def test_when_a_trigger_fires(name):
    make, expected = CASES[name]
    assert fired(make(), range(1, 13)) == expected


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("split", [1, 4, 5, 9])
def test_a_resumed_trigger_goes_on(name, split):
    make, expected = CASES[name]
    first = make()
    before = fired(first, range(1, split + 1))
    assert before + fired(resumed(first, make), range(split + 1, 13)) == expected


@pytest.mark.parametrize("name", [name for name in CASES if name != "seconds"])
@pytest.mark.parametrize("split", [1, 4, 5, 9])
def test_a_snapshot_that_knows_nothing_of_the_trigger(name, split):
    """As those of Chainer's early versions: a warning, and the trigger goes on from where its next call finds the training."""
    make, expected = CASES[name]
    trigger = make()
    with pytest.warns(UserWarning, match="the snapshot has no '"):
        trigger.serialize(NpzDeserializer({}))
    assert fired(trigger, range(split + 1, 13)) == [i for i in expected if i > split]
    if hasattr(trigger, "finished"):
        assert trigger.finished


def test_asked_seldom():
    assert fired(triggers.IntervalTrigger(3, "iteration"), [2, 4, 5, 12]) == [4, 12]
    assert fired(triggers.ManualScheduleTrigger([3, 5], "iteration"), [2, 4, 9, 10]) == [4, 9]


def test_never_and_nonsense():
    assert fired(get_trigger(None), range(10)) == []
    assert get_trigger(len) is len
    for make in (triggers.IntervalTrigger, triggers.ManualScheduleTrigger):
        with pytest.raises(ValueError, match="'epoch' or 'iteration'"):
            make(1, "second")
    with pytest.raises(ValueError, match="positive"):
        triggers.IntervalTrigger(0, "epoch")


def test_finished_triggers_say_so():
    schedule = triggers.ManualScheduleTrigger([2, 3], "iteration")
    once, twice = triggers.OnceTrigger(), triggers.OnceTrigger(True)
    assert not schedule.finished and not once.finished
    fired(schedule, [1, 2, 3]), fired(once, [1])
    assert schedule.finished and once.finished
    fired(twice, [1])
    assert resumed(twice, lambda: triggers.OnceTrigger(True))(at(2)) and not resumed(once, triggers.OnceTrigger)(at(2))
    assert str(triggers.IntervalTrigger(2, "epoch")) == "IntervalTrigger(2, 'epoch')"


VALUES = [3.0, 1.0, 2.0, 0.5, 4.0, 4.0]


@pytest.mark.parametrize("make, expected", [(triggers.MaxValueTrigger, [1, 5]), (triggers.MinValueTrigger, [1, 2, 4])])
@pytest.mark.parametrize("split", [6, 3])
def test_best_values(make, expected, split):
    new = lambda: make("x", (1, "iteration"))
    first = new()
    hits = [i for i, v in enumerate(VALUES[:split], 1) if first(at(i, x=v))]
    second = resumed(first, new)
    assert hits + [i for i, v in enumerate(VALUES, 1) if i > split and second(at(i, x=v))] == expected


def test_best_values_are_means():
    trigger = triggers.MaxValueTrigger("x", (2, "iteration"))
    hits = [i for i, x in enumerate((0, 4, 5, -2, 2, 3), 1) if trigger(at(i, x=float(x)))]
    assert hits == [2, 6]


def test_a_value_that_is_not_reported():
    with pytest.warns(UserWarning, match="x has not been reported"):
        assert not triggers.MaxValueTrigger("x", (1, "iteration"))(at(1, y=2))


@pytest.mark.parametrize("values, stops, kwargs", [
    ([3, 1, 2, 1, 1, 0], 5, dict(monitor="loss")),
    ([3, 1, 2, 0, 1, 1], 3, dict(monitor="loss", patience=1)),
    ([3, 1, 2, 0, 1, 1], 3, dict(monitor="loss", patients=1)),
    ([1, 2, 3, 3, 2, 9], 5, dict(monitor="accuracy", patience=2)),
    ([1, 2, 3, 3, 2, 9], 5, dict(monitor="loss", mode="max", patience=2)),
    ([3, 2, 1, 0, 1, 1], 2, dict(monitor="loss", max_trigger=(2, "iteration")))])
def test_early_stopping(values, stops, kwargs):
    trigger = triggers.EarlyStoppingTrigger((1, "iteration"), **kwargs)
    hits = [i for i, v in enumerate(values, 1) if trigger(at(i, **{kwargs["monitor"]: float(v)}))]
    assert hits[0] == stops


def test_early_stopping_speaks_and_is_saved(capsys):
    new = lambda: triggers.EarlyStoppingTrigger((1, "iteration"), "loss", patience=2, verbose=True)
    first = new()
    assert [first(at(i, loss=1.0)) for i in (1, 2)] == [False, False]
    assert resumed(first, new)(at(3, loss=1.0))
    assert "did not beat 1.0" in capsys.readouterr().out
    assert first.get_training_length() == (100, "epoch")
    with pytest.warns(UserWarning, match="starts anew"):
        first.serialize(NpzDeserializer({}))
    assert first.best == 1
    with pytest.raises(ValueError, match="mode"):
        triggers.EarlyStoppingTrigger(mode="up")
    with pytest.raises(TypeError, match="old name"):
        triggers.EarlyStoppingTrigger(patience=1, patients=1)
