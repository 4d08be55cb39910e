"""The walk back through a graph: nodes from the newest to the oldest, each handing gradients to its inputs.

It knows nodes of the tape by what they have (``edges``, ``seq``, ``owner``, ``gradients``), and gradients as arrays or Variables.
"""
import heapq

import numpy as np

from hybridnn._references import count_references
from hybridnn.backend import back_after, cupy, get_device_from_array
from hybridnn.config import config, state
from hybridnn.core import variable as core_variable
from hybridnn.core.debugging import add_stack, check_nan
from hybridnn.core.labels import only_arrays
from hybridnn.core.programs import OPS, as_ndarray

__all__ = ["add_gradients", "fit", "nodes_behind", "own", "walk", "walk_to"]


def _go_to(g):
    """The device of a gradient becomes the current one."""
    get_device_from_array(*[getattr(v, "_array", v) for v in (g.values() if type(g) is dict else (g,))]).use()


def walk(grads, roots, retain_grad, as_variables, loss_scale, store=None, keep=None):
    """Visit nodes from the newest back; ``grads`` maps a node to its gradient (a list of them for a node with several outputs). ``store`` takes the gradient
    of a leaf, ``keep`` that of another node, if it is to be retained."""
    heap = [(-n.seq, n) for n in grads]
    heapq.heapify(heap)
    pop, push = heapq.heappop, heapq.heappush
    hooks, store, keep = state.hooks, store or _store, keep or _keep
    plain = cupy is None and hooks is None and not as_variables and not retain_grad
    while heap:
        node = pop(heap)[1]
        g = grads.pop(node)
        if plain and node.tape is not None and not node.tape.walked and not node.is_leaf and node.tape.through(node, g, grads, heap):
            g = None       # ``grads`` is to be the only owner, here and below
            continue
        if plain and not node.is_leaf and node.plain and type(g) is not dict:
            for x, gx in zip(node.edges, node.program.on_arrays(node, g)):      # what ``gradients`` and the rest below do, where nothing is special
                if x is None or gx is None:
                    continue
                if gx.shape != x.shape or gx.dtype is not x.dtype:
                    gx = fit(gx, x.shape, x.dtype)
                before = grads.get(x)
                if before is None:
                    grads[x] = gx
                    push(heap, (-x.seq, x))
                else:
                    grads[x] = add_gradients(before, gx)
            gx = before = None
            continue
        if cupy is not None:
            _go_to(g)
        if node.is_leaf:
            if node.wanted:
                store(node, g, as_variables, loss_scale)
            continue
        if retain_grad and node not in roots and node.shape is not None:
            keep(node, g, as_variables)
        if node.owner is not None:
            owner = node.owner
            slots = grads.get(owner)
            if slots is None:
                slots = grads[owner] = {}
                push(heap, (-owner.seq, owner))
            slots[node.index] = g if node.index not in slots else add_gradients(slots[node.index], g)
            continue
        if type(g) is dict:
            if node.seeded is not None and not getattr(state.tracer, "is_of_the_past", False):
                _take_seeds(node, g, retain_grad, as_variables)
            g = _all_outputs(node, g)
        gxs = node.gradients(g, as_variables) if hooks is None else _hooked_gradients(node, g, as_variables)
        for x, gx in zip(node.edges, gxs, strict=False):
            if gx is None:
                continue
            before = grads.get(x)
            if before is None:
                grads[x] = gx
                push(heap, (-x.seq, x))
            else:
                grads[x] = add_gradients(before, gx)


def walk_to(grads, targets, retain_grad):
    """Find the gradients of ``targets`` (a dict from nodes, to be filled), visiting what lies between."""
    useful = _between(list(grads), targets)
    heap = [(-n.seq, n) for n in grads if n in useful]
    heapq.heapify(heap)
    while heap:
        node = heapq.heappop(heap)[1]
        g = grads.pop(node)
        if cupy is not None:
            _go_to(g)
        if type(g) is dict:
            g = _all_outputs(node, g)
        if node in targets:
            targets[node] = g
        if retain_grad and node.shape is not None and not node.is_leaf:
            node.grad = g
        for x, gx in _pull(node, g, useful):
            if x not in grads:
                heapq.heappush(heap, (-x.seq, x))
                grads[x] = gx
            elif type(gx) is dict:
                for i, gi in gx.items():
                    grads[x][i] = gi if i not in grads[x] else add_gradients(grads[x][i], gi)
            else:
                grads[x] = add_gradients(grads[x], gx)


if cupy is not None:
    walk, walk_to = back_after()(walk), back_after()(walk_to)


def _pull(node, g, useful):
    """The contributions of one node to its inputs."""
    if node.is_leaf:
        return []
    if node.owner is not None:
        return [(node.owner, {node.index: g})]
    if not any(x in useful for x in node.edges if x is not None):
        return []
    gxs = node.gradients(g, True) if state.hooks is None else _hooked_gradients(node, g, True)
    return [(x, gx) for x, gx in zip(node.edges, gxs, strict=True) if gx is not None and x in useful]


def nodes_behind(sources):
    """All nodes that ``sources`` depend on, and these. Raises RuntimeError for a gradient that an old-style ``Function`` gave."""
    order, seen, stack = [], set(sources), list(sources)
    while stack:
        node = stack.pop()
        if node.closed is not None and not node.is_leaf:
            raise RuntimeError(node.closed)
        order.append(node)
        for x in () if node.is_leaf else node.edges:
            if x is not None and x not in seen:
                seen.add(x)
                stack.append(x)
    return order


def _between(sources, targets):
    """Nodes on a path from ``sources`` back to ``targets``."""
    users, useful = {}, set()
    for node in nodes_behind(sources):
        if node in targets:
            useful.add(node)
        for x in () if node.is_leaf else node.edges:
            if x is not None:
                users.setdefault(x, []).append(node)
    stack = list(useful)
    while stack:
        for node in users.get(stack.pop(), ()):
            if node not in useful:
                useful.add(node)
                stack.append(node)
    return useful


def _hooked_gradients(node, g, as_variables):
    """The gradients of a node's inputs, with function hooks, which see the outputs' gradients and the inputs that were kept."""
    hooks = list(state.hooks.values())
    given = tuple([getattr(x, "array", x) for x in (g if type(g) is tuple else (g,))])
    data = only_arrays(node.kept_inputs())
    for hook in hooks:
        hook.backward_preprocess(node, data, given)
    try:
        result = node.gradients(g, as_variables)
    except Exception as error:
        add_stack(error, node)
        raise
    for hook in hooks:
        hook.backward_postprocess(node, data, given)
    if config.debug:
        check_nan(node.label, "backward", [getattr(x, "array", x) for x in result])
    return result


def _take_seeds(node, slots, retain_grad, as_variables):
    """Outputs that the walk did not come by contribute the gradients that a living Variable was given; these are used up, as those of the roots are."""
    for i, ref in node.seeded.items():
        y = ref()
        if y is None or i in slots or y.is_leaf or y.grad is None or y.giver() is None:
            continue
        g = y.grad
        slots[i] = core_variable.as_variable(g) if as_variables else getattr(g, "array", g)
        if not retain_grad:
            y.grad = None


def _all_outputs(node, slots):
    count = node.n_outputs
    return tuple([slots.get(i) for i in range(count)])


def add_gradients(a, b):
    """The sum of two contributions."""
    return as_ndarray(np.add(a, b)) if type(a) is type(b) is np.ndarray else OPS["add"](a, b)


def _store(node, g, as_variables, loss_scale):
    """Accumulate into a leaf. The array stored is nobody else's, so that writing into one gradient never changes another."""
    node.loss_scale = loss_scale
    if node.grad is not None:
        node.grad = add_gradients(node.grad, g) if as_variables else as_ndarray(np.add(getattr(node.grad, "array", node.grad), g))
        return
    if not as_variables:
        g = g if type(g) is np.ndarray else as_ndarray(g)
        if g.base is not None or count_references(g) > SOLE_OWNER:
            g = g.copy()
    elif not state.backprop:        # hooks look at the Variables of the walk
        g = g._array.copy()
    else:
        own(g)
    node.grad = g


def _keep(node, g, as_variables):
    """Retain a gradient, in an array that is nobody else's, as a leaf's is."""
    node.grad = own(g) if as_variables and state.backprop else as_ndarray(getattr(g, "_array", g)).copy()


def own(g):
    """A Variable that a walk has made, whose array is no view of another's, nor of itself as a broadcast one is."""
    if g._array.base is not None:
        g._array = g._array.copy()
    return g


SOLE_OWNER = 3       # the walk's local, this function's parameter, and getrefcount's argument


def fit(g, shape, dtype):
    """``g`` summed over what broadcasting added, in the operand's dtype."""
    if g.shape != shape:
        g = OPS["sum_to"](g, shape=shape)
    return g if g.dtype == dtype else OPS["cast"](g, dtype=np.dtype(dtype).str)
