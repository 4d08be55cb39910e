"""Dropping the graphs of reported values."""
from hybridnn.config import config
from hybridnn.core import Variable
from hybridnn.training.extension import Extension

__all__ = ["unchain_variables"]


class unchain_variables(Extension):
    """Unchains every reported Variable at the end of an iteration that began with ``config.keep_graph_on_report`` on."""
    priority = 0

    def __init__(self):
        self._kept = None

    def initialize(self, trainer):
        self._kept = config.keep_graph_on_report

    def trigger(self, trainer):
        """Whether graphs were kept when the iteration began; what the configuration says now is for the next one."""
        kept, self._kept = self._kept, config.keep_graph_on_report
        return kept

    def __call__(self, trainer):
        for value in trainer.observation.values():
            if isinstance(value, Variable):
                value.unchain_backward()
