"""Iterators and views of dicts, as the observer follows them: they look at what they go through when somebody asks for an item, and it may have changed."""
import functools
from collections.abc import Iterator as Iterable

from hybridnn.trace.refs import DICTS, Doubt, Iterator, Ref, constant, mirror

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
    """Makes iterators and views."""

    def iterate(self, ref, backwards=False):
        """The iterator that ``iter``, or ``reversed``, makes of a value."""
        ref = self.use(ref)
        if ref.kind == "iterator":
            return ref.value
        if ref.kind == "mirror" and isinstance(ref.value, list) and not backwards:
            return Iterator(ref.value)
        if type(ref.value) is list and ref.kind in ("mirror", "static"):
            look, n = self._members_now(ref.value) if ref.kind == "static" else functools.partial(_member, ref.value), len(ref.value)
            return Looked(n, lambda k: look(n - 1 - k if backwards else k))
        if ref.kind == "set" or type(ref.value) in DICTS and ref.kind in ("mirror", "static"):
            return self._unchanged(Rows("keys", self._dict_now(ref)) if ref.kind != "set" else ref.value, self._items(ref), backwards)
        if ref.kind == "mirror" and type(ref.value) is Rows:
            return self._unchanged(ref.value, ref.value, backwards)
        items = self._items(ref)
        return Iterator(items[::-1] if backwards else items)

    def _members_now(self, box):
        """A function that gives the members of a list from outside by their numbers."""
        members = self._items(Ref("static", box))

        def look(k):
            if id(box) in self.grown:
                raise Doubt("goes through a list that has got other members")
            return self.overlaid("item", box, k) or members[k]
        return look

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
