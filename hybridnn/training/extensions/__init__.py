"""Extensions of the training loop."""
from hybridnn.training.extensions import snapshot_writers, variable_statistics_plot
from hybridnn.training.extensions._snapshot import snapshot, snapshot_object
from hybridnn.training.extensions.computational_graph import DumpGraph
from hybridnn.training.extensions.evaluator import Evaluator
from hybridnn.training.extensions.observation import FailOnNonNumber, MicroAverage, ParameterStatistics, observe_lr, observe_value
from hybridnn.training.extensions.plot_report import PlotReport
from hybridnn.training.extensions.progress import ProgressBar
from hybridnn.training.extensions.reports import LogReport, PrintReport
from hybridnn.training.extensions.shifts import (
    ExponentialShift,
    InverseShift,
    LinearShift,
    MultistepShift,
    PolynomialShift,
    StepShift,
    WarmupShift,
)
from hybridnn.training.extensions.unchain import unchain_variables
from hybridnn.training.extensions.variable_statistics_plot import VariableStatisticsPlot

__all__ = ["DumpGraph", "Evaluator", "ExponentialShift", "FailOnNonNumber", "InverseShift", "LinearShift", "LogReport",
           "MicroAverage", "MultistepShift", "ParameterStatistics", "PlotReport", "PolynomialShift", "PrintReport",
           "ProgressBar", "StepShift", "VariableStatisticsPlot", "WarmupShift", "dump_graph", "observe_lr",
           "observe_value", "snapshot", "snapshot_object", "unchain_variables"]

dump_graph = DumpGraph      # Chainer's older name
