"""What a graph computes behind its writes, as a graph of its own."""
import numpy as np
import pytest
from jit_graphs import array

import hybridnn.ops  # noqa: F401
from hybridnn.core.op import OPS
from hybridnn.graph import Graph, Node, run, verify
from hybridnn.jit.behind import behind
from hybridnn.spec import spec_of

F4 = spec_of(array(3))


def made(names, outputs, writes, inputs=(0, 1)):
    """A graph of operations ``(name, operands)``, which make values 2, 3, ... of the inputs."""
    nodes = tuple([Node(OPS[name], operands, (2 + k,)) for k, (name, operands) in enumerate(names)])
    return verify(Graph(inputs, nodes, outputs, dict.fromkeys(range(2 + len(names)), F4), (), writes))


def test_it_takes_arrays_as_they_are_afterwards():
    graph = made([("add", (0, 1)), ("exp", (2,)), ("mul", (3, 1)), ("tanh", (1,))], (4, 5), ((0, 2),))
    rest, at = behind(graph)
    assert [n.op.name for n in verify(rest).nodes] == ["exp", "mul"] and sorted(at) == [0, 1]
    x, y = array(3), array(3)
    run(graph, [x, y])
    values = dict(zip(rest.inputs, [[x, y][k] for k in at], strict=True))
    np.testing.assert_array_equal(values[2], x)


def test_what_came_before_is_an_output_or_is_computed_again():
    rest, at = behind(made([("exp", (1,)), ("add", (0, 1)), ("mul", (3, 2))], (2, 4), ((0, 3),)))
    assert [n.op.name for n in rest.nodes] == ["mul"] and sorted(at) == [0, 2]
    rest, at = behind(made([("exp", (1,)), ("add", (0, 1)), ("mul", (3, 2))], (4,), ((0, 3),)))
    assert [n.op.name for n in verify(rest).nodes] == ["exp", "mul"] and sorted(at) == [0, 1]


@pytest.mark.parametrize("names", [[("exp", (0,)), ("add", (0, 1)), ("mul", (3, 2))], [("exp", (0,)), ("add", (0, 2)), ("mul", (3, 2))]])
def test_what_is_gone_cannot_be_asked(names):
    assert behind(made(names, (4,), ((0, 3),))) is None


def test_a_chain_of_writes_is_not_confused():
    """The second array's new value rests on the first one's, and its old value is gone."""
    assert behind(made([("add", (0, 1)), ("mul", (1, 2))], (), ((0, 2), (1, 3)))) is None
