"""The loop: order of events, errors, a real training run, and going on from a snapshot as if nothing had happened."""
import json
import os

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import training
from hybridnn.datasets import TupleDataset
from hybridnn.iterators import SerialIterator
from hybridnn.serializers import load_npz, save_npz
from hybridnn.training import extensions


class Regression(hnn.Chain):
    """A line with noise, which reports its loss."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.line = L.Linear(3, 1)

    def forward(self, x, t):
        loss = F.mean_squared_error(self.line(x), t)
        hnn.report({"loss": loss}, self)
        return loss


def data(n=12):
    rng = np.random.RandomState(0)
    x = rng.uniform(-1, 1, (n, 3)).astype("f")
    return TupleDataset(x, x @ np.array([[1], [2], [3]], "f") + 1)


def make_trainer(out, length=(3, "epoch"), optimizer=None, **kwargs):
    np.random.seed(1)
    model = Regression()
    optimizer = (optimizer or hnn.optimizers.Adam(0.1)).setup(model)
    updater = training.StandardUpdater(SerialIterator(data(), 4), optimizer, **kwargs)
    return training.Trainer(updater, length, out=str(out)), model


class Recorder(training.Extension):
    """Writes down the methods that are called."""

    def __init__(self, events, label, priority=100, trigger=(1, "iteration")):
        self.events, self.label, self.priority, self.trigger = events, label, priority, trigger

    def __call__(self, trainer):
        self.events.append((self.label, trainer.updater.iteration))

    def initialize(self, trainer):
        self.events.append((self.label, "initialize"))

    def finalize(self):
        self.events.append((self.label, "finalize"))

    def on_error(self, trainer, exc, tb):
        self.events.append((self.label, type(exc).__name__))


def test_order_of_events(tmp_path):
    trainer, _ = make_trainer(tmp_path / "new" / "folder", (4, "iteration"))
    events = []
    trainer.extend(Recorder(events, "low", 1), call_before_training=True)
    trainer.extend(Recorder(events, "high", 500, (2, "iteration")))
    trainer.run()
    assert events == [("high", "initialize"), ("low", "initialize"), ("low", 0), ("low", 1), ("high", 2), ("low", 2), ("low", 3),
                      ("high", 4), ("low", 4), ("high", "finalize"), ("low", "finalize")]
    assert os.path.isdir(tmp_path / "new" / "folder")
    assert trainer.elapsed_time > 0
    with pytest.raises(RuntimeError, match="runs once"):
        trainer.run()


def test_names_of_extensions(tmp_path):
    trainer, _ = make_trainer(tmp_path)
    events = []
    for label in "ab":
        trainer.extend(Recorder(events, label))
    trainer.extend(Recorder(events, "c"), name="third")

    @training.make_extension(trigger=(1, "epoch"), priority=training.PRIORITY_EDITOR)
    def function(trainer):
        pass
    trainer.extend(function)
    assert list(trainer._extensions) == ["Recorder", "Recorder_1", "third", "function"]      # the name that Chainer has for it
    assert trainer.get_extension("Recorder_1").label == "b" and trainer.get_extension("third").label == "c"
    assert trainer.get_extension("function") is function and function.priority == 200
    for act, error in ((lambda: trainer.get_extension("x"), ValueError), (lambda: trainer.extend(object()), TypeError),
                       (lambda: trainer.extend(function, name="training"), ValueError)):
        with pytest.raises(error):
            act()
    with pytest.raises(RuntimeError, match="not begun"):
        trainer.elapsed_time


def test_an_exception_reaches_extensions_and_the_caller(tmp_path, capsys):
    trainer, _ = make_trainer(tmp_path)
    events = []

    def fail(trainer):
        if trainer.updater.iteration == 2:
            raise KeyError("inside")

    class Bad(training.Extension):
        def __call__(self, trainer):
            pass

        def on_error(self, trainer, exc, tb):
            raise ValueError("second")
    for extension in (fail, Bad(), Recorder(events, "r")):
        trainer.extend(extension)
    with pytest.raises(KeyError, match="inside"):
        trainer.run()
    assert events == [("r", "initialize"), ("r", 1), ("r", "KeyError"), ("r", "finalize")]
    printed = capsys.readouterr().err
    assert "Exception in main training loop: 'inside'" in printed and "Exception in on_error of Bad: second" in printed


def test_a_line_is_learnt(tmp_path, capsys):
    trainer, model = make_trainer(tmp_path, (40, "epoch"))
    valid = SerialIterator(data(5), 2, repeat=False, shuffle=False)
    trainer.extend(extensions.Evaluator(valid, model))
    trainer.extend(extensions.LogReport(trigger=(10, "epoch")))
    trainer.extend(extensions.PrintReport(["epoch", "main/loss", "validation/main/loss"]))
    trainer.run()
    log = json.loads((tmp_path / "log").read_text())
    assert [row["epoch"] for row in log] == [10, 20, 30, 40] and [row["iteration"] for row in log] == [30, 60, 90, 120]
    assert log[-1]["validation/main/loss"] < 1e-3 < log[0]["main/loss"]
    np.testing.assert_allclose(model.line.W.array, [[1, 2, 3]], atol=0.05)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and lines[0].split() == ["epoch", "main/loss", "validation/main/loss"]
    assert lines[-1].removeprefix("\033[J").split()[0] == "40"


@pytest.mark.parametrize("autoload", [False, True])
@pytest.mark.parametrize("optimizer", [hnn.optimizers.Adam, hnn.optimizers.MomentumSGD, hnn.optimizers.MSVAG])
def test_going_on_from_a_snapshot_is_the_same_training(tmp_path, optimizer, autoload):
    def extended(out, length):
        trainer, model = make_trainer(out, length, optimizer())
        trainer.extend(extensions.ExponentialShift("alpha" if optimizer is hnn.optimizers.Adam else "lr", 0.9))
        trainer.extend(extensions.LogReport(trigger=(2, "iteration")))
        trainer.extend(extensions.snapshot(autoload=autoload), trigger=(5, "iteration"))
        return trainer, model
    whole, model = extended(tmp_path / "whole", (9, "iteration"))
    whole.run()
    half, _ = extended(tmp_path / "half", (5, "iteration"))
    half.run()
    state = np.random.get_state()
    resumed, other = extended(tmp_path / "half", (9, "iteration"))
    np.random.set_state(state)
    if not autoload:
        load_npz(tmp_path / "half" / "snapshot_iter_5", resumed)
    resumed.run()
    assert resumed.updater.iteration == 9
    for p, q in zip(model.params(), other.params()):
        np.testing.assert_array_equal(p.array, q.array)
    logs = [[row["main/loss"] for row in t.get_extension("LogReport").log] for t in (whole, resumed)]
    assert logs[0] == logs[1] and len(logs[0]) == 4
    with np.load(tmp_path / "half" / "snapshot_iter_5") as saved:
        assert resumed.elapsed_time > saved["_snapshot_elapsed_time"] > 0


def test_a_trainer_is_saved_before_it_runs(tmp_path):
    trainer, model = make_trainer(tmp_path, (2, "iteration"))
    trainer.extend(extensions.observe_lr(observation_key="x"))
    trainer.run()
    save_npz(tmp_path / "after", trainer)
    other, copied = make_trainer(tmp_path, (3, "iteration"))
    other.extend(extensions.observe_lr(observation_key="x"))
    load_npz(tmp_path / "after", other)
    np.testing.assert_array_equal(copied.line.W.array, model.line.W.array)
    assert other.updater.iteration == 2 and not other.is_before_training


# -------------------------------------------------------------------------------------------------------------- updaters

@pytest.mark.parametrize("convert", [lambda batch, device: hnn.dataset.concat_examples(batch, device),
                                     lambda batch, device: dict(zip("xt", hnn.dataset.concat_examples(batch)))])
def test_batches_as_tuples_and_dicts(tmp_path, convert):
    trainer, model = make_trainer(tmp_path, (1, "epoch"), converter=convert, device=-1)
    before = model.line.W.array.copy()
    trainer.run()
    assert not (before == model.line.W.array).any()
    assert trainer.updater.device == trainer.updater.input_device == hnn.get_device(-1)
    assert trainer.updater.get_optimizer("main").epoch == 1 and trainer.updater.get_iterator("main").epoch == 1


def test_a_loss_of_ones_own_and_single_arrays():
    link = L.Linear(2, 1)
    optimizer = hnn.optimizers.SGD(1.0).setup(link)
    seen = []

    def loss(x):
        seen.append(x.shape)
        return F.sum(link(x))
    updater = training.StandardUpdater({"main": SerialIterator([np.ones(2, "f")] * 4, 2)}, {"main": optimizer}, loss_func=loss,
                                       loss_scale=4.0, auto_new_epoch=False, input_device=-1)
    before = link.W.array.copy()
    updater.update()
    updater.update()
    np.testing.assert_allclose(link.W.array, before - 4, rtol=1e-5)
    assert seen == [(2, 2)] * 2 and optimizer.epoch == 0 and updater.is_new_epoch


class Square(hnn.Chain):
    """Half the squared distance from 3 times x, summed; the shape of W is found at the first call."""

    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.W = hnn.Parameter(1.0)

    def forward(self, x):
        if not self.W.is_initialized:
            self.W.initialize(x.shape[1:])
        loss = F.sum(F.square(self.W - 3 * x)) / 2
        hnn.report({"loss": loss}, self)
        return loss


@pytest.mark.parametrize("loss_scale", [None, 8.0])
@pytest.mark.parametrize("converter", [None, lambda b, d: (np.stack(b),), lambda b, d: {"x": np.stack(b)}])
def test_shares_of_a_batch(loss_scale, converter, tmp_path):
    """One step of SGD along the sum of the shares' gradients, each the sum over a third of the batch."""
    data = np.random.RandomState(0).randn(7, 2).astype("f")
    model = Square()
    optimizer = hnn.optimizers.SGD(0.1).setup(model)
    kwargs = {} if converter is None else {"converter": converter}
    updater = training.ParallelUpdater(SerialIterator(list(data), 7, shuffle=False), optimizer, loss_scale=loss_scale,
                                       devices={"main": -1, "second": "@numpy", "third": -1}, **kwargs)
    trainer = training.Trainer(updater, (2, "iteration"), str(tmp_path))
    seen = []
    trainer.extend(lambda t: seen.append(dict(t.observation)), name="see", trigger=(1, "iteration"))
    trainer.run(show_loop_exception_msg=False)
    w = np.ones(2)
    for observation in seen:
        losses = [np.sum((w - 3 * data[i::3]) ** 2) / 2 for i in range(3)]
        np.testing.assert_allclose([float(observation[f"{name}/loss"].array) for name in ("main", "second", "third")], losses, rtol=1e-5)
        w -= 0.1 * sum(np.sum(w - 3 * data[i::3], axis=0) for i in range(3))
    np.testing.assert_allclose(model.W.array, w, rtol=1e-5)
    assert optimizer.t == 2 == updater.iteration and optimizer.epoch == 2


def test_shares_for_models_of_ones_own():
    first, second = Square(), Square()
    optimizer = hnn.optimizers.SGD(0.5).setup(first)
    updater = training.ParallelUpdater(SerialIterator([np.full(1, x, "f") for x in (0, 1)], 2, shuffle=False), optimizer,
                                       models={"main": first, "other": second}, auto_new_epoch=False)
    updater.update()
    np.testing.assert_array_equal(first.W.array, [1.5])         # 1 - 0.5 ((1 - 0) + (1 - 3))
    np.testing.assert_array_equal(second.W.array, first.W.array)
    assert first.W.array is not second.W.array and optimizer.epoch == 0


def test_shares_need_models_or_devices():
    optimizer = hnn.optimizers.SGD().setup(Square())
    with pytest.raises(ValueError, match="models or devices"):
        training.ParallelUpdater(SerialIterator([1], 1), optimizer)
    with pytest.raises(KeyError, match="'main'"):
        training.ParallelUpdater(SerialIterator([1], 1), optimizer, devices={"second": -1})


def test_updaters_that_are_not_there():
    with pytest.raises(hnn.errors.BackendError, match="several GPUs"):
        training.updaters.MultiprocessParallelUpdater(None, None)
    for act in (training.Updater().update, training.Updater().get_all_optimizers, lambda: training.Extension()(None)):
        with pytest.raises(NotImplementedError):
            act()


def test_a_loss_function_without_length_counts():
    class Loss(hnn.ChainList):
        def forward(self, x):
            return F.sum(x)
    link = L.Linear(1, 1)
    loss, optimizer = Loss(), hnn.optimizers.SGD().setup(link)
    updater = training.StandardUpdater(SerialIterator([np.ones(1, "f")], 1), optimizer, loss_func=loss)
    link.W.array[...] = np.nan      # the target itself would not give a loss
    updater.update()
    assert updater.iteration == 1


def test_gradients_are_gathered_on_gpus_only():
    from hybridnn.training.updaters import multiprocess_parallel_updater as parallel
    for gather in (parallel.gather_grads, parallel.gather_params):
        with pytest.raises(RuntimeError, match="expected a link on a GPU"):
            gather(L.Linear(1, 1))
    assert not parallel.MultiprocessParallelUpdater.available()
