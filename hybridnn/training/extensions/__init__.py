"""Extensions of the training loop."""
from hybridnn.training.extensions import snapshot_writers, util, variable_statistics_plot
from hybridnn.training.extensions._snapshot import snapshot, snapshot_object
from hybridnn.training.extensions.computational_graph import DumpGraph
from hybridnn.training.extensions.evaluator import Evaluator
from hybridnn.training.extensions.log_report import LogReport
from hybridnn.training.extensions.observation import FailOnNonNumber, MicroAverage, ParameterStatistics, observe_lr, observe_value
from hybridnn.training.extensions.plot_report import PlotReport
from hybridnn.training.extensions.print_report import PrintReport
from hybridnn.training.extensions.progress_bar import ProgressBar
from hybridnn.training.extensions.shifts import (
    ExponentialShift,
    InverseShift,
    LinearShift,
    MultistepShift,
    PolynomialShift,
    StepShift,
    WarmupShift,
)
from hybridnn.training.extensions.variable_statistics_plot import VariableStatisticsPlot
from hybridnn.training.extensions.variable_unchain import unchain_variables
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["DumpGraph", "Evaluator", "ExponentialShift", "FailOnNonNumber", "InverseShift", "LinearShift", "LogReport",
           "MicroAverage", "MultistepShift", "ParameterStatistics", "PlotReport", "PolynomialShift", "PrintReport",
           "ProgressBar", "StepShift", "VariableStatisticsPlot", "WarmupShift", "dump_graph", "observe_lr",
           "observe_value", "snapshot", "snapshot_object", "unchain_variables"]

dump_graph = DumpGraph      # Chainer's older name

_open_paths(__name__, {
    "exponential_shift": "ExponentialShift", "fail_on_nonnumber": "FailOnNonNumber", "inverse_shift": "InverseShift",
    "linear_shift": "LinearShift", "micro_average": "MicroAverage", "multistep_shift": "MultistepShift",
    "parameter_statistics": "ParameterStatistics", "polynomial_shift": "PolynomialShift", "step_shift": "StepShift",
    "value_observation": "observe_lr observe_value", "warmup_shift": "WarmupShift"})
