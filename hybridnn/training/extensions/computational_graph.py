"""The graph of a reported value as a DOT file."""
import os
import shutil
import subprocess

from hybridnn.computational_graph import build_computational_graph
from hybridnn.config import config
from hybridnn.core import Variable
from hybridnn.serializer import Serializer
from hybridnn.training.extension import Extension

__all__ = ["DumpGraph", "is_graphviz_available"]


def is_graphviz_available():
    """Whether Graphviz's program ``dot`` is installed."""
    return shutil.which("dot") is not None


class DumpGraph(Extension):
    """Writes the graph of a reported Variable, once, after the first update; also as a PNG file if Graphviz is installed.

    Args:
        root_name: name of the reported value, such as ``"main/loss"``.
        filename: DOT file in the trainer's folder; ``out_name`` is an old name of it.
        variable_style, function_style: attributes of the nodes.
    """
    default_name = "dump_graph"

    def __init__(self, root_name, filename=None, variable_style=None, function_style=None, *, out_name="cg.dot"):
        self._root_name, self._filename = root_name, filename or out_name
        self._styles = {"variable_style": variable_style, "function_style": function_style}
        self._done, self._keep_before = False, None

    def initialize(self, trainer):
        """Let reported values keep their graph until it has been written."""
        if not self._done:
            self._keep_before, config.keep_graph_on_report = config.keep_graph_on_report, True

    def trigger(self, trainer):
        return not self._done

    def __call__(self, trainer):
        if self._root_name not in trainer.observation:
            raise KeyError(f"{self._root_name!r} is not reported; there are {', '.join(trainer.observation) or 'no values'}")
        root = trainer.observation[self._root_name]
        if not isinstance(root, Variable):
            raise TypeError(f"{self._root_name} is a {type(root).__name__}, which has no graph; report the Variable itself")
        graph = build_computational_graph([root], **{k: v for k, v in self._styles.items() if v is not None})
        path = os.path.join(trainer.out, self._filename)
        with open(path, "w") as f:
            f.write(graph.dump())
        if is_graphviz_available():
            subprocess.run(["dot", "-Tpng", path, "-o", os.path.splitext(path)[0] + ".png"], check=True)
        self._done = True
        self.finalize()

    def finalize(self):
        """Put the configuration back."""
        if self._keep_before is not None:
            config.keep_graph_on_report, self._keep_before = self._keep_before, None

    def serialize(self, serializer):
        if isinstance(serializer, Serializer):
            serializer("_original_flag", self._keep_before)       # Chainer looks for it
        self._done = bool(serializer("_flag_called", self._done))
