"""Graphs of computations, as data and as dot."""
import re

import numpy as np
import pytest

import hybridnn as hnn
import hybridnn.functions as F
from hybridnn.computational_graph import build_computational_graph
from hybridnn.core import VariableNode


def variable():
    return hnn.Variable(np.ones(2, "f"))


def parts(graph):
    kinds = [isinstance(n, VariableNode) for n in graph.nodes]
    return sum(kinds), len(kinds) - sum(kinds), len(graph.edges)


def test_branches_meet():
    x = variable()
    y = F.exp(x)
    z = y * y + F.tanh(y)
    assert parts(build_computational_graph([z])) == (5, 4, 10 - 1)


def test_the_picture_of_equation_1():
    x1, x2, x3 = variable(), variable(), variable()
    dot = build_computational_graph(x1 * x2 - x3).dump()
    assert dot.startswith("digraph graphname{rankdir=TB;") and dot.endswith("}")
    nodes = dict(re.findall(r"(\d+) \[label=\"(.*?)\"", dot))
    edges = [(nodes[a], nodes[b]) for a, b in re.findall(r"(\d+) -> (\d+);", dot)]
    array = "(2), float32"
    assert sorted(edges) == sorted([(array, "_ * _")] * 2 + [("_ * _", array), (array, "_ - _"), (array, "_ - _"), ("_ - _", array)])
    assert dot.count("octagon") == 5 and dot.count("record") == 2


def test_operations_only():
    x = variable()
    graph = build_computational_graph([F.tanh(F.exp(x)) + x], remove_variable=True, rankdir="LR")
    dot = graph.dump()
    labels = dict(re.findall(r"(\d+) \[label=\"([^\"]+)\"", dot))
    assert sorted(labels.values()) == ["Tanh", "_ + _", "exp"] and "octagon" not in dot and "rankdir=LR" in dot
    assert {(labels[a], labels[b]) for a, b in re.findall(r"(\d+) -> (\d+);", dot)} == {("exp", "Tanh"), ("Tanh", "_ + _")}


def test_functions_with_several_outputs():
    class SplitInTwo(hnn.FunctionNode):
        def forward(self, inputs):
            x, = inputs
            return x[:1], x[1:]
    a, b = SplitInTwo().apply((variable(),))
    graph = build_computational_graph([a + b])
    assert parts(graph) == (4, 2, 6) and "SplitInTwo" in graph.dump()
    assert parts(build_computational_graph([a, b])) == (3, 1, 3)


def test_styles():
    y = F.exp(variable())
    plain = build_computational_graph(y, variable_style=None, function_style=None).dump()
    assert 'shape="oval"' in plain and 'shape="box"' in plain and "fillcolor" not in plain
    own = build_computational_graph(y, variable_style={"shape": "star"}, function_style={"label": 'a "name"'}).dump()
    assert own.count('shape="star"') == 2 and r'label="a \"name\""' in own
    assert parts(build_computational_graph([y.node])) == parts(build_computational_graph(y))


def test_a_cut_graph_ends_there():
    x = variable()
    y = F.exp(x)
    y.unchain()
    assert parts(build_computational_graph(F.tanh(y))) == (2, 1, 2)


def test_misuse():
    y = variable()
    for how, error in (({"remove_split": False}, ValueError), ({"rankdir": "UP"}, ValueError)):
        with pytest.raises(error):
            build_computational_graph(y, **how)
    with pytest.raises(TypeError, match="ndarray"):
        build_computational_graph([np.ones(2)])
    with pytest.raises(NotImplementedError, match="'dot'"):
        build_computational_graph(y).dump("png")
