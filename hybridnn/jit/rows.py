"""``Rows``: a graph under change by a pass that puts rows of arrays together; it knows which values lie where in which others."""
from collections import deque
from itertools import accumulate, pairwise
from math import prod

from hybridnn.core.op import OPS
from hybridnn.graph import Node
from hybridnn.jit.join import JoinOp
from hybridnn.jit.purity import is_pure
from hybridnn.jit.specs import Specs
from hybridnn.spec import Spec

__all__ = ["Rows"]

SCATTERING = ("transpose", "broadcast_to")      # their results are not contiguous


class Rows:
    """Nodes are added, replaced and removed; ``result`` orders what is live.

    ``homes[v]`` = (array, offset in elements): v lies there, contiguous in row-major order.
    """

    def __init__(self, graph):
        self.graph, self.specs = graph, Specs(graph.specs)
        self.producer = {v: n for n in graph.nodes for v in n.outputs}
        self.number = {v: k for k, n in enumerate(graph.nodes) for v in n.outputs}
        self.removed, self.fresh, self.views = set(), set(), {}      # ids of nodes; values that added nodes make
        self.floor = len(graph.nodes)       # number of the first node that was removed
        self.previous, self.turn, self.made_by_effects = _effects(graph)      # without values that nodes with effects make, no value needs any of these
        self.homes = {}
        self._find_homes()

    # ---- changes

    def new(self, like, shape):
        """A new value of another shape."""
        return self.specs.new(Spec(tuple(shape), like.dtype, like.weak) if like.shape != tuple(shape) else like)

    def add(self, node):
        for v in node.outputs:
            self.producer[v] = node
        self.fresh.update(node.outputs)
        self._home_of(node)
        return node.outputs[0]

    def remove(self, node):
        self.removed.add(id(node))
        self.floor = min(self.floor, self._when(node.outputs[0]))
        for v in node.outputs:
            del self.producer[v]
        self.fresh.difference_update(node.outputs)

    def replace(self, node, other):
        self.remove(node)
        self.add(other)

    def result(self):
        """The graph of what is live, in its old order as far as operands allow."""
        if not self.removed:
            return self.graph
        wanted = {*self.graph.outputs, *(v for _, v in self.graph.writes)}
        made = [self.producer[v] for v in sorted(wanted & self.producer.keys(), key=self._when)]
        live, previous, unwanted, want = [], self.previous, wanted.isdisjoint, wanted.update
        for node in reversed(self._in_order(made)):
            if not unwanted(node.outputs) or previous and id(node) in previous:
                live.append(node)
                want(node.inputs)
        return self.graph.replace(nodes=tuple(live[::-1]), specs=self.specs)

    def _in_order(self, made):
        """What is left of the graph's nodes, in their order, and then ``made``; all that one needs comes before it."""
        removed, missing, early, nodes = self.removed, set(self.fresh), set(), []      # values that are still to be made; ids of nodes behind the present one
        for number, node in enumerate(self.graph.nodes):
            if id(node) in removed or id(node) in early:
                continue
            if missing.isdisjoint(node.inputs):
                nodes.append(node)
            else:
                self._emit(node, number, early, missing, nodes)
        for node in made:
            if not missing.isdisjoint(node.outputs):
                self._emit(node, len(self.graph.nodes), early, missing, nodes)
        return nodes

    def _emit(self, node, number, early, missing, nodes):
        """Append the node to ``nodes``, behind all that it needs of what does not come before node ``number`` of the graph."""
        stack = [(node, False)]
        while stack:
            node, ready = stack.pop()
            if not ready:
                if id(node) in early:
                    continue
                early.add(id(node))
                needs = [(n, False) for n in reversed(self._needs(node, number, missing)) if id(n) not in early]
                if needs:
                    stack.append((node, True))
                    stack += needs
                    continue
            missing.difference_update(node.outputs)
            nodes.append(node)

    # ---- what depends on what

    def _needs(self, node, floor, missing):
        """Nodes that this one needs, but for those that come before node ``floor`` of the graph: makers of its operands; and nodes that may have effects stay
        in order. ``missing``: values that are made anew, whatever their numbers."""
        producer, number = self.producer, self.number
        found = [n for v in node.inputs if (n := producer.get(v)) is not None and (v in missing or number.get(v, floor) >= floor)]
        earlier = self.previous.get(id(node)) if self.previous else None
        return found if earlier is None or self.turn[id(earlier)] < floor else [earlier, *found]

    def depends(self, values, nodes):
        """Whether one of the values needs one of the nodes.

        What stood in the graph before all of these and before all that was removed does not: it needs only what stood earlier.
        """
        number, producer, floor = self.number, self.producer, self._floor(nodes)
        if self.made_by_effects:
            return self._leads_to(values, {id(n) for n in nodes}, floor)
        goals, seen, queue = {v for n in nodes for v in n.outputs}, set(values), deque(values)
        while queue:
            v = queue.popleft()         # from near to far: what is asked for often is near
            if v in goals:
                return True
            if v in producer and number.get(v, floor) >= floor:
                for u in producer[v].inputs:
                    if u not in seen:
                        seen.add(u)
                        queue.append(u)
        return False

    def _leads_to(self, values, goals, floor):
        """The same where nodes with effects stay in order."""
        stack = [self.producer[v] for v in values if v in self.producer]
        seen = set(map(id, stack))
        while stack:
            node = stack.pop()
            if id(node) in goals:
                return True
            if node.outputs and self.number.get(node.outputs[0], floor) < floor:
                continue
            for n in self._needs(node, 0, ()):
                if id(n) not in seen:
                    seen.add(id(n))
                    stack.append(n)
        return False

    def depths(self, group):
        """Per result of the group: the number of the group's nodes in the longest chain that leads to it."""
        members, depth, floor = {id(n) for n in group}, {}, self._floor(group)
        stack, known = [(n, None) for n in reversed(group)], set()
        while stack:
            node, needs = stack.pop()
            if needs is None:
                if id(node) in known:
                    continue
                known.add(id(node))
                needs = self._needs(node, floor, ())
                below = [(n, None) for n in needs if id(n) not in known]
                if below:
                    stack.append((node, needs))
                    stack += below
                    continue
            depth[id(node)] = max([depth[id(n)] for n in needs], default=0) + (id(node) in members)
        return {n.outputs[0]: depth[id(n)] for n in group}

    def _floor(self, nodes):
        """The number of the first of all these nodes and of those that were removed."""
        return min([self.floor, *[self.number.get(n.outputs[0], self.floor) for n in nodes]])

    def _when(self, v):
        return self.number.get(v, len(self.number))

    # ---- what lies where

    def _find_homes(self):
        get_item, reshape = OPS["get_item"], OPS["reshape"]
        for node in [n for n in self.graph.nodes if n.op.kind == "join"]:
            self._home_of(node)
        for node in [n for n in self.graph.nodes if n.op is get_item or n.op is reshape]:
            self._home_of(node)

    def _home_of(self, node):
        y = node.outputs[0]
        if node.op.kind == "join" and all(_is_range(i) for i in node.op.indices):
            row = prod(node.op.shape[1:])
            for v, i in zip(node.inputs, node.op.indices):
                self.homes.setdefault(v, (y, i[0][1] * row))
        elif node.op is OPS["get_item"] and y not in self.homes:
            self._home_of_slice(node)
        elif node.op is OPS["reshape"] and node.inputs[0] in self.homes:
            self.homes.setdefault(y, self.homes[node.inputs[0]])

    def _home_of_slice(self, node):
        x, index = node.inputs[0], dict(node.attrs)["index"]
        shape = self.specs[x].shape
        if len(index) != 1 or not shape or x in self.producer and self.producer[x].op.name in SCATTERING:
            return
        start = _first_row(index[0], shape[0])
        if start is not None:
            base, offset = self.homes.get(x, (x, 0))
            self.homes[node.outputs[0]] = base, offset + start * prod(shape[1:])

    def runs(self, items, operands, most):
        """``items`` sorted and split so that in a run every operand (``operands(item)``) lies next to the one before it, or none
        of them lies anywhere yet; of up to ``most`` rows, in as few runs as that takes, about as long: so for many sizes they are the same.
        """
        runs, before = [], None
        for item in sorted(items, key=lambda i: self._order(operands(i))):
            values = operands(item)
            if before is None or not all(map(self._follows, before, values)):
                runs.append([])
            runs[-1].append((item, self.specs[values[0]].shape[0]))
            before = values
        return [[item for item, _ in part] for run in runs for part in (_balanced(run, most) if most else [run])]

    def _order(self, values):
        """Where the first operand lies that does, else when the first one is made."""
        for v in values:
            if v in self.homes:
                base, offset = self.homes[v]
                return 0, base, offset
        return 1, min(map(self._when, values)), 0

    def _follows(self, u, v):
        a, b = self.specs[u], self.specs[v]
        if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype or u == v:
            return False
        if u not in self.homes or v not in self.homes:
            return u not in self.homes and v not in self.homes
        (base, offset), (other, start) = self.homes[u], self.homes[v]
        return base == other and offset + prod(a.shape) == start

    def together(self, values, before):
        """One value with the rows of all: what they lie in already, or a new join; None if that needs what ``before`` make."""
        return self.lying(values, before) if values[0] in self.homes else self._join(values)

    def lying(self, values, before):
        """A slice of what these rows lie in, one below the other; None if they do not, or if that needs what ``before`` make."""
        if not all(v in self.homes for v in values) or not all(map(self._follows, values, values[1:])):
            return None
        base, offset = self.homes[values[0]]
        tail = self.specs[values[0]].shape[1:]
        row, size = prod(tail), prod(self.specs[base].shape)
        if not row or offset % row or size % row or self.depends([base], before):
            return None
        start, rows = offset // row, sum(self.specs[v].shape[0] for v in values)
        all_rows = self._view("reshape", base, (size // row, *tail), ("shape", (size // row, *tail)))
        return self._view("get_item", all_rows, (rows, *tail), ("index", (("slice", start, start + rows, None),)))

    def _view(self, name, x, shape, attr):
        if self.specs[x].shape == shape:
            return x
        key = name, x, attr
        if key not in self.views:
            self.views[key] = self.new(self.specs[x], shape)
            self.add(Node(OPS[name], (x,), (self.views[key],), (attr,)))
        return self.views[key]

    def _join(self, values):
        """A join of the rows; under reshapes that keep rows, so that who makes a part can write it in place."""
        parts = [self._bare(v) for v in values]
        if len({(self.specs[v].shape[1:], v in self.homes) for v in parts}) > 1 or parts[0] in self.homes:
            parts = list(values)
        like, tail = self.specs[parts[0]], self.specs[parts[0]].shape[1:]
        ends = [0, *accumulate(self.specs[v].shape[0] for v in parts)]
        y = self.new(like, (ends[-1], *tail))
        indices = tuple([(("slice", a, b, None),) for a, b in pairwise(ends)])
        self.add(Node(JoinOp((ends[-1], *tail), indices, True), tuple(parts), (y,)))
        for v, part in zip(values, parts):
            self.homes.setdefault(v, self.homes[part])
        shape = ends[-1], *self.specs[values[0]].shape[1:]
        return self._view("reshape", y, shape, ("shape", shape))

    def _bare(self, v):
        """The value under reshapes that keep axis 0."""
        while v in self.producer and self.producer[v].op is OPS["reshape"]:
            x = self.producer[v].inputs[0]
            if self.specs[x].shape[:1] != self.specs[v].shape[:1]:
                break
            v = x
        return v


def _balanced(run, most):
    """Pairs (item, rows) in as few parts as have up to ``most`` rows each, that is about as many."""
    rows = [n for _, n in run]
    count, longest = len(_parts(run, most)), max(rows)
    return _parts(run, min(most, -(-sum(rows) // count) + longest - 1))


def _parts(run, most):
    """Pairs (item, rows) in parts of up to ``most`` rows, from the first on; an item with more is alone."""
    parts, total = [], 0
    for item, n in run:
        if not parts or total + n > most:
            parts.append([])
            total = 0
        parts[-1].append((item, n))
        total += n
    return parts


def _first_row(index, rows):
    """Where an int or a plain slice begins; None for other indices."""
    if isinstance(index, int):
        return index % rows
    plain = isinstance(index, tuple) and index[3] in (None, 1)
    return slice(*index[1:]).indices(rows)[0] if plain else None


def _is_range(index):
    """Rows from ... to ..., as joins along axis 0 have."""
    return len(index) == 1 and isinstance(index[0], tuple) and index[0][1] is not None and index[0][3] is None


def _effects(graph):
    """id of each node that may have effects -> the one before it, or None; -> its number; whether such nodes make values."""
    ops = {id(n.op): n.op for n in graph.nodes}
    impure = {k for k, op in ops.items() if not is_pure(op)}
    found = [(k, n) for k, n in enumerate(graph.nodes) if id(n.op) in impure] if impure else []
    before = [None, *[n for _, n in found]]
    return {id(n): last for (_, n), last in zip(found, before)}, {id(n): k for k, n in found}, any([n.outputs for _, n in found])
