"""Dropping the graphs of reported values."""
from hybridnn.core import Variable
from hybridnn.training.extension import Extension

__all__ = ["unchain_variables"]


class unchain_variables(Extension):
    """Unchains every reported Variable at the end of an iteration; useful with ``config.keep_graph_on_report``."""
    priority = 0

    def __call__(self, trainer):
        for value in trainer.observation.values():
            if isinstance(value, Variable):
                value.unchain_backward()
