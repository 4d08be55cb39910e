"""The graph of a computation as a picture, in the language of Graphviz's ``dot``."""
from dataclasses import dataclass

from hybridnn.core import Variable, VariableNode
from hybridnn.core.tape import TapeNode
from hybridnn.core.variable_node import view_of
from hybridnn.errors import InvalidType

__all__ = ["ComputationalGraph", "build_computational_graph"]

_VARIABLE_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}
_FUNCTION_STYLE = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}


@dataclass
class ComputationalGraph:
    """Nodes (``VariableNode``s and operations) and edges (pairs of them) of a computation, and how to draw them: ``build_computational_graph``
    says what the rest means."""
    nodes: list
    edges: list
    variable_style: dict | str | None = "default"
    function_style: dict | str | None = "default"
    rankdir: str = "TB"
    remove_variable: bool = False
    show_name: bool = True

    def __post_init__(self):
        if self.rankdir not in ("TB", "BT", "LR", "RL"):
            raise ValueError(f"rankdir is 'TB', 'BT', 'LR' or 'RL'; got {self.rankdir!r}")
        self.variable_style = _VARIABLE_STYLE if self.variable_style == "default" else self.variable_style or {}
        self.function_style = _FUNCTION_STYLE if self.function_style == "default" else self.function_style or {}

    def dump(self, format="dot"):
        """The graph as text in ``format``; only ``"dot"``."""
        if format != "dot":
            raise NotImplementedError(f"graphs are written as 'dot'; got {format!r}")
        nodes, edges = _without_variables(self.nodes, self.edges) if self.remove_variable else (self.nodes, self.edges)
        number = {node: i for i, node in enumerate(nodes)}
        lines = [self._statement(i, node) for node, i in number.items()]
        lines += [f"{number[a]} -> {number[b]};" for a, b in edges]
        return f"digraph graphname{{rankdir={self.rankdir};" + "".join(lines) + "}"

    def _statement(self, i, node):
        is_variable = isinstance(node, VariableNode)
        style = {"label": self._label(node), "shape": "oval" if is_variable else "box"}
        style |= self.variable_style if is_variable else self.function_style
        return f"{i} [{','.join(f'{k}={_quoted(v)}' for k, v in style.items())}];"

    def _label(self, node):
        name = getattr(node, "name", None) if self.show_name and isinstance(node, VariableNode) else None
        return node.label if name is None else f"{name}: {node.label}"


def _quoted(text):
    return '"' + str(text).replace('"', r"\"") + '"'


def build_computational_graph(outputs, remove_split=True, variable_style="default", function_style="default", rankdir="TB",
                              remove_variable=False, show_name=True):
    """The graph behind ``outputs``: what backward would walk.

    Operands that need no gradient are not part of it.

    Args:
        outputs: Variables (or one).
        remove_split: only True.
        variable_style, function_style: dot attributes, as dicts; None for none.
        rankdir: ``"TB"``, ``"BT"``, ``"LR"`` or ``"RL"``.
        remove_variable: draw operations only.
        show_name: draw names of Variables.

    Returns:
        A ``ComputationalGraph``; ``.dump()`` is the text.
    """
    if not remove_split:
        raise ValueError("remove_split=False is not supported")
    outputs = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    nodes, edges = _walk([_start(x) for x in outputs])
    return ComputationalGraph(nodes, edges, variable_style, function_style, rankdir, remove_variable, show_name)


def _start(x):
    if not isinstance(x, (Variable, VariableNode, TapeNode)):
        raise InvalidType("build_computational_graph", "Variables, their nodes or operations as outputs", type(x).__name__)
    return x.node if isinstance(x, Variable) else x


def _walk(starts):
    """Everything that leads to the starts, and the edges, from the outputs back."""
    nodes, edges, stack = dict.fromkeys(starts), {}, list(starts)[::-1]
    while stack:
        node = stack.pop()
        for before in _before(node):
            edges[before, node] = None
            if before not in nodes:
                nodes[before] = None
                stack.append(before)
    return list(nodes), list(edges)


def _before(node):
    """A Variable's operation, or an operation's inputs."""
    if isinstance(node, VariableNode):
        return [] if node.creator_node is None else [node.creator_node]
    return [view_of(x) for x in node.edges if x is not None]


def _without_variables(nodes, edges):
    """Operations, joined where a Variable led from one to the other."""
    maker = {b: a for a, b in edges if isinstance(b, VariableNode)}
    joined = {(maker[a], b): None for a, b in edges if isinstance(a, VariableNode) and a in maker}
    return [n for n in nodes if not isinstance(n, VariableNode)], list(joined)
