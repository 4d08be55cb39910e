"""Loops, iterators and views of dicts, as the observer follows them: they look at what they go through when somebody asks for an item, and it may have
changed."""
import functools
from collections import Counter, deque
from collections.abc import Iterator as Iterable

from hybridnn.core.indexing import get_item
from hybridnn.core.variable import Variable
from hybridnn.trace.events import vid_of
from hybridnn.trace.refs import DICTS, Doubt, Iterator, Ref, VariableRows, constant, mirror

__all__ = ["Iteration", "Lazy", "Rows", "through"]


class Rows:
    """A view of a dict, which can be gone through, but not given to the user. ``members`` gives what the dict has now."""

    def __init__(self, what, members):
        self.what, self.members = what, members

    def __len__(self):
        return len(self.members())

    def __iter__(self):
        return iter([self.row(k, v) for k, v in self.members().items()])

    def row(self, key, value):
        """The Ref that the view gives for a member."""
        if self.what == "items":
            return mirror(tuple, [constant(key), value])
        return constant(key) if self.what == "keys" else value


class Looked(Iterator):
    """An iterator over ``n`` items, each of which is looked up when somebody asks for it; ``look`` may find none any more."""

    def __init__(self, n, look):
        self.n, self.look, self.at = n, look, 0

    def next(self):
        item = self.look(self.at) if self.at < self.n else None
        self.at += 1
        if item is None:
            self.n = 0
        return item


class Lazy(Iterator):
    """Takes its items from an iterator of Python's over Refs."""

    def __init__(self, items: Iterable):
        self.given = items

    def next(self):
        return next(self.given, None)


def through(iterator):
    """An iterator of Python's over the items of one that is followed."""
    return iter(iterator.next, None)


class Iteration:
    """Instructions that go through values, and the iterators and views that they make."""

    def op_GET_ITER(self, f, i):
        ref = self.use(f.stack.pop())
        if isinstance(ref.value, Variable):
            self._operators_of(ref, "__iter__", "__getitem__", "__len__")
            f.waiting = ("call", Ref("static", "__iter__"), [ref], {}, "push")
            return
        if self.calls_iter(f, ref):
            return
        f.stack.append(ref if ref.kind == "iterator" else Ref("iterator", self.iterate(ref)))

    op_GET_YIELD_FROM_ITER = op_GET_ITER

    def op_SEND(self, f, i):
        it = f.stack[-2]
        if it.kind != "iterator":
            raise Doubt("awaits something")
        self.ask(it.value)
        f.stack.pop()
        item = it.value.next()
        if item is None:
            f.stack[-1] = getattr(it.value, "returned", None) or constant(None)
        else:
            f.stack.append(item)

    def op_YIELD_VALUE(self, f, i):
        f.waiting = ("yield", f.stack.pop())

    def op_RETURN_GENERATOR(self, f, i):
        """The generator has been made; its first instructions were not seen."""

    def op_FOR_ITER(self, f, i):
        it = f.stack[-1]
        if it.kind != "iterator":
            raise Doubt("goes through something whose members are not known")
        if isinstance(it.value, VariableRows):
            self._next_row(f, i, it.value)
            return
        self.ask(it.value)
        item = it.value.next()
        f.branch = i.argval if item is None else i.offset + 2       # the program may have given a list more members meanwhile
        if item is None:
            f.stack.pop()
        else:
            f.stack.append(item)

    def _next_row(self, f, i, rows):
        k = rows.more()
        f.branch = i.argval if k is None else i.offset + 2
        if k is None:
            f.stack.pop()
            f.waiting = ("make", None, [], {}, None)       # the library's generator ends meanwhile
        else:
            f.waiting = ("call", Ref("static", "__next__"), [rows.items], {}, "push")

    def rows_of(self, ref):
        """The iterator over the rows of a Variable."""
        self._operators_of(ref, "__iter__", "__getitem__", "__len__")
        if ref.kind == "static":
            self._same_array(ref.value)
        return VariableRows(ref, self.made_row)

    def made_row(self, ref, k):
        """Row ``k`` of a Variable, which the instruction that is followed has made."""
        for e in self.call.path[self.frames[-1].retrying[3]:]:
            if e.kind == "op" and e.key[:2] == (get_item, {"index": (k,)}) and vid_of(e.operands[0]) == self.call.known_vid(ref.value):
                if (id(e), k) not in self.rows_made:
                    self.rows_made.add((id(e), k))
                    return self.fresh(e.outs[0].vid)
        raise Doubt("goes through a Variable, of which the rows are not made one by one")

    def iterate(self, ref, backwards=False):
        """The iterator that ``iter``, or ``reversed``, makes of a value."""
        ref = self.use(ref)
        if ref.kind == "iterator":
            return ref.value
        if ref.kind == "mirror" and isinstance(ref.value, list) and not backwards:
            return Iterator(ref.value)
        if ref.kind == "mirror" and type(ref.value) in (list, deque) or ref.kind == "static" and type(ref.value) is list:
            look, n = self._members_now(ref.value) if ref.kind == "static" else functools.partial(_member, ref.value), len(ref.value)
            return Looked(n, lambda k: look(n - 1 - k if backwards else k))
        if ref.kind == "set" or type(ref.value) in DICTS and ref.kind in ("mirror", "static") or ref.kind == "mirror" and type(ref.value) is Counter:
            return self._unchanged(Rows("keys", self._dict_now(ref)) if ref.kind != "set" else ref.value, self._items(ref), backwards)
        if ref.kind == "mirror" and type(ref.value) is Rows:
            return self._unchanged(ref.value, ref.value, backwards)
        items = self._items(ref)
        return Iterator(items[::-1] if backwards else items)

    def _members_now(self, box):
        """A function that gives the members of a list from outside by their numbers."""
        members, grown = self._items(Ref("static", box)), self._growth(box)

        def look(k):
            if self._growth(box) != grown:
                raise Doubt("goes through a list that has got other members")
            return self.overlaid("item", box, k) or members[k]
        return look

    def _growth(self, box):
        """What this call has done so far to the members of a list from outside."""
        return id(box) in self.grown, len(self.appended_to(box)), self.popped.get(id(box), 0), id(box) in self.trimmed

    def _unchanged(self, box, items, backwards):
        """The iterator over a dict, a view of one, or a set: it has the members that it had at first. Values may have been assigned."""
        first = _keys(box)

        def look(k):
            now = _keys(box)
            if len(now) != len(first) or any(x is not y and x != y for x, y in zip(first, now, strict=True)):
                raise Doubt("goes through a dict or set that has got other members")
            return list(box if type(box) is Rows else items)[-1 - k if backwards else k]
        return Looked(len(first), look)

    def _dict_now(self, ref):
        """A function that gives the members of a dict, as Refs."""
        if ref.kind == "mirror":
            return lambda: ref.value
        box, first = ref.value, self._dict_members(ref.value).value
        return lambda: first if id(box) not in self.rewritten | self.grown else self._dict_members(box).value

    def view_of_dict(self, ref, what):
        """``keys()``, ``values()`` or ``items()`` of a dict."""
        return Ref("mirror", Rows(what, self._dict_now(ref)))


def _member(box, k):
    return box[k] if k < len(box) else None


def _keys(box):
    return list(box.members() if type(box) is Rows else box)
