"""Memory that intermediate values find in outputs before these are written."""
from bisect import insort
from dataclasses import dataclass, field

from hybridnn.jit.memory import ALIGNMENT
from hybridnn.jit.places import OUTPUT

__all__ = ["LEAST_HOST", "Chain", "chains_of", "put_in_outputs"]

LEAST_HOST = 1 << 16          # bytes of an output that values are put into
LEAST_GUEST, MOST_GUESTS = 1 << 12, 500
ALIGNED = "onednn", "reorder"       # steps whose operands lie at the beginning of a cache line, which an output need not


@dataclass(eq=False)
class Chain:
    """Roots of which each takes over the memory of the one before."""
    first: int
    size: int
    roots: list = field(default_factory=list)
    last: int = 0

    def place(self, offset):
        for r in self.roots:
            r.offset = offset


def chains_of(roots):
    """The roots in chains, in the order in which these begin."""
    chains = {}
    for r in sorted(roots, key=lambda r: r.first):
        chain = chains[id(r)] = Chain(r.first, r.nbytes) if r.inside is None else chains[id(r.inside)]
        chain.roots.append(r)
        chain.last = max(chain.last, r.last, r.first)
    return list({id(c): c for c in chains.values()}.values())


def put_in_outputs(steps, chains, ready):
    """Values lie in output arrays that are written later, from step ``ready`` on, when nothing can fail any more; gives the chains that found no such
    place."""
    outputs = {w.root.index: w.root for step in steps for w in step.writes if w.root.kind == OUTPUT and w.root.nbytes >= LEAST_HOST}
    if not outputs:
        return chains
    apart = {id(p.root) for step in steps for p in (*step.scratch, *((*step.reads, *step.writes) if step.kind in ALIGNED else ()))}
    hosts, gone = [_Host(k, root.first, root.nbytes) for k, root in outputs.items()], set()
    for chain in sorted(chains, key=lambda c: (c.size * (c.first - c.last), c.first))[:MOST_GUESTS]:
        if chain.size < LEAST_GUEST or chain.first < ready or any([id(r) in apart for r in chain.roots]):
            continue
        for host in hosts:
            if chain.last < host.first and host.take(chain):
                gone.add(chain)
                for r in chain.roots:
                    r.kind, r.index = OUTPUT, host.index
                break
    return [c for c in chains if c not in gone]


@dataclass(eq=False, slots=True)
class _Host:
    """Output number ``index``, which is written from step ``first`` on, and what lies in it before: (offset, end, first step, last step), in order."""
    index: int
    first: int
    nbytes: int
    placed: list = field(default_factory=list)

    def take(self, chain):
        """Whether the chain has found room, at the lowest offset that is free for its whole life."""
        size, first, last, at = chain.size, chain.first, chain.last, 0
        rounded, most = -(-size // ALIGNMENT) * ALIGNMENT, self.nbytes - size
        for start, end, begins, ends in self.placed:
            if begins <= last and ends >= first:
                if start - at >= rounded:
                    break
                if end > at:
                    at = end
                    if at > most:
                        return False
        if at > most:
            return False
        insort(self.placed, (at, at + rounded, first, last))
        chain.place(at)
        return True
