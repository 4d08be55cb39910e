"""From a fused graph to steps: every node becomes a kernel, a library call, a change of view, a copy, or a Python step.

Lowering goes in three turns: places and steps in graph order, with memory as roots; then who owns each root (output arrays,
targets of in-place writes, the arena) and the memory plan; then native steps with addresses.
"""
import functools
from collections import Counter
from math import prod

import numpy as np

from hybridnn.core.op import OPS
from hybridnn.jit import gemm, kernels, layout, lower_memory, native, source
from hybridnn.jit.blas import can_multiply
from hybridnn.jit.blas import readable as blas_readable
from hybridnn.jit.checks import LABELLED, label_check, label_check_text
from hybridnn.jit.inplace import inplace_pairs
from hybridnn.jit.join import view_index
from hybridnn.jit.lower_conv import CONVOLUTIONS
from hybridnn.jit.lower_linalg import LINEAR
from hybridnn.jit.lower_pool import POOLINGS
from hybridnn.jit.lower_rows import ROWS, add_products, in_parts, turned
from hybridnn.jit.lower_scan import SCANS
from hybridnn.jit.lower_steps import Lowered, LowStep, bytes_of
from hybridnn.jit.moves import can_copy, copy_step, fill_step, rows_apart
from hybridnn.jit.native import View
from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.order import VIEWS
from hybridnn.jit.places import ARENA, CONSTANT, INPUT, OUTPUT, SCALAR, SLOT, Place, Root, element_of, sliced, viewed, whole
from hybridnn.jit.row_blocks import in_blocks, number_of_blocks, split_operands
from hybridnn.jit.source_writer import lessened
from hybridnn.jit.support import is_expensive

__all__ = ["bind", "lower"]

SURE = ("elementwise", "reduction", "matmul")     # kinds of nodes that do nothing and cannot fail where their results have no elements
PLACING = ("fused", "matmul", "products", "take")     # kinds of nodes, and operations, that write their results where these belong
WIDEST = 8                    # bytes of the largest element of a kernel
NEAR = 4                      # steps between elements that vector code is written for
PARALLEL_BYTES = 400_000      # below, a step runs on one thread
OFTEN, FEW_ROWS = 4, 64       # products of so many rows at most that read an operand transposed, from which on a copy of it pays


class _Lowering:
    def __init__(self, graph, reasons):
        self.graph, self.specs, self.reasons = graph, graph.specs, reasons
        self.values, self.steps, self.roots, self.constants = {}, [], [], []
        self.inputs = {}
        self.n_slots = 0
        self.checks = 0       # steps at the beginning that look at labels
        self.checked = set()  # (labels, the one that is ignored, number of classes) that such steps have looked at
        self.layouts = {}     # value -> [(layout of oneDNN, place)]; such a value need not be in ``values``
        self.known = {}       # kernel calls by nest and operands
        self.there = {}       # values that kernels are to write straight into what they are joined to -> these places
        self.dear = {}        # id of a nest -> its loads, if what it does along the innermost axis is expensive
        self.halves = {}      # what nests become that sum up by blocks of rows: (id of the nest, blocks) -> both halves
        self.parts, self.turned = self._find_parts(), self._find_turned()
        self.turned_often = Counter(n.inputs[1] for n in graph.nodes if _turns(graph.specs, n))
        self.lying = {}       # values that many products read transposed -> places of copies

    def _find_parts(self):
        """Values that kernels can write straight into what they are joined to: value -> (join node, number)."""
        producer = {v: n for n in self.graph.nodes for v in n.outputs}
        kept = {*self.graph.outputs, *(v for _, v in self.graph.writes)}
        parts = {}
        for node in self.graph.nodes:
            for k, v in enumerate(node.inputs if node.op.kind == "join" else ()):
                made = producer.get(v)
                direct = made is not None and (made.op.kind in PLACING or made.op.name in PLACING or made.op.kind == "join" and made.op.full)
                if direct and v not in kept and v not in parts:
                    parts[v] = node, k
        return parts

    def _find_turned(self):
        """Joins that are only read transposed: value -> axes. They are laid out as they are read."""
        if not any([n.op.kind == "join" for n in self.graph.nodes]):
            return {}
        returned = [*self.graph.outputs, *(v for _, v in self.graph.writes)]
        uses = Counter([*returned, *(v for n in self.graph.nodes for v in n.inputs)])
        full = {n.outputs[0] for n in self.graph.nodes if n.op.kind == "join" and n.op.full and uses[n.outputs[0]] == 1}
        return {n.inputs[0]: dict(n.attrs)["axes"] for n in self.graph.nodes if n.op.name == "transpose" and n.inputs[0] in full}

    # ---- values

    def start(self):
        for k, v in enumerate(self.graph.inputs):
            spec = self.specs[v]
            root = self.inputs[v] = Root(SCALAR if spec.weak else INPUT, k, spec.nbytes)
            self.values[v] = whole(root, spec.shape, spec.dtype)
        for v, c in self.graph.constants:
            spec = self.specs[v]
            self.constants.append(c if spec.weak else np.ascontiguousarray(c).reshape(spec.shape))
            self.values[v] = whole(Root(CONSTANT, len(self.constants) - 1, spec.nbytes), spec.shape, spec.dtype)

    def fresh(self, shape, dtype, kind=ARENA):
        root = Root(kind, 0, prod(shape) * dtype.itemsize)
        self.roots.append(root)
        return whole(root, shape, dtype)

    def new_value(self, v):
        place = self.values[v] = self.fresh(self.specs[v].shape, self.specs[v].dtype)
        return place

    def target(self, v):
        """Where a kernel writes value v: memory of its own, or its part of what it is joined to."""
        if v in self.parts and self.specs[v].size:
            node, k = self.parts[v]
            place = self.there[v] = _part(self.joined(node), node.op.indices[k])
            return place
        if v in self.turned:
            axes, shape = self.turned[v], self.specs[v].shape
            dense = self.fresh([shape[a] for a in axes], self.specs[v].dtype)
            return viewed(dense, OPS["transpose"], {"axes": tuple(np.argsort(axes).tolist())})
        return self.fresh(self.specs[v].shape, self.specs[v].dtype)

    def product_target(self, v, fits):
        """As ``target``, for a product: its part must have dense rows, and ``fits(place)``."""
        if v in self.parts and self.specs[v].size and len(self.specs[v].shape) > 1:
            place = self.target(v)
            rows, columns = place.strides[-2:]
            if columns == place.dtype.itemsize and rows >= columns * place.shape[-1] and fits(place):
                self.values[v] = place
                return place
        return self.new_value(v)

    def rows_target(self, v, axes):
        """As ``target``, for rows that are copied, which the first ``axes`` axes number: those of its part must lie as far apart as each other."""
        if v in self.parts:
            place = self.target(v)
            if rows_apart(place, axes, place.dtype.itemsize) is not None:
                self.values[v] = place
                return place
        return self.new_value(v)

    def joined(self, node):
        """The place of a join's result, made (and cleared, if its parts leave gaps) when its first part is."""
        v = node.outputs[0]
        if v not in self.values:
            place = self.values[v] = self.target(v)
            if not node.op.full:
                self.steps.append(LowStep("fill", "zeros", [], [place], lambda at: fill_step(at(place), 0, place.dtype), node, ("join",)))
        return self.values[v]

    def join(self, node):
        """Copies of the parts that are not in place yet."""
        whole_place = self.joined(node)
        for k, (v, index) in enumerate(zip(node.inputs, node.op.indices, strict=True)):
            if not self.specs[v].size or self.values[v] is self.there.get(v) and self.parts[v] == (node, k):
                continue
            part = _part(whole_place, index)
            if self.values[v] != part:
                self.must_copy(self.values[v], part)
        return True

    # ---- nodes

    def node(self, node):
        name = node.op.name
        done = False
        if node.op.kind == "fused":
            done = self.fused(node)
        elif name in VIEWS and not self.specs[node.inputs[0]].weak:
            done = self.view(node)
        elif node.op.kind == "join":
            done = self.join(node)
        elif node.op.kind == "check":
            done = _check(self, node)
        elif name in _NATIVE:
            done = _NATIVE[name](self, node)
        if not done and not self.empty(node):
            self.python(node)

    def empty(self, node):
        """Results without elements need no step, and sums of no elements, which products also are, are zero."""
        op, results = node.op, [self.specs[v] for v in node.outputs]
        if OPS.get(op.name) is not op or op.kind not in SURE and op.name not in VIEWS:
            return False
        if not any([spec.size for spec in results]):
            for v in node.outputs:
                self.new_value(v)
            return True
        if op.name not in ("sum", "matmul") or all([self.specs[v].size for v in node.inputs]):
            return False
        place = self.new_value(node.outputs[0])
        self.step("fill", "zeros", [], [place], lambda at: fill_step(at(place), 0, place.dtype), node)
        return True

    def view(self, node):
        x = self.values[node.inputs[0]]
        y = viewed(x, node.op, dict(node.attrs)) if self.specs[node.inputs[0]].size else None
        if y is None:
            return self.copied_view(node, x)
        self.values[node.outputs[0]] = y
        return True

    def copied_view(self, node, x):
        """A reshape of something that is not contiguous, or a single element, of which NumPy gives no view."""
        element = element_of(x, node.op, dict(node.attrs))
        if element is not None:
            self.values[node.outputs[0]] = self.fresh((), x.dtype)
            return self.copy(element, self.values[node.outputs[0]], node)
        if node.op.name != "reshape" or not self.specs[node.inputs[0]].size:
            return False
        dense = self.fresh(x.shape, x.dtype)
        if not self.copy(x, dense, node):
            return False
        self.values[node.outputs[0]] = whole(dense.root, self.specs[node.outputs[0]].shape, x.dtype)
        return True

    def copy(self, x, y, node=None):
        if not can_copy(x.in_buffer(), y.in_buffer(), x.dtype.itemsize):
            return False
        self.steps.append(LowStep("copy", "copy", [x], [y], lambda at: copy_step(at(x), at(y), x.dtype.itemsize, _grain_bytes(x)),
                                  ops=(node.op.name,) if node else (), lines=(node.line,) if node and node.line else ()))
        return True

    def dense(self, v):
        """The place of value v in C order without gaps: from now on that of a copy, if need be."""
        place = self.values[v]
        if not place.dense:
            copy = self.fresh(place.shape, place.dtype)
            self.must_copy(place, copy)
            self.values[v] = copy
        return self.values[v]

    def rows(self, v, axes):
        """The place of value v if its rows, which the first ``axes`` axes number, lie as far apart as each other; else as ``dense``."""
        place = self.values[v]
        return place if rows_apart(place, axes, place.dtype.itemsize) is not None else self.dense(v)

    def readable(self, place):
        """The place if BLAS can read the matrices in it (not those of rows that run backwards or are one row many times), else that of a copy."""
        if blas_readable(place.in_buffer(), place.dtype.itemsize):
            return place
        repeated = [n > 1 and stride == 0 for n, stride in zip(place.shape[:-2], place.strides)] + [False] * 2     # matrices, which need one copy
        once = Place(place.root, place.offset, tuple(1 if r else n for r, n in zip(repeated, place.shape)), place.strides, place.dtype)
        copy = self.fresh(once.shape, place.dtype)
        self.must_copy(once, copy)
        return Place(copy.root, 0, place.shape, tuple(0 if r else stride for r, stride in zip(repeated, copy.strides)), place.dtype)

    def must_copy(self, x, y):
        """A copy, by a Python step where there is no native one."""
        if not self.copy(x, y):
            self.steps.append(LowStep("python", "copy", [x], [y], reason="no native copy"))

    def step(self, kind, name, reads, writes, build, node, **more):
        """A step that does one node."""
        self.steps.append(LowStep(kind, name, reads, writes, build, node, (node.op.name,), (node.line,) if node.line else (), **more))

    def python(self, node):
        """The op's own forward on views; its results are new arrays, or None for a view of an operand's memory, which is copied."""
        reads = [self.values[v] for v in node.inputs]
        writes = []
        for v in node.outputs:
            place = self.values[v] = self.fresh(self.specs[v].shape, self.specs[v].dtype, SLOT)
            place.root.index = self.n_slots
            self.n_slots += 1
            writes.append(place)
        self.step("python", node.op.name, reads, writes, None, node, reason=self.reasons.get(node.outputs[:1], f"no native step for {node.op.name}"))

    def fused(self, node):
        op = node.op
        reads = self.near(node)
        try:
            ins = tuple([_operand(p) for p in reads])
            writes = [self.target(v) for v in node.outputs]
            outs = tuple([_operand(p) for p in writes])
            arranged, text, inplace = self.arranged(op.nest, ins, outs)
        except ValueError:
            return False
        self.values.update(zip(node.outputs, writes, strict=True))
        step = LowStep("kernel", op.name, reads, writes, node=node, ops=op.ops, lines=op.lines,
                       arranged=arranged, text=text, inplace=inplace)
        for each in self.in_blocks(step, ins, outs):
            each.scratch = [self.fresh((n,), np.dtype("u1")) for n in each.arranged.scratch]
            each.build = _kernel_step       # takes the step, which would be a cycle if it held itself
            self.steps.append(each)
        return True

    def in_blocks(self, step, ins, outs):
        """The step, or two instead of one whose threads would share columns, where blocks of rows are better."""
        nest, arranged = step.node.op.nest, step.arranged
        shares_columns = arranged.structure.style == "column" and arranged.structure.axes == (True, False) and _grain(step)
        blocks = number_of_blocks(nest, arranged.sizes[0]) if shares_columns else None
        if blocks is None:
            return [step]
        key = id(nest), blocks
        first, second = self.halves[key] = self.halves.get(key) or in_blocks(nest, blocks)
        shape = [n for a, n in enumerate(first.nest.sizes) if a not in first.nest.reduced]
        sums = [self.fresh(shape, np.dtype(i.kind)) for i in first.nest.items if i.fn in REDUCTIONS]
        rows = nest.sizes[0] // blocks

        def step_of(half, read, made, name, ops):
            reads, writes = [*read, *(step.reads[k] for k, _ in half.reads)], [*made, *(step.writes[k] for k, _ in half.writes)]
            operands = (*map(_operand, read), *split_operands(half.reads, ins, rows))
            results = (*map(_operand, made), *split_operands(half.writes, outs, rows))
            arranged, text, inplace = self.arranged(half.nest, operands, results)
            return LowStep("kernel", name, reads, writes, ops=ops, lines=step.lines, arranged=arranged, text=text, inplace=inplace)
        return [step_of(first, [], sums, step.name, step.ops), step_of(second, sums, [], "sums of blocks", ())]

    def near(self, node):
        """Where a kernel reads its operands: copies of those whose elements lie far apart along the innermost axis, if that costs less than code without
        vectors."""
        nest, places = node.op.nest, [self.values[v] for v in node.inputs]
        loads = self.dear.get(id(nest))       # the graph holds the nest
        if loads is None:
            loads = self.dear[id(nest)] = _dear_loads(nest)
        for position, dims, axis in loads:
            place = places[position]
            if not 0 <= place.strides[axis] <= NEAR * place.dtype.itemsize:
                places[position] = self.turned_copy(place, sorted(range(len(dims)), key=dims.__getitem__))
        return places

    def turned_copy(self, place, order):
        """A copy that lies in memory in this order of dimensions."""
        turned = viewed(place, OPS["transpose"], {"axes": tuple(order)})
        copy = self.fresh(turned.shape, turned.dtype)
        self.must_copy(turned, copy)
        return viewed(copy, OPS["transpose"], {"axes": tuple(np.argsort(order).tolist())})

    def right_operand(self, node):
        """The place of a product's second operand: of a copy that lies as it is read, where many products of few rows, as of the steps of a loop, read the
        operand transposed. Each of them would have to turn it anew."""
        v = node.inputs[1]
        if self.turned_often[v] < OFTEN or not _turns(self.specs, node):
            return self.values[v]
        if v not in self.lying:
            self.lying[v] = self.turned_copy(self.values[v], (1, 0))
        return self.lying[v]

    def arranged(self, nest, ins, outs):
        """(a kernel call, its text, what it does in place), the same for equal nests whose operands have equal strides."""
        key = id(nest), ins, outs       # the graph holds the nest
        found = self.known.get(key)
        if found is None:
            call = layout.arrange(nest, ins, outs)
            found = self.known[key] = call, source.render(call.structure), inplace_pairs(call)
        return found


def _dear_loads(nest):
    """What a nest loads along its innermost axis, if it computes something expensive there: (position of the operand, its dims, which of them that is)."""
    last = len(nest.sizes) - 1
    if not nest.sizes or nest.sizes[last] < 2 or not any([is_expensive(nest.items, i) and last in i.axes for i in nest.items]):
        return ()
    loads = [i.value for i in nest.items if i.fn == "load"]
    return tuple([(position, dims, dims.index(last)) for position, dims in loads if last in dims])


def _turns(specs, node):
    """Whether the node is a product of few rows, by code of our own, that reads its second operand transposed."""
    if node.op.name != "matmul" or not dict(node.attrs)["transb"] or gemm.host_tile() is None:
        return False
    a, b = (specs[v] for v in node.inputs)
    return len(a.shape) == len(b.shape) == 2 and b.dtype == np.float32 and 1 < a.shape[dict(node.attrs)["transa"]] <= FEW_ROWS


def _part(place, index):
    """The part at an index of a join."""
    return sliced(place, index) or viewed(place, OPS["get_item"], {"index": view_index(index)})


def _operand(place):
    """How a kernel goes through the place; of its offset, whether elements are aligned."""
    return _operand_at(place.offset % WIDEST, place.strides)


@functools.lru_cache(4096)
def _operand_at(offset, strides):
    return layout.Operand(0, offset, strides)


def _grain_bytes(place):
    return PARALLEL_BYTES // 2 if bytes_of(place) >= PARALLEL_BYTES else 0


def _kernel_step(step, at, address):
    arranged = step.arranged
    words = []
    for position, role, _ in arranged.operands:
        view = at(step.writes[position] if role == "store" else step.reads[position])
        words += [view.buf, view.offset]
    for place in step.scratch:
        view = at(place)
        words += [view.buf, view.offset]
    words += [word - less for word, less in zip(arranged.words, lessened(arranged.structure), strict=True)]
    return native.Step(address, np.array(words, np.int64), 0, arranged.hi, _grain(step), step.name)


def _grain(step):
    """Iterations per thread at least; 0 where one thread does it all."""
    arranged = step.arranged
    if step.bytes < PARALLEL_BYTES or arranged.hi < 2:
        return 0
    unit = 64 if arranged.structure.style in ("column", "few", "short", "tiled") or len(arranged.sizes) == 1 else 1
    return max(unit, arranged.hi * (PARALLEL_BYTES // 2) // step.bytes // unit * unit)


# --------------------------------------------------------------------------------------------------------------- library steps

def _matmul(low, node):
    attrs = dict(node.attrs)
    a, b = low.values[node.inputs[0]], low.right_operand(node)
    spec = low.specs[node.outputs[0]]
    if a.dtype != b.dtype or spec.dtype != a.dtype or 0 in (*a.shape, *b.shape):
        return False
    a, b = turned(a, attrs["transa"]), turned(b, attrs["transb"])
    y = whole(Root(ARENA, 0, spec.nbytes), spec.shape, spec.dtype)
    probes = _probes(a, b)
    if not can_multiply(*probes, y.in_buffer(2), spec.dtype):
        a, b = low.readable(a), low.readable(b)
        probes = _probes(a, b)
        if not can_multiply(*probes, y.in_buffer(2), spec.dtype):
            return False
    if in_parts(low, node, [(a, b)]):
        return True
    y = low.product_target(node.outputs[0], lambda y: can_multiply(*probes, y.in_buffer(2), spec.dtype))
    add_products(low, node, [(a, b)], y)
    return True


def _probes(a, b):
    """Views as the step will be asked for: what is found out is not found out again."""
    return a.in_buffer(), b.in_buffer(int(a.root is not b.root))


def _check(low, node):
    """Labels out of range, where they are an array of int32 or int64."""
    if node.op.op.name not in LABELLED:
        return False
    labels, classes_of = LABELLED[node.op.op.name]
    attrs = dict(node.attrs)
    ignored, classes = attrs.get("ignore_label"), classes_of([low.specs[v].shape for v in node.inputs], attrs)
    seen = node.inputs[labels], ignored, classes
    if seen in low.checked:
        return True
    if low.specs[node.inputs[labels]].dtype not in _INDEX:
        return False
    low.checked.add(seen)
    t = low.dense(node.inputs[labels])
    step = LowStep("check", node.op.name, [low.values[v] for v in node.inputs], [], lambda _, at, address: label_check(at(t), classes, ignored, address), node,
                   (node.op.op.name,), (node.line,) if node.line else (), text=label_check_text(t.dtype))
    if t.root.kind in (INPUT, CONSTANT):       # the sooner nothing can fail any more, the more may lie in outputs
        low.steps.insert(low.checks, step)
        low.checks += 1
    else:
        low.steps.append(step)
    return True


_INDEX = (np.dtype("i4"), np.dtype("i8"))
_NATIVE = {"matmul": _matmul, **ROWS, **CONVOLUTIONS, **POOLINGS, **LINEAR, **SCANS}


# ------------------------------------------------------------------------------------------------------------------ the turns

def lower(graph, reasons):
    """Lower a fused graph; ``reasons`` maps (first output,) to why a node is not fused."""
    low = _Lowering(graph, reasons)
    low.start()
    for node in graph.nodes:
        low.node(node)
    outputs = lower_memory.assign_outputs(low)
    lower_memory.assign_writes(low)
    ready = lower_memory.last_that_can_fail(low.steps) + 1
    found, bound = lower_memory.plan(low, ready)
    late = lower_memory.late_outputs(low, ready)
    return Lowered(low.steps, low.roots, low.values, low.constants, low.n_slots, found, outputs, len(graph.inputs), late, bound)


def bind(lowered, n_outputs):
    """Native steps in order (None for Python steps), all kernels loaded; and what loading took."""
    texts = list(dict.fromkeys(s.text for s in lowered.steps if s.text))
    loaded = kernels.load(texts)
    address = dict(zip(texts, loaded.addresses))
    at = _locator(lowered, n_outputs)
    steps = [None if s.build is None else s.build(s, at, address[s.text]) if s.text else s.build(at) for s in lowered.steps]
    return steps, loaded, texts


def _locator(lowered, n_outputs):
    """place -> View; buffers are: arena, inputs, constants, outputs, slots."""
    first = {ARENA: 0, INPUT: 1, SCALAR: 1, CONSTANT: 1 + lowered.n_inputs, OUTPUT: 1 + lowered.n_inputs + len(lowered.constants),
             SLOT: 1 + lowered.n_inputs + len(lowered.constants) + n_outputs}

    def locate(place):
        root = place.root
        index = 0 if root.kind == ARENA else first[root.kind] + root.index
        return View(index, root.offset + place.offset, place.shape, place.strides)
    return locate
