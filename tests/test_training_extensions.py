"""Extensions, one by one."""
import io
import math
import os
import pickle
import re
from types import SimpleNamespace

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import training
from hybridnn.iterators import SerialIterator
from hybridnn.serializers import DictionarySerializer, NpzDeserializer, load_npz
from hybridnn.training import extensions
from hybridnn.training.extensions import snapshot_writers as writers


class Updater(training.Updater):
    """Counts; four iterations are an epoch."""

    def __init__(self, optimizer=None, report=None):
        self.iteration, self.optimizer, self.report = 0, optimizer, report

    def update(self):
        if self.report is not None:
            hnn.report(self.report(self.iteration))
        self.iteration += 1

    epoch = property(lambda self: self.iteration // 4)
    epoch_detail = property(lambda self: self.iteration / 4)

    def get_all_optimizers(self):
        return {} if self.optimizer is None else {"main": self.optimizer}

    def get_optimizer(self, name):
        return self.get_all_optimizers()[name]

    def serialize(self, serializer):
        self.iteration = int(serializer("iteration", self.iteration))


def run(out, *added, length=8, report=None, optimizer=None):
    """Train for nothing, with extensions; the observations of all iterations."""
    trainer = training.Trainer(Updater(optimizer, report), (length, "iteration"), out=str(out))
    for extension in added:
        trainer.extend(extension)
    seen = []
    trainer.extend(lambda t: seen.append(dict(t.observation)), name="last", priority=-1000)
    trainer.run(show_loop_exception_msg=False)
    return seen


# ---------------------------------------------------------------------------------------------------------------- shifts

SHIFTS = {
    "exponential": (lambda: extensions.ExponentialShift("lr", 0.5), lambda t: 8 * 0.5 ** t),
    "exponential up": (lambda: extensions.ExponentialShift("lr", 2, init=1, target=16), lambda t: min(2 ** t, 16)),
    "exponential down": (lambda: extensions.ExponentialShift("lr", 0.5, target=2), lambda t: max(8 * 0.5 ** t, 2)),
    "exponential negative": (lambda: extensions.ExponentialShift("lr", 2, init=-1, target=-4), lambda t: max(-(2 ** t), -4)),
    "inverse": (lambda: extensions.InverseShift("lr", 0.5, 2), lambda t: 8 / (1 + t / 2) ** 2),
    "inverse to": (lambda: extensions.InverseShift("lr", 1, 1, target=2), lambda t: max(8 / (1 + t), 2)),
    "linear": (lambda: extensions.LinearShift("lr", (1, 5), (2, 6)), lambda t: 1 + min(max(t - 2, 0), 4)),
    "multistep": (lambda: extensions.MultistepShift("lr", 0.1, [2, 5], 8), lambda t: 8 * 0.1 ** ((t >= 2) + (t >= 5))),
    "polynomial": (lambda: extensions.PolynomialShift("lr", 2, 5), lambda t: 8 * max(1 - t / 5, 0) ** 2),
    "polynomial to": (lambda: extensions.PolynomialShift("lr", 1, 8, target=3), lambda t: max(8 - t, 3)),
    "step": (lambda: extensions.StepShift("lr", 0.5, 3), lambda t: 8 * 0.5 ** (t // 3)),
    "step up": (lambda: extensions.StepShift("lr", 2, 2, target=20), lambda t: min(8 * 2 ** (t // 2), 20)),
    "step to zero": (lambda: extensions.StepShift("lr", 0.5, 3, target=0), lambda t: 8 * 0.5 ** (t // 3)),
    "warmup": (lambda: extensions.WarmupShift("lr", 0, 4, 8), lambda t: 2 * min(t, 4)),
    "no warmup": (lambda: extensions.WarmupShift("lr", 1, 0, 8), lambda t: 8),
}


def shift_trainer(optimizer):
    return SimpleNamespace(updater=Updater(optimizer))


@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("split", [None, 3])
def test_shifts(name, split):
    make, expected = SHIFTS[name]
    optimizer, shift = hnn.optimizers.SGD(8).setup(L.Linear(1, 1)), make()
    shift.initialize(shift_trainer(optimizer))
    values = [optimizer.lr]
    for t in range(8):
        if t == split:
            saver = DictionarySerializer()
            shift.serialize(saver)
            for entry in ("_init", "_last_value") if name == "linear" else ():     # Chainer's files have neither of them
                del saver.target[entry]
            optimizer, shift = hnn.optimizers.SGD(8).setup(L.Linear(1, 1)), make()
            shift.serialize(NpzDeserializer(saver.target))
            shift.initialize(shift_trainer(optimizer))
            assert optimizer.lr == pytest.approx(values[-1])
        shift(shift_trainer(optimizer))
        values.append(optimizer.lr)
    np.testing.assert_allclose(values, [expected(t) for t in range(9)], rtol=1e-12)


def test_shifts_of_another_optimizer_and_wrong_rates():
    mine, main = hnn.optimizers.Adam(), hnn.optimizers.SGD(8)
    shift = extensions.ExponentialShift("alpha", 0.5, optimizer=mine)
    shift.initialize(shift_trainer(main))
    shift(shift_trainer(main))
    assert mine.alpha == 0.0005 and main.lr == 8
    for make in (lambda: extensions.ExponentialShift("lr", -1), lambda: extensions.InverseShift("lr", -1, 1)):
        with pytest.raises(ValueError, match="not negative"):
            make()


# ----------------------------------------------------------------------------------------------------- reports and bars

def test_a_log_of_means(tmp_path):
    log = extensions.LogReport(["x"], trigger=(4, "iteration"), postprocess=lambda row: row.update(y=-1),
                               filename="log_{iteration}")
    run(tmp_path, log, report=lambda i: {"x": float(i), "other": 1.0})
    assert [(r["x"], r["epoch"], r["iteration"], r["y"]) for r in log.log] == [(1.5, 1, 4, -1), (5.5, 2, 8, -1)]
    assert sorted(os.listdir(tmp_path)) == ["log_4", "log_8"]
    with pytest.raises(KeyError):
        log.log[0]["other"]


class Lines(extensions.LogReport):
    """Appends a line to its file for each interval, by the names that Chainer's class has for those derived from it."""

    def __call__(self, trainer):
        self._summary.add({k: trainer.observation[k] for k in self._keys})
        if self._trigger(trainer):
            with open(os.path.join(trainer.out, self._log_name), "a") as f:
                f.write(f"{self._summary.compute_mean()['x']}\n")
            self._init_summary()


def test_a_log_of_another_form(tmp_path):
    run(tmp_path, Lines(["x"], (4, "iteration"), filename="lines"), report=lambda i: {"x": float(i), "other": 1.0})
    assert (tmp_path / "lines").read_text().split() == ["1.5", "5.5"]


def test_a_log_without_a_file_and_a_table_of_its_own(tmp_path):
    out = io.StringIO()
    log = extensions.LogReport(trigger=(2, "iteration"), filename=None)
    run(tmp_path, extensions.PrintReport(["iteration", "x", "missing"], log, out), report=lambda i: {"x": float(i)}, length=4)
    lines = [line.removeprefix("\033[J").split() for line in out.getvalue().splitlines()]
    assert lines == [["iteration", "x", "missing"], ["2", "0.5"], ["4", "2.5"]]
    assert os.listdir(tmp_path) == []


def test_a_progress_bar(tmp_path):
    out = io.StringIO()
    run(tmp_path, extensions.ProgressBar(update_interval=2, bar_length=10, out=out))
    text = out.getvalue()
    assert "total [#####.....] 50.00%" in text and "[##########] 100.00%" in text and "8 iterations, 2 epochs" in text
    assert text.endswith("\033[3A\033[J")
    trainer = training.Trainer(Updater(), lambda t: t.updater.iteration == 2, out=str(tmp_path))
    trainer.extend(extensions.ProgressBar())
    with pytest.raises(ValueError, match="how long"):
        trainer.run(show_loop_exception_msg=False)


def screen(text):
    """What a terminal shows: lines, with the escape sequences for "clear to the end" and "cursor up" obeyed."""
    lines, row = [""], 0
    for part in re.findall(r"\033\[\d*[AJ]|\n|[^\033\n]+", text):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\033[J":
            lines[row:] = [""]
        elif part.endswith("A"):
            row -= int(part[2:-1])
        else:
            lines[row] = part + lines[row][len(part):]
    return lines


def test_a_table_stays_whole_beside_a_progress_bar(tmp_path):
    out = io.StringIO()
    log = extensions.LogReport(trigger=(2, "iteration"), filename=None)
    table = extensions.PrintReport(["iteration", "x"], log, out)
    run(tmp_path, table, extensions.ProgressBar(update_interval=1, out=out), report=lambda i: {"x": float(i)}, length=6)
    assert [line.split() for line in screen(out.getvalue())] == [["iteration", "x"], ["2", "0.5"], ["4", "2.5"], ["6", "4.5"], []]


def test_a_bar_of_ones_own():
    class Bar(extensions.util.ProgressBar):
        def get_lines(self):
            return [f"{self.update_speed(3, 1)[0]:g} of {self._bar_length}\n"]

    out = io.StringIO()
    bar = Bar(20, out)
    bar.update()
    assert screen(out.getvalue())[0] == "inf of 20"
    assert np.isfinite(bar.update_speed(4, 2)).all()
    bar.close()
    assert screen(out.getvalue()) == [""]
    with pytest.raises(NotImplementedError, match="get_lines"):
        extensions.util.ProgressBar(out=out).update()


def test_plots(tmp_path):
    made = []
    plot = extensions.PlotReport(["x", "missing"], "epoch", trigger=(4, "iteration"), filename="x.png",
                                 postprocess=lambda figure, axes, summary: made.append(axes.lines[0].get_xydata().tolist()))
    link = L.Linear(2, 3)
    statistics = extensions.VariableStatisticsPlot([link, hnn.Variable(np.ones(2, "f"))], 2, trigger=(2, "iteration"),
                                                   percentile_sigmas=50, filename="statistics.png")
    run(tmp_path, plot, statistics, report=lambda i: {"x": float(i)})
    assert made == [[[1, 1.5]], [[1, 1.5], [2, 5.5]]]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("x.png", "statistics.png"))
    assert len(statistics._samples) <= 2
    saver, other = DictionarySerializer(), extensions.PlotReport(["x", "missing"], filename="x.png")
    plot.serialize(saver)
    other.serialize(NpzDeserializer(saver.target))
    assert other._points == plot._points
    assert extensions.PlotReport.available() and extensions.VariableStatisticsPlot.available()


@pytest.mark.parametrize(("targets", "options"), [
    ([], {}), (None, {}), ([[]], {}), (hnn.Variable(), {"report_data": False, "report_grad": False}),
    (hnn.Variable(), {"plot_mean": False, "plot_std": False, "percentile_sigmas": ()}),
])
def test_statistics_without_anything_to_plot(targets, options):
    with pytest.raises(ValueError, match=r"^there is no"):
        extensions.VariableStatisticsPlot(targets, **options)


def test_statistics_of_lists_in_lists():
    plot = extensions.VariableStatisticsPlot([[L.Linear(2, 3)], (hnn.Variable(np.ones(2, "f")),)], trigger=(1, "iteration"))
    assert len(plot._variables) == 3


def test_postprocess_of_plots_names_lines_before_the_legend_and_is_not_called_without_lines(tmp_path):
    legends = []

    def rename(figure, axes, summary):
        assert axes.get_legend() is None
        axes.lines[0].set_label("renamed")
        legends.append(axes)

    run(tmp_path, extensions.PlotReport("x", trigger=(4, "iteration"), postprocess=rename),
        extensions.PlotReport("missing", trigger=(4, "iteration"), filename="none.png", postprocess=rename), report=lambda i: {"x": float(i)})
    assert [[t.get_text() for t in axes.get_legend().get_texts()] for axes in legends] == [["renamed"]] * 2
    assert (tmp_path / "plot.png").exists() and not (tmp_path / "none.png").exists()


# ------------------------------------------------------------------------------------------------------------ observing

def test_observed_values(tmp_path):
    optimizer = hnn.optimizers.SGD(0.25).setup(L.Linear(1, 1))
    twice = extensions.observe_value("twice", lambda t: 2 * t.updater.iteration)
    seen = run(tmp_path, extensions.observe_lr(), twice, optimizer=optimizer)
    assert [s for s in seen if s] == [{"lr": 0.25, "twice": 8}, {"lr": 0.25, "twice": 16}]


def test_micro_averages(tmp_path):
    micro = extensions.MicroAverage("right", "all", "accuracy", trigger=(4, "iteration"))
    seen = run(tmp_path, micro, report=lambda i: {"right": i, "all": hnn.Variable(np.array(10.0))} if i != 1 else {})
    assert [(i, s["accuracy"]) for i, s in enumerate(seen, 1) if "accuracy" in s] == [(4, 5 / 30), (8, 22 / 40)]
    saver, other = DictionarySerializer(), extensions.MicroAverage("right", "all", "accuracy")
    micro._sums = [3, 4]
    micro.serialize(saver)
    other.serialize(NpzDeserializer(saver.target))
    assert other._sums == [3, 4]


def test_parameter_statistics(tmp_path):
    link = L.Linear(2, 3, initialW=np.arange(6, dtype="f").reshape(3, 2))
    link.cleargrads()
    link.W.grad = np.full((3, 2), 2, "f")
    statistics = extensions.ParameterStatistics(link, prefix="p", trigger=(1, "iteration"))
    statistics.register_statistics("norm", lambda x: np.sqrt((x * x).sum()))
    row, = run(tmp_path, statistics, length=1)
    name = f"p/{link.name}/W/"
    assert row[name + "data/mean"] == 2.5 and row[name + "data/zeros"] == 1 and row[name + "data/max"] == 5
    assert row[name + "data/percentile/3"] == 2.5 and row[name + "grad/norm"] == pytest.approx(math.sqrt(24))
    assert not any("b/grad" in key for key in row)
    link.W.array[0, 0] = np.nan
    only = extensions.ParameterStatistics([link], {"sum": np.sum}, report_grads=False, trigger=(1, "iteration"),
                                          skip_nan_params=True)
    row, = run(tmp_path, only, length=1)
    assert len(row) == 2 and math.isnan(row[f"{link.name}/W/data/sum"]) and row[f"{link.name}/b/data/sum"] == 0


def test_numbers_that_are_none(tmp_path):
    link = L.Linear(2, 3)
    optimizer = hnn.optimizers.SGD().setup(link)
    run(tmp_path, extensions.FailOnNonNumber(), optimizer=optimizer)
    link.b.array[1] = np.inf
    with pytest.raises(RuntimeError, match="parameter /b of optimizer 'main' is not finite after 1 updates"):
        run(tmp_path, extensions.FailOnNonNumber(), optimizer=optimizer)


def test_graphs_are_drawn_once_and_dropped(tmp_path):
    x, unchain = hnn.Variable(np.ones(2, "f")), extensions.unchain_variables()
    seen = run(tmp_path, extensions.DumpGraph("y"), unchain, report=lambda i: {"y": F.sum(x * 2)}, length=2)
    text = (tmp_path / "cg.dot").read_text()
    assert text.startswith("digraph") and 'label="_ * ' in text and 'label="Sum"' in text
    assert not hnn.config.keep_graph_on_report
    assert all(s["y"].creator is None for s in seen)
    with pytest.raises(TypeError, match="has no graph"):
        run(tmp_path, extensions.DumpGraph("y"), report=lambda i: {"y": 1.0})
    with pytest.raises(KeyError, match="'loss' is not reported; there are y"):
        run(tmp_path, extensions.DumpGraph("loss"), report=lambda i: {"y": F.sum(x)})
    assert not hnn.config.keep_graph_on_report


# ----------------------------------------------------------------------------------------------------------- evaluation

class Model(hnn.Chain):
    def __init__(self):
        super().__init__()
        self.calls = []
        with self.init_scope():
            self.scale = hnn.Parameter(np.array(2, "f"))

    def forward(self, x):
        self.calls.append((hnn.config.train, hnn.config.enable_backprop))
        y = F.sum(x * self.scale)
        hnn.report({"y": y}, self)


def test_evaluation(tmp_path):
    model, hooked = Model(), []
    evaluator = extensions.Evaluator(SerialIterator(np.arange(4, dtype="f"), 2, repeat=False, shuffle=False), model,
                                     eval_hook=hooked.append, device=-1)
    assert evaluator() == {"main/y": 6} and evaluator() == {"main/y": 6}
    seen = run(tmp_path, evaluator)
    assert [s for s in seen if s] == [{"validation/main/y": 6}] * 2
    assert set(model.calls) == {(False, False)} and hooked == [evaluator] * 4
    assert evaluator.get_target("main") is model and evaluator.get_all_iterators() == {"main": evaluator.get_iterator("main")}


@pytest.mark.parametrize("convert", [lambda b, d: (np.array(b, "f"),), lambda b, d: {"x": np.array(b, "f")}])
def test_evaluation_of_tuples_and_dicts_with_a_bar(convert, capsys):
    model = Model()
    evaluator = extensions.Evaluator({"main": SerialIterator([1, 2, 3], 1, repeat=False)}, {"main": model},
                                     eval_func=lambda x: model(x), progress_bar=True, converter=convert)
    assert evaluator() == {"main/y": 4}
    assert "validation [" in capsys.readouterr().out


def test_an_iterator_that_never_ends_is_noticed():
    with pytest.warns(UserWarning, match="may never end"):
        extensions.Evaluator(SerialIterator([1], 1), Model())


# ------------------------------------------------------------------------------------------------------------- snapshots

@pytest.mark.parametrize("writer", [
    lambda: writers.SimpleWriter(compression=False), lambda: writers.ThreadWriter(compression=False),
    lambda: writers.ProcessWriter(compression=False), writers.ThreadQueueWriter, writers.ProcessQueueWriter,
    lambda: writers.ThreadQueueWriter(task=writers.SimpleWriter(compression=False))])
def test_snapshots_of_an_object(tmp_path, writer):
    link = L.Linear(2, 3)
    take = extensions.snapshot_object(link, "model_{.updater.iteration}", writer=writer(), n_retains=2)
    run(tmp_path, take, length=12)
    assert sorted(os.listdir(tmp_path)) == ["model_12", "model_8"]
    other = L.Linear(2, 3)
    load_npz(tmp_path / "model_12", other)
    np.testing.assert_array_equal(other.W.array, link.W.array)


def test_snapshots_on_conditions_and_errors(tmp_path):
    link, saved = L.Linear(1, 1), []

    def save(path, values):
        saved.append(sorted(values))
        open(path, "w").close()

    def fail(trainer):
        raise KeyError("stop")
    take = extensions.snapshot_object(link, lambda t: "named", save, snapshot_on_error=True, condition=lambda: False)
    with pytest.raises(KeyError):
        run(tmp_path, take, fail)
    assert saved == [["W", "b"]] and os.listdir(tmp_path) == ["named"]
    run(tmp_path, extensions.snapshot_object(link, "never", save, condition=lambda: False))
    assert len(saved) == 1
    with pytest.raises(TypeError, match="exclude"):
        extensions.snapshot(save, writer=writers.SimpleWriter())


def test_snapshots_have_chainers_entries(tmp_path):
    """Found by loading into each library what the other has saved."""
    added = (extensions.snapshot(), extensions.PlotReport("y", filename="a.png", trigger=(4, "iteration")),
             extensions.DumpGraph("y"), extensions.MultistepShift("lr", 0.1, [2, 5], 8))
    run(tmp_path, *added, report=lambda i: {"y": F.sum(hnn.Variable(np.ones(2, "f")))}, optimizer=hnn.optimizers.SGD(8).setup(L.Linear(1, 1)))
    saved = np.load(tmp_path / "snapshot_iter_8", allow_pickle=True)
    assert {f"extensions/{name}" for name in ("PlotReport/_plot_a.png", "dump_graph/_original_flag")} < set(saved)
    assert "extension_triggers/_Snapshot/previous_iteration" in saved and saved["extensions/MultistepShift/_current_step"] == 2


def test_the_old_name_of_the_number_of_files(tmp_path):
    with pytest.warns(DeprecationWarning, match="n_retains"):
        take = extensions.snapshot(num_retain=1)
    run(tmp_path, take, length=12)
    assert os.listdir(tmp_path) == ["snapshot_iter_12"]


def test_a_failed_snapshot_leaves_no_file(tmp_path):
    def save(path, values):
        raise OSError("disk full")
    with pytest.raises(OSError, match="disk full"):
        run(tmp_path, extensions.snapshot_object(L.Linear(1, 1), "x", save))
    assert os.listdir(tmp_path) == []


# -------------------------------------------------------------------------------------------------- as Chainer's users write

def test_trainers_are_pickled_whole(tmp_path):
    link = L.Linear(2, 1, initialW=1)
    optimizer = hnn.optimizers.MomentumSGD(0.1).setup(link)
    batches = SerialIterator(np.arange(16, dtype="f").reshape(8, 2), 4, shuffle=False)
    updater = training.StandardUpdater(batches, optimizer, loss_func=PickledLoss(link))
    trainer = training.Trainer(updater, (5, "iteration"), out=str(tmp_path))
    trainer.extend(extensions.Evaluator(SerialIterator(np.ones((2, 2), "f"), 2, repeat=False), link, eval_func=PickledLoss(link)))
    trainer.extend(extensions.snapshot(filename="of_{.updater.iteration}"), trigger=training.triggers.MinValueTrigger("validation/loss"))
    other = pickle.loads(pickle.dumps(trainer))
    trainer.run()
    seen = sorted(os.listdir(tmp_path))
    for name in seen:
        os.remove(tmp_path / name)
    assert other.updater.converter is updater.converter and other.updater.iteration == 0
    other.run()
    np.testing.assert_array_equal(other.updater.get_optimizer("main").target.W.array, link.W.array)
    assert sorted(os.listdir(tmp_path)) == seen != []


class PickledLoss:
    """The mean of what a link gives, reported."""

    def __init__(self, link):
        self.link = link

    def __call__(self, x):
        loss = F.mean(self.link(x) ** 2) * 1e-3
        hnn.report({"loss": loss} if hnn.config.train else {"validation/loss": loss})
        return loss


def test_old_names_of_files(tmp_path):
    log = extensions.LogReport(log_name="old", trigger=(1, "iteration"))
    run(tmp_path, log, length=1)
    assert os.listdir(tmp_path) == ["old"]
    assert extensions.LogReport(filename="new", log_name="old")._log_name == "new"
    for extension, name in [(extensions.PlotReport("loss", file_name="a.png"), "a.png"), (extensions.PlotReport("loss"), "plot.png"),
                            (extensions.VariableStatisticsPlot(L.Linear(1, 1), file_name="b.png"), "b.png"),
                            (extensions.DumpGraph("main/loss", out_name="c.dot"), "c.dot")]:
        assert extension._filename == name


def test_make_extension_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="call_before_training"):
        training.make_extension(invoke_before_training=True)
    with pytest.raises(TypeError, match="unexpected"):
        training.make_extension(colour=1)


def test_a_report_prints_to_anything_that_can_be_written_to():
    text = []
    log = extensions.LogReport(trigger=(1, "iteration"), filename=None)
    report = extensions.PrintReport(["iteration"], log, SimpleNamespace(write=text.append))
    trainer = training.Trainer(Updater(), (1, "iteration"), extensions=[report])
    trainer.run()
    assert text[-1].split() == ["\033[J1"]
    with pytest.raises(TypeError, match="expected log_report to be a name or a LogReport"):
        extensions.PrintReport([], log_report=3)(trainer)


def test_a_reservoir_keeps_each_with_the_same_chance():
    counts = np.zeros(20)
    for seed in range(300):
        reservoir = extensions.variable_statistics_plot.Reservoir(5, (2,))
        reservoir._random = np.random.RandomState(seed)
        for i in range(20):
            reservoir.add([i, -i])
        numbers, data = reservoir.get_data()
        assert (np.diff(numbers) > 0).all() and (data == np.stack([numbers, -numbers], 1)).all()
        counts[numbers] += 1
    assert (abs(counts / 300 - .25) < .1).all()


def test_statistics_of_an_array():
    x = np.random.uniform(size=(4, 5)).astype("f")
    found = extensions.variable_statistics_plot.Statistician(True, True, (0, 50, 100))(x, axis=None)
    np.testing.assert_allclose(found["percentile"], [x.min(), np.median(x), x.max()])
    np.testing.assert_allclose([found["mean"], found["std"]], [x.mean(), x.std()], rtol=1e-6)
    assert extensions.variable_statistics_plot.Statistician(False, True, ())(x, axis=1)["std"].shape == (4,)


@pytest.mark.skipif(not hasattr(os, "chmod") or os.name == "nt", reason="needs a shell script")
def test_graphs_are_drawn_where_graphviz_is_installed(tmp_path, monkeypatch):
    (tmp_path / "dot").write_text('#!/bin/sh\ncp "$2" "$4"\n')
    (tmp_path / "dot").chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    x = hnn.Variable(np.ones(1, "f"))
    trainer = training.Trainer(Updater(report=lambda i: {"loss": F.exp(x)}), (1, "iteration"), out=str(tmp_path / "out"))
    trainer.extend(extensions.DumpGraph("loss"))
    trainer.run()
    assert (tmp_path / "out/cg.png").read_text() == (tmp_path / "out/cg.dot").read_text()
