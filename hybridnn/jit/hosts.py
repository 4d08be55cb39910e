"""Memory that intermediate values find in outputs before these are written."""
from dataclasses import dataclass

import numpy as np

from hybridnn.jit.memory import ALIGNMENT, Buffer, lowest_gap
from hybridnn.jit.places import OUTPUT

__all__ = ["LEAST_HOST", "Chain", "chains_of", "put_in_outputs"]

LEAST_HOST = 1 << 16          # bytes of an output that values are put into
LEAST_GUEST, MOST_GUESTS = 1 << 12, 500
ALIGNED = "onednn", "reorder"       # steps whose operands lie at the beginning of a cache line, which an output need not


@dataclass(eq=False)
class Chain:
    """Roots of which each takes over the memory of the one before."""
    roots: list
    last: int = 0

    @property
    def first(self):
        return self.roots[0].first

    @property
    def size(self):
        return self.roots[0].nbytes

    def place(self, offset):
        for r in self.roots:
            r.offset = offset


def chains_of(roots):
    """The roots in chains, in the order in which these begin."""
    chains = {}
    for r in sorted(roots, key=lambda r: r.first):
        chain = chains[id(r)] = Chain([]) if r.inside is None else chains[id(r.inside)]
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
    placed, gone = {k: np.empty((4, 0), np.int64) for k in outputs}, set()
    for chain in sorted(chains, key=lambda c: (c.size * (c.first - c.last), c.first))[:MOST_GUESTS]:
        if chain.size < LEAST_GUEST or chain.first < ready or any(id(r) in apart for r in chain.roots):
            continue
        for k in [k for k, root in outputs.items() if chain.last < root.first and chain.size <= root.nbytes]:
            at = _fits(placed[k], chain, outputs[k].nbytes)
            if at is not None:
                placed[k] = _with(placed[k], chain, at)
                gone.add(chain)
                chain.place(at)
                for r in chain.roots:
                    r.kind, r.index = OUTPUT, k
                break
    return [c for c in chains if c not in gone]


def _fits(placed, chain, room):
    """The lowest offset for a chain beside what is placed, or None."""
    at = lowest_gap(placed, Buffer(_rounded(chain.size), chain.first, chain.last))
    return at if at + chain.size <= room else None


def _with(placed, chain, at):
    slot = int(placed[2].searchsorted(at))
    return np.insert(placed, slot, (chain.first, chain.last, at, at + _rounded(chain.size)), axis=1)


def _rounded(size):
    return -(-size // ALIGNMENT) * ALIGNMENT
