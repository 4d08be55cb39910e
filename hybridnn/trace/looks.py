"""Looks at values (``bool``, ``float``, ``.array`` ...), which end a segment, ``unchain`` and ``unchain_backward``."""
from hybridnn.core.variable import READERS
from hybridnn.errors import user_line
from hybridnn.trace.events import Event
from hybridnn.trace.operands import has_creator

__all__ = ["look", "match_unchain", "now", "record_unchain"]

OUTCOMES = ("bool", "int", "index")


def look(call, kind, v, vid, args):
    """The user's program looks at a value; for ``expose`` at the whole array."""
    if call.mode == "replay":
        if not any(e.kind == "read" and e.key[0] == kind and e.operands[0] == vid for e in call.cursor.children):
            call.leave()
        else:
            call.flush()
    value = None if kind == "expose" else READERS[kind](v._array, *args)
    outcome = (type(value), repr(value)) if kind in OUTCOMES else None
    if call.mode == "replay":
        for event in call.cursor.children:
            if event.kind == "read" and event.key == (kind, outcome, args) and event.operands[0] == vid:
                call.advance(event)
                call.executed = len(call.path)
                return value
        call.leave()
    if call.mode == "record":
        call.add(Event("read", (kind, outcome, args), (vid,), line=user_line()))
        call.now_seen()
    return value


def now(v):
    """The array of a Variable that no event is noted of."""
    return v._array if v._array is not None else v.array


def match_unchain(call, vid, how):
    """Whether a known event forgets the creator of the value, or all creators from there back."""
    for event in call.cursor.children:
        if event.kind == "unchain" and event.operands[0] == vid and event.key[2] == how:
            call.advance(event)
            call.cut |= event.key[0]
            for leaf in event.key[1]:
                with call.paused():
                    getattr(call.leaves[leaf], how)()
            return True
    return False


def record_unchain(call, v, vid, how):
    """``v.unchain()`` or ``v.unchain_backward()``, added to the tree with the values whose creators it forgets."""
    with call.paused():
        reached = {vid} if how == "unchain" else _ancestors(call, v)
        outside = tuple(k for k in sorted(reached) if has_creator(call.leaves.get(k)))
        v._forget_creator() if how == "unchain" else v.unchain_backward()
    if call.mode == "record":
        own = frozenset(k for k in reached if k not in call.leaves)
        call.cut |= own
        call.add(Event("unchain", (own, outside, how), (vid,), line=user_line()))


def _ancestors(call, v):
    seen, stack, vids = set(), [v._tape] if v._tape is not None else [], set()
    while stack:
        node = stack.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in call.nodes:
            vids.add(call.nodes[id(node)])
        stack += [] if node.is_leaf else [p for p in node.edges if p is not None]
    for event in call.path:       # a node is forgotten with all its outputs
        for app in event.apps if event.function is None else (event.function,):
            if not vids.isdisjoint(app.node.outputs):
                vids.update(app.node.outputs)
    return vids
