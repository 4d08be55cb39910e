"""What a graph computes behind its writes: it can run again when they are done, for NumPy to say what it warns of there."""
from hybridnn.jit.places import INPUT
from hybridnn.jit.purity import is_pure

__all__ = ["behind", "first_write", "last_write", "rest_on_writes"]


def behind(graph):
    """The nodes that rest on what the graph writes, and those before that they take values of, as a graph without outputs, and where its inputs are
    afterwards: numbers of arrays, the graph's inputs first, then its outputs. None where it needs what is gone, or has effects."""
    given, old = {v: k for k, v in enumerate(graph.inputs)}, {t for t, _ in graph.writes}
    newest = {v: given[t] for t, v in graph.writes}
    there = {v: k for v, k in given.items() if v not in old} | {v: len(given) + k for k, v in enumerate(graph.outputs)} | newest
    late, constants, nodes, wanted, at = _resting_on(graph, newest), dict(graph.constants), [], set(), {}
    for node in reversed(graph.nodes):
        if late.isdisjoint(node.outputs) and wanted.isdisjoint(node.outputs):
            continue
        nodes.append(node)
        wanted.difference_update(node.outputs)
        for v in node.inputs:
            if v in there and v not in late:
                at[v] = there[v]
            elif v not in constants:
                wanted.add(v)
    if wanted or not all([is_pure(n.op) for n in nodes]):
        return None
    return graph.replace(inputs=tuple(at), nodes=tuple(nodes[::-1]), outputs=(), writes=()), list(at.values())


def _resting_on(graph, values):
    """The values that are computed of these."""
    found = set()
    for node in graph.nodes:
        if any([v in values or v in found for v in node.inputs]):
            found.update(node.outputs)
    return found


def first_write(steps):
    """The number of the first step that writes into an input, or None."""
    return next((k for k, low in enumerate(steps) if _inputs_of(low)), None)


def last_write(steps):
    """The number of the last step that writes into an input, if there are others behind it; else None."""
    number = next((k for k in reversed(range(len(steps))) if _inputs_of(steps[k])), len(steps))
    return number if number < len(steps) - 1 else None


def rest_on_writes(steps):
    """Whether each step behind the last one that writes into an input computes with what was written, or only copies."""
    last = last_write(steps)
    changed = set().union(*map(_changed_by, steps[:last + 1]))
    for low in steps[last + 1:]:
        if not changed.isdisjoint([id(p.root) for p in low.reads]):
            changed.update([id(p.root) for p in low.writes])
        elif low.kind != "copy":
            return False
    return True


def _inputs_of(low):
    return {k for k, p in enumerate(low.writes) if p.root.kind == INPUT}


def _changed_by(low):
    """Which blocks of memory hold what a step has written into inputs, or has made of that."""
    written = _inputs_of(low)
    if written and low.node is not None and low.node.op.kind == "fused" and len(low.node.outputs) == len(low.writes):
        graph = low.node.op.graph
        newest = {graph.outputs[k] for k in written}
        late = newest | _resting_on(graph, newest)
        written |= {k for k, v in enumerate(graph.outputs) if v in late}
    return {id(low.writes[k].root) for k in written}
