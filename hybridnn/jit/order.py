"""The order of nodes: what changes arrays in place comes last, so that everything before it may still be undone; what frees memory comes early."""
from dataclasses import dataclass, field

from hybridnn.graph import verify

__all__ = ["VIEWS", "frees_first", "updates_last"]

VIEWS = ("reshape", "transpose", "broadcast_to", "get_item", "identity", "constant")      # their results lie in the memory of what they take


def updates_last(graph):
    """Nodes that make the newest value of a written input, and what uses their outputs, come after all others; otherwise the order is kept."""
    late = _late(graph)
    chosen = set(map(id, late))
    return verify(graph.replace(nodes=tuple([n for n in graph.nodes if id(n) not in chosen] + late))) if late else graph


def _late(graph):
    late, last = {v for _, v in graph.writes}, []
    for node in graph.nodes:
        if late.intersection((*node.inputs, *node.outputs)):
            late.update(node.outputs)
            last.append(node)
    return last


def frees_first(graph):
    """A node that frees more memory than it takes comes as soon as its operands are there, if it takes no more than the node that would have been next: in
    backward, the gradient of a matrix comes before that of the other operand, which may then lie where the first has been. Nodes that are late for
    an update stay behind the others, and those that make the newest value of a written input where they are.
    """
    if len(graph.nodes) < 3:
        return graph
    order = _Order(graph, len(graph.nodes) - len(_late(graph)))
    for number in range(len(graph.nodes)):
        order.run(number)
    nodes = tuple([graph.nodes[i] for i in order.order])
    return graph if nodes == graph.nodes else verify(graph.replace(nodes=nodes))


@dataclass(eq=False, slots=True)
class _Block:
    """Memory of one or more values: its size, how many nodes are still to read it and the sum of their numbers, and whether it has been written into."""
    size: int
    readers: int = 0
    numbers: int = 0
    begun: bool = False


@dataclass
class _Order:
    """Nodes by number, run one after the other: ``order`` has those that were."""
    graph: object
    late: int
    order: list = field(default_factory=list)

    def __post_init__(self):
        nodes = self.graph.nodes
        written = {v for _, v in self.graph.writes}
        self.stays = [not written.isdisjoint(n.outputs) for n in nodes]
        self.done = [False] * len(nodes)
        self._find_blocks(written)
        self._find_readers()

    def _find_blocks(self, written):
        """The memory of each value; what comes from outside, and what goes there, takes none."""
        graph, home = self.graph, {}
        outside = {*graph.inputs, *[v for v, _ in graph.constants], *graph.outputs, *written}
        for node in reversed(graph.nodes):
            if node.op.kind == "join":       # its parts are written where they belong
                home.update([(v, node.outputs[0]) for v in node.inputs])
        for node in graph.nodes:
            if node.op.name in VIEWS and len(node.outputs) == 1:
                home[node.outputs[0]] = node.inputs[0]
        blocks, specs = {}, graph.specs

        def block(v):
            way = []
            while v in home and v not in outside and v not in blocks:
                way.append(v)
                v = home[v]
            found = blocks.get(v)
            if found is None:
                found = blocks[v] = _Block(0 if v in outside else specs[v].nbytes)
            blocks.update(dict.fromkeys(way, found))
            return found

        def distinct(values):
            found = []
            for v in values:
                b = blocks.get(v) or block(v)
                if b.size and b not in found:
                    found.append(b)
            return found
        self.reads = [distinct(n.inputs) for n in graph.nodes]
        self.writes = [distinct(n.outputs) for n in graph.nodes]

    def _find_readers(self):
        nodes = self.graph.nodes
        made = {v: i for i, n in enumerate(nodes) for v in n.outputs}
        self.waits, self.wakes = [], [[] for _ in nodes]
        for i, node in enumerate(nodes):
            before = {made[v] for v in node.inputs if v in made}
            self.waits.append(len(before))
            for j in before:
                self.wakes[j].append(i)
            for b in self.reads[i]:
                b.readers += 1
                b.numbers += i

    def run(self, number):
        """Node ``number`` unless it has been run, then all that frees memory."""
        if self.done[number]:
            return
        at_hand = self._take(number)
        following = number + 1
        while at_hand:
            while following < len(self.done) and self.done[following]:
                following += 1
            i = at_hand.pop()
            if following < len(self.done) and i != following and self._pays(i, following):
                at_hand |= self._take(i)

    def _take(self, i):
        """Runs node ``i``; gives those that may have become worth running."""
        self.done[i] = True
        self.order.append(i)
        found = set()
        for j in self.wakes[i]:
            self.waits[j] -= 1
            found.add(j)
        for b in self.writes[i]:
            b.begun = True
        for b in self.reads[i]:
            b.readers -= 1
            b.numbers -= i
            if b.readers == 1:
                found.add(b.numbers)
        return found

    def _pays(self, i, following):
        if self.done[i] or self.waits[i] or self.stays[i] or (i >= self.late) is not (following >= self.late):
            return False
        takes = self._takes(i)
        return sum(b.size for b in self.reads[i] if b.readers == 1) > takes and takes <= self._takes(following)

    def _takes(self, i):
        return sum(b.size for b in self.writes[i] if not b.begun)
