"""What the program writes into arrays with NumPy after the last operation: target networks, moving averages, updates by hand."""
import functools
import operator
import weakref

import numpy as np

from hybridnn.errors import user_line
from hybridnn.exact import exact
from hybridnn.trace.calculations import calculate, operand
from hybridnn.trace.changed_copies import AUGMENTED, CHANGERS, CHANGES, with_elements
from hybridnn.trace.computed import Computed, below, is_last
from hybridnn.trace.lengths import fitting, is_varied, settle
from hybridnn.trace.numpy_functions import may_overlap, place_of_output
from hybridnn.trace.observe_stores import where_id
from hybridnn.trace.overlap import lies_apart, root_array
from hybridnn.trace.own_arrays import change_own
from hybridnn.trace.refs import Doubt, Ref, constant, is_drawn, is_numeric, is_pure
from hybridnn.trace.summaries import guard_links

__all__ = ["Arrays"]


def _has_array(key):
    """Whether a key is an array or a tuple with some."""
    return any(map(_has_array, key.value)) if key.kind == "mirror" and type(key.value) is tuple else is_numeric(key)


def _overlaps(x, y):
    return isinstance(x.value, np.ndarray) and np.may_share_memory(x.value, y.value)


def _is_like(made, a):
    """Whether what has been computed is an array of the dtype and shape of ``a``."""
    y = made.value
    return made.kind == "array" and type(y) is np.ndarray and y.dtype == a.dtype and y.shape == a.shape


def _change_part(fn, a, key, y):
    fn(a[key], y)


PARTS = {symbol: functools.partial(_change_part, fn) for symbol, fn in AUGMENTED.items()}


class Arrays:
    """Statements that change arrays from outside; a plan makes them again, in order, after all else."""

    def held_array(self, v):
        """The array of a parameter, which stays one and the same unless the function assigns others."""
        if self.is_rebound(v):
            assigned = self.overlaid("attr", v, "_array")
            if assigned is None:
                self.guard("inside", v, v._array)
                assigned = Ref("state", v._array, ("inside", v))
                self.keep.append(v._array)
                self.origins.setdefault(id(v._array), assigned)
            return assigned
        self.guard("variable", v, v._array)
        return self._held(v._array)

    def _held(self, a):
        ref = Ref("state", a, ("held", a))
        self.keep.append(a)
        self.origins.setdefault(id(a), ref)
        return ref

    def fixed_array(self, a):
        """An array that stays the same object, such as a function's default."""
        self.guard("writeable", a)
        return self._held(a)

    def guard_header(self, ref):
        """An array that is the same object on every call keeps its shape and dtype, which others are looked at for anyway."""
        if ref.kind == "static" and isinstance(ref.value, np.ndarray):
            self.guard("writeable", ref.value)

    def _target(self, ref):
        """An array that is written: one that lives outside, and is the same on every call."""
        a = ref.value
        if ref.kind not in ("state", "arg") or type(a) is not np.ndarray or not lies_apart(a) or not a.flags.writeable:
            raise Doubt("stores into a container or array that may be seen from outside")
        if ref.kind == "arg":
            return self._passed_target(ref)
        if ref.source[0] == "load":
            self.guard(*ref.source[1:], a)
        elif ref.source[0] != "held":
            raise Doubt("stores into an array of an argument")
        self.guard("writeable", a)
        return self._held(a)

    def _passed_target(self, ref):
        """An argument, a member of one, or the array of a Variable there or elsewhere, that is written: the plan is for this very array, which it does not keep
        alive."""
        place = ref.source[1] if ref.source[0] == "arrayof" else ref.source
        if place[0] not in ("arg", "kwarg", "item", "load") or is_drawn(ref.source):
            raise Doubt("stores into a part of an argument")
        self.guard("itself", ref.source, ref.value)
        self.passed[id(ref.value)] = ref.source
        return Ref("state", ref.value, ref.source)

    def change_in_place(self, symbol, x, y):
        """``x += y`` and the like."""
        if x.kind in ("array", "view") and symbol in AUGMENTED and self._change_part(symbol, x, y):
            return x
        if symbol in CHANGES and self._change_made(x, CHANGES[symbol], [x, y], {}):
            return x
        if symbol not in AUGMENTED or symbol == "**=" and x.value.dtype.kind in "iu":       # whose exponent may be negative
            raise Doubt(f"changes an array in place ({symbol})")
        self._store(self._target(x), AUGMENTED[symbol], [y])
        return x

    def _change_made(self, x, fn, args, kw):
        """Whether ``x`` is an array that this call has made; it then becomes what ``fn`` makes of Refs, ``x`` among them."""
        whole = self._own_whole(x)
        if whole is not None:
            self._change_view(x, whole, calculate(self, fn, args, kw))
        elif x.kind in ("array", "varied"):
            change_own(self, x, fn, args, kw)
        elif self._is_shown(x):
            self.change_shown(x, fn, args, kw)
        else:
            return False
        return True

    def _is_shown(self, x):
        """Whether ``x`` is the array of a value that this call has computed."""
        return x.kind == "fresh" and bool(x.source) and x.source[1] in self.shown

    def _own_whole(self, x):
        """The array that this call has made of which ``x`` is a view ``whole[key]``; None if there is none."""
        if x.kind != "array" or x.source.fn is not operator.getitem:
            return None
        whole = x.source.args[0]
        made = whole.kind == "array" or self._is_shown(whole)
        return whole if made and isinstance(x.value, np.ndarray) and np.may_share_memory(x.value, whole.value) else None

    def _change_view(self, x, whole, made):
        """``x``, a view of an array that this call has made, becomes what has been ``made``; a store of the view into ``whole`` that follows is then none."""
        key = x.source.args[1]
        if not _is_like(made, x.value):
            raise Doubt("changes an array in place to something else")
        self._change_made(whole, with_elements, [whole, key, made], {})
        self.keep.append(x)
        self.parts[id(x)] = whole.value, self._key_of(whole.value, key)

    def _change_part(self, symbol, x, y):
        """Whether ``x`` is ``a[key]``, a view of an array from outside, as in ``a[key] += y``; the store of the view into ``a`` that follows is then none."""
        found = x.source
        if x.kind == "array" and found.fn is not operator.getitem or type(x.value) is not np.ndarray:
            return False
        whole, key = self.rows[id(x)] if x.kind == "view" else found.args
        if whole.kind not in ("state", "arg") or not np.may_share_memory(x.value, whole.value):
            return False
        key = self._key_of(whole.value, key)
        self._store(self._target(whole), PARTS[symbol], [y], key)
        self.keep.append(x)
        self.parts[id(x)] = whole.value, key
        return True

    def store_elements(self, x, key, y):
        """``x[key] = y``."""
        if id(y) in self.parts and self.parts[id(y)][0] is x.value and self._same_key(self._key_of(x.value, key), self.parts[id(y)][1]):
            return
        x, key = self._of_the_whole(x, self.without_lists(key))
        key = self.open_key(x.value, key) or key
        if self._change_made(x, with_elements, [x, key, y], {}):
            return
        target = self._target(x)
        if _has_array(key):
            self._store(target, operator.setitem, [y], self._fitting_key(target, key, y), varied=True)
        else:
            self._store(target, operator.setitem, [y], self._key_of(x.value, key))

    def _of_the_whole(self, x, key):
        """``rows[i][key]`` as ``rows[i, key]``, where ``rows`` is from outside, or made by NumPy in this call."""
        whole, numbers = x, []
        while whole.kind == "view" and id(whole) in self.rows or whole.kind == "array" and whole.source.fn is operator.getitem:
            whole, number = self.rows[id(whole)] if whole.kind == "view" else whole.source.args
            if number.kind != "static" or type(number.value) is not int:
                return x, key
            numbers.insert(0, constant(number.value))
        parts = key.value if key.kind == "mirror" and type(key.value) is tuple else [*map(constant, key.value)] if type(key.value) is tuple else [key]
        own = whole.kind == "array" and type(whole.value) is np.ndarray and whole.value.base is None
        if whole is x or not own and whole.kind not in ("state", "arg") or any(isinstance(r.value, np.ndarray | list | bool) for r in parts):
            return x, key
        return whole, Ref("mirror", (*numbers, *parts))

    def change_by(self, fn, changer, x, *args, **kw):
        """``fn(x, ...)``, where ``fn`` changes ``x``; ``changer`` gives what it is then."""
        if self._change_made(x, changer, [x, *args], kw):
            return
        target = self._target(x)
        if fn is np.fill_diagonal and len(args) == 1 and not kw and x.value.ndim == 2 or fn is np.ndarray.sort:
            self._store(target, fn, args)
        elif id(fn) not in CHANGERS and len(args) in (1, 2) and not kw and _has_array(args[0]):
            self._store(target, fn, args[1:], self._fitting_key(target, *args), varied=True)
        else:
            raise Doubt("changes an array in place with unusual arguments")

    def _fitting_key(self, target, key, *values):
        """A key that is an array, or has some: whether it fits is looked at as soon as it is there, in an array without memory of its own."""
        if is_varied([key, *values]):
            calculate(self, fitting(target.value.shape), [key, *values], {})
            return operand(self, key, varied=True)
        key = operand(self, key)
        calculate(self, functools.partial(operator.getitem, np.broadcast_to(False, target.value.shape)), [key], {})
        return key

    def _key_of(self, a, key):
        """A key of ``a`` as it may stand in a plan."""
        opened = key if key in self.opened.values() else self.open_key(a, key)
        return self._constant_key(key) if opened is None else opened

    @staticmethod
    def _same_key(x, y):
        return x is y or x.kind == y.kind == "static" and exact(x.value) == exact(y.value)

    def _constant_key(self, key):
        key = self.use(key)
        if key.kind == "mirror" and isinstance(key.value, tuple):
            return constant(tuple([self.plain(k) for k in key.value]))
        if key.kind != "static" or not is_pure(key.value):
            raise Doubt("stores into an array where an array says")
        return key

    def take(self, refs):
        """What is computed must stay what it is: it is looked at later."""
        for ref in refs:
            if ref.kind == "mirror":
                self.take(ref.value)
            elif ref.kind in ("array", "varied"):
                self.keep.append(ref)
                self.taken.add(id(ref))

    def copy_into(self, x, y):
        """``numpy.copyto(x, y)``."""
        if isinstance(y.value, np.ndarray) and y.value.dtype == x.value.dtype and self._change_made(x, with_elements, [x, constant(...), y], {}):
            return
        self._store(self._target(x), np.copyto, [y])

    def output_by_name(self, fn, args, kw):
        """The arguments of a function of NumPy's, with the array for its results, if there is one, as ``out``."""
        if fn is np.nan_to_num:
            return self._replacing_nan(args, kw)
        at = place_of_output(fn)
        if at is not None and len(args) == at + 1 and "out" not in kw:
            if fn in (np.maximum, np.minimum):
                raise Doubt(f"np.{fn.__name__} with three operands, of which NumPy warns")
            args, kw = args[:at], {**kw, "out": args[at]}
        out = kw.get("out")
        if out is not None and out.kind == "mirror" and type(out.value) is tuple and len(out.value) == 1 and isinstance(fn, np.ufunc):
            out = out.value[0]
        given = {k: v for k, v in kw.items() if k != "out"}
        return args, given if out is None or out.kind == "static" and out.value is None else {**given, "out": out}

    def _replacing_nan(self, args, kw):
        """Those of ``np.nan_to_num``, which puts its results where its operand lies if it makes no copy."""
        named = dict(zip(("x", "copy", "nan", "posinf", "neginf"), args), **kw)
        if self.plain(named.pop("copy", constant(True))):
            return args, kw
        x = named.pop("x")
        if type(x.value) is not np.ndarray or not x.value.ndim:
            raise Doubt("np.nan_to_num without a copy, of what is no array or has no axes")
        return [x], {**named, "out": x}

    def compute_into(self, fn, args, kw):
        """``fn(..., out=array)``: what it gives without ``out`` is copied there."""
        out, kw = kw["out"], {k: v for k, v in kw.items() if k != "out"}
        if not may_overlap(fn) and any(_overlaps(r, out) for part in (*args, *kw.values()) for r in below(part)):
            raise Doubt("NumPy with results that lie in what it takes")
        if self._change_made(out, fn, args, kw):
            return out
        made = calculate(self, fn, args, kw)
        settle([made])
        if not _is_like(made, out.value):
            raise Doubt("NumPy with an array of another kind for its results")
        self._store(self._target(out), np.copyto, [made])
        return out

    def _store(self, target, fn, args, key=None, varied=False):
        """``varied``: it is looked at whether arrays of any length fit."""
        self.refuse_inside_errstate()
        args = [*([] if key is None else [key]), *[operand(self, r, varied) for r in args]]
        self.take(args)
        self.stored_at = min(self.stored_at, len(self.call.path))
        self.stored |= {id(target.value), id(root_array(target.value))}
        if self.call.touch(target.value):
            self.call.owner.writing.add(user_line())
        self.effects.append(("store", target, fn, args, len(self.call.path)))

    def copy_parameters(self, args, kw):
        """``link.copyparams(other)``: both trees are guarded, and arrays are copied."""
        named = dict(zip(("self", "link", "copy_persistent"), args), **kw)
        mine, other = self.use(named["self"]), self.use(named["link"])
        persistent = self.plain(named["copy_persistent"]) if "copy_persistent" in named else True
        if mine.kind != "static" or other.kind != "static":
            raise Doubt("copies parameters of a link whose origin is not known")
        for link in (mine.value, other.value):
            guard_links(self, link)
        theirs = dict(other.value.namedparams())
        for path, p in mine.value.namedparams():
            q = theirs.get(path)
            if q is None or p._array is None or q._array is None or p._array.shape != q._array.shape:
                raise Doubt("copies parameters that do not fit")
            self.copy_into(self.held_array(p), self.held_array(q))
        if persistent:
            self._copy_persistents(mine.value, other.value)

    def _copy_persistents(self, mine, other):
        theirs = dict(other.namedlinks())
        for path, link in mine.namedlinks():
            self.guard("members", link._persistent, tuple(link._persistent))
            for name in sorted(link._persistent):
                a, b = link.__dict__[name], theirs[path].__dict__.get(name) if path in theirs else None
                if type(a) in (int, float) and type(b) in (int, float):
                    self._assigned(("attr", link, name), self.namespace_item(theirs[path], name), name)
                    continue
                if self.overlaid("attr", link, name) or self.overlaid("attr", theirs[path], name):
                    raise Doubt("copies persistent arrays after assigning them")
                if type(a) is not np.ndarray or type(b) is not np.ndarray or a.shape != b.shape:
                    raise Doubt("copies persistent values that are neither arrays nor numbers")
                self.guard("attr", link, name, a)
                self.guard("attr", theirs[path], name, b)
                self.copy_into(self._held(a), self._held(b))

    def assign_array(self, f, owner, setter, value, after):
        """``v.array = a`` where ``v`` has that array already, as after ``v.array += b``."""
        v = owner.value
        if owner.kind != "static" and (owner.source is None or value.source != ("arrayof", owner.source)):
            if owner.kind == "state":
                self.counters.add(where_id(("attr", v, "_array")))      # from the next proof on, it is known to be this very Variable
            raise Doubt("assigns the array of a Variable that may be another one on every call", by_chance=owner.kind == "state")
        if owner.kind == "static" and (value.kind != "state" or value.source[0] != "held" or value.source[1] is not v._array):
            self._rebind(v, value)
        f.waiting = ("make", None, [], {}, constant(None) if after == "push" else None)      # the setter runs meanwhile

    def _rebind(self, v, value):
        """``v.array = a``, an array that NumPy has made just before, a scalar of NumPy's, of which the setter makes an array, or the array that ``v`` had when
        the call began."""
        if value.kind == "array" and isinstance(value.value, np.generic):
            value = calculate(self, np.asarray, [value], {})
        a, old, own = value.value, v._array, value.kind == "state" and value.source == ("inside", v)
        if value.kind == "state" and value.source[0] == "held" and self.is_rebound(v):
            raise Doubt("assigns the array of a Variable", by_chance=True)      # from the next proof on, it is known as the one that the call begins with
        fits = type(a) is np.ndarray and a.base is None and a.shape == old.shape and a.dtype == old.dtype and a.flags.c_contiguous
        if value.kind != "array" and not own or not fits:
            raise Doubt("assigns the array of a Variable")
        where = ("attr", v, "_array")
        self.counters.add(where_id(where))
        self.overlay[where_id(where)] = value
        self.stored_at, self.rebound_at = min(self.stored_at, len(self.call.path)), min(self.rebound_at, len(self.call.path))
        if not own:
            self.stored.add(id(a))
        self.take([value])
        self.effects.append(("rebind", where, value))
        self.rebinds.append((len(self.call.path), v, value))

    def is_rebound(self, v):
        """Whether a parameter is known to get other arrays: the function assigns them, or it has another one than in an earlier proof."""
        where = where_id(("attr", v, "_array"))
        if where not in self.counters and isinstance(v._array, np.ndarray) and self.first_found.setdefault(where, weakref.ref(v._array))() is not v._array:
            self.counters.add(where)
        return where in self.counters

    def rests_on_updated(self, ref):
        """Whether a Ref rests on an array that NumPy has made, that was assigned to a Variable, and that an operation has changed in place since."""
        met = {id(r) for r in below(ref)} if self.rebinds else ()
        return any(id(r) in met and any(self.call.changes(v, at)) for at, v, r in self.rebinds)

    def is_written(self, a):
        """Whether an array has been changed in this call."""
        return id(root_array(a)) in self.stored or id(root_array(a)) in self._updated()

    def _updated(self):
        """ids of the arrays that the path's events in place have changed so far."""
        roots, found = {}, set()
        for e in self.call.path:
            for old, new in e.rebinds:
                root = roots[new] = roots.get(old, old)
                if root in self.call.leaves:
                    found.add(id(root_array(self.call.actual(root))))       # its Variable may have another one by now
        return found

    def first_write(self):
        """How many events came before the first change in place."""
        return min([self.stored_at, *[k for k, e in enumerate(self.call.path) if e.kind == "inplace"]])

    def compute_ahead(self, ref, first):
        """What decides after an update, or may be of another kind, but rests only on what was there before it, is computed before it: a plan can still leave
        then."""
        if ref.kind == "hole":
            self._read_ahead(ref)
        if ref.kind == "mirror":
            for r in ref.value:
                self.compute_ahead(r, first)
        elif isinstance(ref.source, Computed):
            self._move(ref, first)
        elif ref.kind == "fresh":
            self._is_there(ref.source[1], first)
        elif isinstance(ref.value, np.ndarray):
            if ref.kind not in ("arg", "state") or ref.source[0] in ("held", "inside", "fixed") or self.is_written(ref.value):
                raise Doubt("a number that is computed after an update decides what happens")
            self.guard("apart", ref)

    def can_compute_ahead(self, ref):
        """Whether what may fail, or decides, rests only on what was there before the first change in place; it is then computed there."""
        try:
            self.compute_ahead(ref, self.first_write())
        except Doubt:
            return False
        return True

    def compute_at_risk(self, ref):
        """What may fail, or be of another kind, behind an update: if so, a plan takes back all that has been written."""
        view = isinstance(ref.value, np.ndarray) and ref.value.base is not None and self.is_written(ref.value)
        if ref.kind not in ("array", "varied", "number") or view:
            raise Doubt("computes with NumPy after an array has changed")
        self.refuse_inside_errstate()
        ref.source.last = True
        self.risky.add(id(ref))
        self.keep.append(ref)
        self.effects.append(("compute", ref))
        self.leaves_behind()

    def leaves_behind(self):
        """A plan may have to leave here, after changes in place, which it then takes back."""
        self.leaves_until = len(self.call.path)

    def _move(self, ref, first):
        found = ref.source
        parts = [*found.args, *found.kw.values()]
        if found.at <= first and not found.last and not any(map(is_last, parts)) or found.drawn and not found.behind:
            return
        if found.behind:
            raise Doubt("a number that is drawn and an update decide what happens")
        for part in parts:
            self.compute_ahead(part, first)
        if found.last:
            found.last = False
            self.effects = [e for e in self.effects if e[0] != "compute" or e[1] is not ref]
        if found.at > first:
            found.at = first
            if not found.safe:
                self.computed.append(ref)

    def _read_ahead(self, ref):
        """A number read from a Variable after the update, as one that is computed of its array."""
        _, event, v = ref.source
        if event.key[0] not in ("float", "item") or v.kind != "fresh":
            raise Doubt("a number that is computed after an update decides what happens")
        read = operator.methodcaller("item", *event.key[2])
        at = next(k for k, e in enumerate(self.call.path) if e is event) + 1        # where it stays if it cannot be read before the update
        ref.kind, ref.source = "number", Computed(read, [Ref("fresh", v.value._array, ("array", event.operands[0]))], {}, at, safe=True)

    def _is_there(self, vid, first):
        """Whether a value has been computed before anything is changed in place, and stays what it is."""
        made = any(o is not None and o.vid == vid for e in self.call.path[:first] for o in e.outs)
        if not made or vid in self.changed or any(old == vid for e in self.call.path for old, _ in e.rebinds):
            raise Doubt("a number that is computed after an update decides what happens")

    def writes_so_far(self):
        """Whether anything has been changed in place in this call."""
        return bool(self.stored) or self.has_updated()

    def has_updated(self):
        """Whether operations have changed anything in place in this call, which cannot be taken back."""
        return any(e.kind == "inplace" for e in self.call.path)
