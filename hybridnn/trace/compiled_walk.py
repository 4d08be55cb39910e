"""Backward from outside through the graph that a finished call has left: all of it in one native call.

Whoever traces the forward pass alone calls ``backward`` outside. The first walks through such a graph go from node to node. Then its gradient is noted and
compiled like any other graph, once per path and set of values at which gradients arrive.
"""
import random
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from hybridnn.config import config
from hybridnn.core.walk import add_gradients, fit
from hybridnn.trace.compare import check_segment, mismatch
from hybridnn.trace.floats import errors_may_wait
from hybridnn.trace.noted_gradient import NotedGradient, note_gradient
from hybridnn.trace.operands import NUMBER_TYPES

__all__ = ["through"]

FIRST = 2           # walks that go from node to node: not worth compiling yet
MANY = 16           # sets of values per path at which gradients arrive
_dice = random.Random(0)
_NONE: dict = {}


@dataclass(eq=False)
class Gradient:
    """What is known of the gradient from some values of a path: how often it was walked, whether noting it was tried, and what that gave."""
    walks: int = 0
    tried: bool = False
    noted: NotedGradient | None = None


def through(tape, node, g, grads, heap):
    """Whether gradients have gone through the call of ``tape`` to its leaves, in ``grads`` and ``heap`` of a walk on plain arrays. ``node`` is the newest node
    of the call that a gradient (``g``) has come to; those at its other nodes are in ``heap``.

    Nodes of a call have numbers of their own range, so that all that comes to them from outside has come.
    """
    arrived, base = [(node, g)], -tape.base
    while heap and heap[0][0] < base:
        n = heappop(heap)[1]
        arrived.append((n, grads.pop(n)))
    given = _NONE if tape.path.has_functions else dict([pair for n, gn in arrived for pair in _named(n, gn)])
    gradient = _gradient(tape, given) if given and _fit(given, tape.specs) and _is_as_left(tape) and errors_may_wait() else None
    if gradient is None:
        tape.walked = True
        for n, gn in arrived[1:]:
            grads[n] = gn
            heappush(heap, (-n.seq, n))
        return False
    del arrived, g
    results = _run(tape, gradient, given)
    for vid, k in gradient.leaves:
        leaf = tape.node(vid)
        if leaf is None:
            continue
        before, gx = grads.get(leaf), results[k]
        if gx.dtype != leaf.dtype:
            gx = fit(gx, leaf.shape, leaf.dtype)        # the Variable has been given an array of another dtype since
        if before is None:
            heappush(heap, (-leaf.seq, leaf))
            grads[leaf] = gx
        else:
            grads[leaf] = add_gradients(before, gx)
    return True


def _named(node, g):
    """Pairs (value, gradient)."""
    if node.owner is not None:
        return ((node.owner.app.node.outputs[node.index], g),)
    vids = node.app.node.outputs
    return ((vids[0], g),) if type(g) is not dict else [(vids[i], gi) for i, gi in g.items()]


def _fit(given, specs):
    """Whether all gradients are like their values; users' rules may give others, and so may classes derived from NumPy's array."""
    for vid, g in given.items():
        spec = specs[vid]
        if type(g) is not np.ndarray and isinstance(g, np.ndarray) or g.shape != spec.shape or g.dtype != spec.dtype:
            return False
    return True


def _is_as_left(tape):
    """Whether nobody has cut a graph off in the middle, or given a gradient to a value that a walk passes by."""
    for key, ref in tape.__dict__.get("nodes", _NONE).items():
        n = ref()
        if n is not None and (n.is_leaf and not _is_end(key) or n.seeded is not None and _has_seed(n)):
            return False
    return True


def _is_end(key):
    """Whether this is the place of a leaf among the tape's nodes."""
    return type(key) is tuple and key[0] == "cut"


def _has_seed(node):
    """Whether one of several outputs has a gradient that it was given."""
    return any([(y := ref()) is not None and y.grad is not None for ref in node.seeded.values()])


def _gradient(tape, given):
    """The gradient from these values, or None where the walk is to go from node to node."""
    path = tape.path
    key = (*given, None if tape.again is None else tape.again[0].outputs)     # plans of one path may keep different values
    found = path.gradients.get(key)
    if found is None:
        if len(path.gradients) >= MANY or not tape.leads_back(given):
            return None
        found = path.gradients.setdefault(key, Gradient())
    if not found.tried:
        found.walks += 1
        owner = path.owner()
        if owner is None or found.walks <= FIRST and config.trace_compile != "sync":
            return None
        with owner.lock:
            if not found.tried:
                found.noted = note_gradient(tape, tuple(given))
                if found.noted is not None:
                    path.segments["backward", key] = found.noted.segment
                    found.noted.segment.compiled(owner)
                found.tried = True
    return found.noted


def _run(tape, gradient, arrived):
    """The gradients of the leaves, in arrays of their own."""
    segment, values, owner = gradient.segment, tape.values, tape.path.owner()
    seeds = gradient.seeds
    given = {seeds[v]: g for v, g in arrived.items()}
    if tape.again is not None:
        given.update(zip(gradient.copies, tape.again[1], strict=True))
    if segment.host:
        constants = dict(segment.graph.constants)
        for vid, fn, args in segment.host:
            given[vid] = fn(*[given[a] if a in given else constants[a] if a in constants else tape.value(a) for a in args])
    arrays = [_ordered(given[v] if v in given else values[v] if v in values else tape.value(v)) for v in segment.inputs]
    if owner is not None and owner.check and _dice.random() < owner.check:
        return _checked(owner, segment, arrays)
    return segment.executable.fresh(arrays)


def _ordered(x):
    """An array as compiled code takes it, which gradient rules may have made a scalar of NumPy's; a Python number as it is."""
    if type(x) is not np.ndarray:
        if type(x) in NUMBER_TYPES:
            return x
        x = np.asarray(x)
    flags = x.flags
    return x if flags.c_contiguous and flags.aligned else np.require(x, requirements="CA")


class _Checked:
    """Where ``check_segment`` notes the first difference."""
    difference = None


def _checked(owner, segment, arrays):
    found = _Checked()
    results = check_segment(found, segment, arrays, segment.executable)
    if found.difference is not None:
        raise mismatch(owner.name, *found.difference)
    return results
