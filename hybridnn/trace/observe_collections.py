"""``deque``, ``Counter``, ``OrderedDict`` and ``defaultdict`` that the program makes during the call, as the observer follows them."""
from collections import Counter, defaultdict, deque

from hybridnn.trace.observe_builtins import PURE_BUILTINS
from hybridnn.trace.refs import DICTS, Default, Doubt, Pending, Raised, Ref, class_lookup, constant, mirror

__all__ = ["COUNTING", "Collections"]

DEQUE_METHODS = frozenset(["append", "appendleft", "clear", "copy", "extend", "extendleft", "insert", "pop", "popleft", "reverse", "rotate"])
COUNTING = frozenset(["copy", "elements", "most_common", "subtract", "total", "update"])      # methods of a ``Counter`` that are written in Python


class Collections:
    """What these do beside what lists and dicts do. The Ref of one has the kind ``mirror``; its value is one like it, of Refs."""

    def make_deque(self, args, kw):
        """The call of ``deque``."""
        given = dict(zip(("iterable", "maxlen"), args, strict=False), **kw)
        most = self.plain(given["maxlen"]) if "maxlen" in given else None
        return Ref("mirror", deque(self._items(given["iterable"]) if "iterable" in given else (), most))

    def deque_method(self, box, name, args):
        """A method of a deque that the call has made."""
        if name not in DEQUE_METHODS:
            raise Doubt(f"calls the method {name} of a deque")
        if name in ("pop", "popleft") and not box:
            raise Raised(IndexError)
        plain = [self._items(a) if name in ("extend", "extendleft") else self.plain(a) if name == "rotate" or name == "insert" and k == 0 else a
                 for k, a in enumerate(args)]
        result = getattr(box, name)(*plain)
        return Ref("mirror", result) if name == "copy" else result if isinstance(result, Ref) else constant(None)

    def ordered_method(self, box, name, args, kw):
        """``move_to_end`` and ``popitem`` of a dict that the call has made."""
        plain = [self._key(args[0]), *map(self.plain, args[1:])] if name == "move_to_end" else [*map(self.plain, args)]
        if not box or name == "move_to_end" and plain[0] not in box:
            raise Doubt("an exception is raised")
        result = getattr(box, name)(*plain, **{k: self.plain(v) for k, v in kw.items()})
        return constant(None) if result is None else mirror(tuple, [constant(result[0]), result[1]])

    def gives_default(self, f, box, key):
        """Whether a ``Counter`` or ``defaultdict`` that the call has made lacks a key, and gives something for it."""
        if type(box) not in (Counter, defaultdict) or key.kind != "static" or key.value in box:
            return False
        if type(box) is Counter:
            self.guard("classattr", Counter, "__missing__", class_lookup(Counter, "__missing__"))
            f.waiting = ("make", None, [], {}, constant(0))         # its __missing__ runs meanwhile
        elif box.default_factory is None:
            raise Raised(KeyError)
        else:
            self.drive(f, _made_default(box, key.value, box.default_factory.factory))
        return True

    def make_defaults(self, args, kw):
        """The call of ``defaultdict``."""
        factory = self.use(args[0]) if args else constant(None)
        there = factory.kind != "static" or factory.value is not None
        return Ref("mirror", defaultdict(Default(factory) if there else None, PURE_BUILTINS[dict](self, args[1:], kw).value))

    # ---- counters

    def make_counter(self, args, kw):
        """The call of ``Counter``."""
        found = Ref("mirror", Counter())
        self._count(found.value, args, kw, "__init__")
        return found

    def counter_method(self, box, name, args, kw):
        """A method of a ``Counter`` that the call has made."""
        if name == "update":
            self._count(box, args, kw, name)
            return constant(None)
        self.guard("classattr", Counter, name, class_lookup(Counter, name))
        if name == "copy":
            found = Counter()
            dict.update(found, box)
            return Ref("mirror", found)
        if name == "total" and not args:
            return PURE_BUILTINS[sum](self, [mirror(list, box.values())], {})
        counts = {k: self.plain(v) for k, v in box.items()}
        if name == "elements" and not args:
            return mirror(list, [constant(k) for k, n in counts.items() for _ in range(n)])
        if name == "most_common" and len(args) < 2 and not kw:
            order = sorted(counts, key=counts.__getitem__, reverse=True)
            n = self.plain(args[0]) if args else None
            return mirror(list, [mirror(tuple, [constant(k), box[k]]) for k in (order if n is None else order[:max(n, 0)])])
        raise Doubt(f"calls the method {name} of a Counter")

    def count_outside(self, box, args, kw):
        """``box.update(...)`` of a ``Counter`` from outside that has all of these members."""
        added = Ref("mirror", Counter())
        self._count(added.value, args, kw, "update")
        if not box:
            raise Doubt("an empty Counter is updated", by_chance=True)
        for key, n in added.value.items():
            if type(dict.get(box, key)) not in (int, float):
                raise Doubt("a Counter gets a new member", by_chance=True)
            self._store_item(box, constant(key), _sum(self, n, self._static_item(box, key)))
        return constant(None)

    def _count(self, box, args, kw, name):
        """Add to a ``Counter`` what it gets as the members of a sequence, or with their numbers as a dict."""
        for each in {name, "update", "__missing__", "__setitem__"}:
            self.guard("classattr", Counter, each, class_lookup(Counter, each))
        given = self.use(args[0]) if args else constant(None)
        counted = given.kind == "mirror" and isinstance(given.value, dict) or given.kind == "static" and type(given.value) in DICTS
        if counted:
            self._add_counts(box, PURE_BUILTINS[dict](self, [given], {}).value)
        elif given.kind != "static" or given.value is not None:
            for item in self._counted_items(given):
                self._add_counts(box, {self._key(item): constant(1)}, one=True)
        self._add_counts(box, kw)

    def _add_counts(self, box, counts, one=False):
        there = bool(box) or one        # an empty counter takes the numbers of a dict as they are
        for key, n in counts.items():
            dict.__setitem__(box, key, _sum(self, n, dict.get(box, key, constant(0))) if there else n)

    def _counted_items(self, ref):
        """The members of a sequence; the library's own Python takes them."""
        try:
            items = self._items(ref)
        except Pending as pending:
            raise Pending(True, pending.iterator) from None
        if any(r.kind in ("number", "hole", "array") for r in items):
            raise Doubt("counts values that are others on every call, in Python; np.bincount or np.unique would")
        return items


def _sum(observer, x, y):
    return PURE_BUILTINS[sum](observer, [mirror(list, [y]), x], {})


def _made_default(box, key, factory):
    """What a ``defaultdict`` does where a key is missing."""
    value = yield factory, []
    box[key] = value
    return value
