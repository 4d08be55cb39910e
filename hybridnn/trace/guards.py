"""Guards: facts that the observer gathered, as straight-line Python text that leaves at the first one that no longer holds.

Each fact is a tuple; ``Writer.check`` turns it into a line.
"""
import abc
import types
import weakref

from hybridnn.core.variable import Variable
from hybridnn.exact import exact
from hybridnn.jit.dictwatch import space_of, watchable
from hybridnn.link import Link
from hybridnn.trace.cached import is_found
from hybridnn.trace.namespaces import attributes, function_modules, has_attributes, has_members, members_of, methods
from hybridnn.trace.operands import array_of
from hybridnn.trace.plan_names import PlanNames
from hybridnn.trace.refs import IMMUTABLE_TYPE, class_has, class_lookup, is_plain_key

__all__ = ["Writer"]

NOTHING = object()       # stands for what a dict does not have; None would be a value


class Writer(PlanNames):
    """Collects the lines and the namespace of one generated function."""

    def __init__(self, on_death, busy=(), writes=True, restless=frozenset()):
        super().__init__(on_death)
        self.writes, self.lines, self.reasons = writes, [], []
        self.watched_lines, self.watched, self.watched_objects, self.watched_classes = [], {}, {}, {}
        self.priors, self.prior_lines = {}, {}      # id of a parameter -> the name of its gradient from before the call, if any, and the line that reads it
        self.settled = set()      # places whose numbers have been checked
        self.whole = {}           # the members of lists and tuples that have all been checked
        self.busy, self.restless = {id(obj) for obj in busy}, restless

    def require(self, condition, reason):
        """A line that leaves with the fact's number unless the condition holds."""
        self.lines.append(f"if not ({condition}): return miss{len(self.reasons)}")
        self.reasons.append(reason)

    def require_in(self, owner, space, condition, reason):
        """Like ``require`` for a condition on one dict that seldom changes: checked again only after the dict has changed."""
        if id(owner) in self.busy or id(space) in self.restless:
            self.require(condition, reason)
            return
        self.watched[id(space)] = space
        self.watched_lines.append(f"if not ({condition}): return miss{len(self.reasons)}")
        self.reasons.append(reason)

    def require_of_class(self, cls, condition, reason):
        """Like ``require`` for a condition on a class and its bases: checked again only after one of them has changed."""
        if cls.__flags__ & IMMUTABLE_TYPE:
            return
        self.watched_classes[id(cls)] = cls
        self.watched_lines.append(f"if not ({condition}): return miss{len(self.reasons)}")
        self.reasons.append(reason)

    def member(self, space, key, value):
        """The text of whether a dict has just this object under a key."""
        missing = f", {self.strong(NOTHING)}" if value is None else ""
        return f"{self._get(space, key + missing)} is {self._inner(value)}"

    def check(self, fact):
        """The line of one fact."""
        getattr(self, "_" + fact[0])(*fact[1:])

    def _root(self, source, value):
        if source[0] == "bound":
            return
        self.require(f"{self.read(source)} is {self.held(value)}", f"argument {source} is another object")

    def _value(self, source, value):
        text = self.read(source)
        same = f"type({text}) is {self.strong(type(value))} and {text} == {self.strong(value)}"
        if value != value:          # no two NaNs are equal, but one is the same as itself
            same = f"{text} is {self.strong(value)}"
        elif type(value) is float:
            same = f"type({text}) is float and {text}.hex() == {value.hex()!r}"
        elif type(value) is complex:
            same = f"type({text}) is complex and repr({text}) == {value!r}"
        self.require(same, f"{_where(source)} changed from {value!r}")

    def _typed(self, source, kind):
        """A number is there, of the recorded type; nothing to do where it is known to be one and the same."""
        key = self.read(source)
        if key in self.settled:
            return
        self.settled.add(key)
        self.require(f"type({self.read(source)}) is {self.strong(kind)}", f"the type of {_where(source)}")

    def _kinds(self, source, kind):
        """The last members of a list are numbers of one type."""
        self.require(f"set(map(type, {self.read(source)})) == {self.strong({kind})}", "the members of a list")

    def _above(self, source, low, most):
        """A Python int is above another one, and not so large that what takes it does something else."""
        self.require(f"type({self.read(source)}) is int and {low} < {self.read(source)} < {most}", f"the size of {_where(source)}")

    def _long(self, box, index):
        self.require(f"{-index - 1 if index < 0 else index} < len({self.strong(box)})", "a list has become shorter")

    def header(self, a):
        """An array that the plan keeps has the shape, dtype and strides that it had, and can be written to if it could."""
        text = self.strong(a)
        if ("header", text) in self.settled:
            return
        self.settled.add(("header", text))
        same = f"{text}.shape == {self.strong(a.shape)} and {text}.dtype == {self.strong(a.dtype)} and {text}.strides == {self.strong(a.strides)}"
        self._require_of_object(a, f"{same} and {text}.flags.writeable is {a.flags.writeable}", "an array was made read-only, or got another shape or dtype")

    _writeable = header

    def _itself(self, source, a):
        """An argument is the very array that it was, like ``header``; the plan goes when the array does."""
        text, name = self.read(source), f"w{len(self.names)}"
        self.names[name] = weakref.ref(a, self.on_death)
        self.require(f"{text} is {name}()", f"{_where(source)}, which is written, is another array")
        same = f"{text}.shape == {self.strong(a.shape)} and {text}.dtype == {self.strong(a.dtype)} and {text}.strides == {self.strong(a.strides)}"
        self.require(f"{same} and {text}.flags.writeable", "an array was made read-only, or got another shape or dtype")

    def _cached(self, wrapper, key, *known):
        """A function with a cache would give what it gave."""
        texts = ", ".join(map(self.strong, (wrapper, key, *known)))
        self.require(f"{self.strong(is_found)}({texts})", "a function with a cache has forgotten a result")

    def _partial(self, obj, fn, args, keywords):
        text = self.strong(obj)
        same = f"{text}.func is {self.strong(fn)} and {text}.args is {self.strong(args)} and {text}.keywords is {self.strong(keywords)}"
        self.require(f"{same} and not {text}.__dict__", "a functools.partial was changed")

    def _nograd(self, v):
        self.require(f"{self.strong(prior_of)}({self.strong(v)}) is None", "a gradient from before the call")

    def _grad(self, v):
        text = self.strong(v)
        self.require(f"{text}._tape is not None and {text}._tape.grad is not None", "a gradient from before the call")

    def _unmade(self, p):
        text = self.space(p)
        without = " and ".join([f"{text}.get({name!r}) is None" for name in ("_array", "_pending", "_cell", "_tape")])
        condition = f"{without} and {text}.get('_first_grad', 0) is None and {text}.get('_grad_known')"
        self.require_in(p, p.__dict__, condition, "a parameter has got an array")

    def _prior(self, v, g):
        """A parameter has a gradient from before the call like the recorded one, and that nothing else of what is written is part of."""
        self.prior_lines[id(v)] = len(self.lines)
        name = self.priors.get(id(v))
        self.lines.append(f"{'' if name is None else name + ' = '}x = {self.strong(prior_of)}({self.strong(v)})")
        same = f"type(x) is ndarray and x.shape == {self.strong(g.shape)} and x.dtype == {self.strong(g.dtype)}"
        self.require(f"{same} and x.flags.c_contiguous and x.flags.aligned", "a gradient from before the call")
        self.outside("a gradient from before the call")

    def read(self, source):
        """An expression that reads a source anew."""
        return self._name_prior(source[1]) if source[0] == "prior" else super().read(source)

    def _name_prior(self, v):
        """The name of the gradient that a parameter had before the call: it may have another one where it is asked for. Draws ask before it is read."""
        if id(v) not in self.priors:
            name, line = f"prior{len(self.priors)}", self.prior_lines.get(id(v))
            self.priors[id(v)] = name
            if line is not None:
                self.lines[line] = f"{name} = {self.lines[line]}"
        return self.priors[id(v)]

    def _inside(self, v, a):
        """A parameter that gets another array on every call has one of the recorded kind."""
        if id(v) not in self.settled:
            self.settled.add(id(v))
            self.array(("inside", v), a, "the array of a parameter")

    def _length(self, box, n):
        self.require(f"len({self.strong(box)}) == {n}", "the length of a container changed")

    def _spec(self, *fact):
        value = fact[-1]
        self.array(("load", *fact[:-1]), value, str(fact[2] if len(fact) > 3 else fact[0]))

    def array(self, source, value, what, apart=True):
        """An array or Variable of the recorded kind; ``apart``: no part of what the plan writes."""
        text = self.read(source)
        self.lines.append(f"x = {text}")
        if isinstance(value, Variable):
            kind = f"type(x) is {self.strong(type(value))} and x._requires_grad is {value._requires_grad}"
            self.require(f"{kind} and x._pending is None", f"{what}: kind of Variable")
            self.lines.append("t = x._tape; x = x._array")
            creator = value._tape is not None and not value._tape.is_leaf and value._requires_grad
            self.require(f"(t is not None and not t.is_leaf and {value._requires_grad}) is {creator}", f"{what}: its creator")
            value = value._array
        self.require(f"type(x) is ndarray and x.shape == {self.strong(value.shape)} and x.dtype == {self.strong(value.dtype)}", f"{what}: shape or dtype")
        if apart:
            self.outside(what)
        if not value.flags.c_contiguous:
            self.require(f"x.strides == {self.strong(value.strides)} and x.flags.aligned", f"{what}: memory layout")
            return
        self.lines.append("x = x.flags")
        self.require("x.c_contiguous and x.aligned", f"{what}: memory layout")

    def outside(self, what):
        """The array ``x`` is no part of what the plan writes."""
        if self.writes:
            self.require("x.base is None and id(x) not in roots or not shares(x)", f"{what}: a parameter or a view of one")

    def _alias(self, source, value, other_source, other):
        """Two places with one array."""
        x, y = (self.strong(v) if s is None else self.read(s) for s, v in ((source, value), (other_source, other)))
        if value is other:
            self.require(f"{x} is {y}", "two places no longer have one Variable or array")
            return
        x, y = (f"{t}._array" if isinstance(v, Variable) else t for t, v in ((x, value), (y, other)))
        self.require(f"{x} is {y}", "two places no longer have one array")

    def _same(self, source, value, other_source, other):
        """Whether two places have one object."""
        x, y = (self.strong(v) if s is None else self.read(s) for s, v in ((source, value), (other_source, other)))
        self.require(f"({x} is {y}) is {value is other}", "whether two places have one object")

    def _cell(self, cell, value):
        self.require(f"{self.strong(cell)}.cell_contents is {self._of(value)}", "a variable of an enclosing function was rebound")

    def _global(self, space, name, value):
        missing = f", {self.strong(NOTHING)}" if value is None else ""
        text, reason = f"{self.strong(space)}.get({name!r}{missing}) is {self._of(value)}", f"the global {name!r} was rebound"
        if space.get("__name__", "").startswith(("hybridnn", "numpy")):
            self.require_in(space, space, text, reason)
        else:
            self.require(text, reason)

    def _builtin(self, space, builtins, name, value):
        self.require(f"{name!r} not in {self.strong(space)} and {self.strong(builtins)}.get({name!r}) is {self.strong(value)}",
                     f"the builtin {name!r} was replaced")

    def _attr(self, obj, name, value):
        hint = " to another link, which has to be proved anew (copyparams changes the one that is there)" if isinstance(value, Link) else ""
        self.require_in(obj, obj.__dict__, self.member(self.space(obj), repr(name), value), f"{type(obj).__name__}.{name} was rebound{hint}")

    def _slotattr(self, obj, name, value):
        self.require(f"{self._slot(obj, name)} is {self._inner(value)}", f"{type(obj).__name__}.{name} was rebound")

    def _noattr(self, obj, name):
        self.require_in(obj, obj.__dict__, f"{name!r} not in {self.space(obj)}", f"{type(obj).__name__}.{name} hides the class's")

    def _class(self, obj, cls):
        text, reason = f"type({self.held(obj)}) is {self.strong(cls)}", f"the class of a {cls.__name__} changed"
        if space_of(obj) is not None and type(obj) is not types.ModuleType:
            text += f" and {self.held(obj)}.__dict__ is {self.space(obj)}"
        self._require_of_object(obj, text, reason)

    def _metaclass(self, cls, meta):
        self.require(f"type({self.strong(cls)}) is {self.strong(meta)}", f"the class of {cls.__name__} changed")

    def _require_of_object(self, obj, condition, reason):
        """Like ``require`` for a condition on what makes an object what it is."""
        if not watchable(obj):
            self.require(condition, reason)
            return
        self.watched_objects[id(obj)] = weakly(obj)
        self.watched_lines.append(f"if not ({condition}): return miss{len(self.reasons)}")
        self.reasons.append(reason)

    def _methods(self, obj):
        """An object has no attributes of its own that hide its class's: methods, and what the object of a rule or an optimizer does not have now."""
        names = methods(type(obj)) if isinstance(obj, Variable) else attributes(type(obj)).keys() - obj.__dict__.keys()
        self.require_in(obj, obj.__dict__, f"{self.space(obj)}.keys().isdisjoint({self.strong(names)})", f"a method of a {type(obj).__name__} is hidden")

    def library(self):
        """What the library's functions call by name is what it is now."""
        for space in function_modules():
            text = f"{self.strong(has_members)}({self.strong(space)}, {self.strong(members_of(space))})"
            self.require_in(space, space, text, f"a name of {space['__name__']} was rebound")

    def surface(self, cls):
        """All attributes of a class and its bases are the same objects."""
        same = f"{self.strong(has_attributes)}({self.strong(cls)}, {self.strong(attributes(cls))})"
        self.require_of_class(cls, same, f"an attribute of {cls.__name__} was replaced")

    _surface = surface

    def _truth(self, cls):
        name, lookup = self.strong(cls), self.strong(class_lookup)
        undecided = f"{lookup}({name}, '__bool__') is None and {lookup}({name}, '__len__') is None"
        self.require_of_class(cls, undecided, f"{cls.__name__} decides its truth itself now")

    def _variable(self, v, array):
        self._class(v, type(v))
        self.header(array)
        self.require_in(v, v.__dict__, f"{self.space(v)}.get('_array') is {self.strong(array)}", "a parameter's array was replaced")

    def _classattr(self, cls, name, attr):
        text = f"{self.strong(class_lookup)}({self.strong(cls)}, {name!r}, {self.strong(NOTHING)}) is "
        there = attr is not None or class_has(cls, name)
        self.require_of_class(cls, text + (self._inner(attr) if there else self.strong(NOTHING)), f"{cls.__name__}.{name} was replaced")

    def _bases(self, cls, mro):
        ids = self.strong([id(c) for c in self.kept(mro)])
        self.require_of_class(cls, f"[*map(id, {self.strong(cls)}.__mro__)] == {ids}", f"{cls.__name__} got other bases")

    def _classname(self, cls, name, value):
        self.require_of_class(cls, f"{self.strong(cls)}.{name} == {value!r}", f"{value}.{name} was replaced")

    def _lacks(self, box, key):
        """A dict has no such key, which is a plain constant."""
        self.require_in(box, box, f"{self.strong(key)} not in {self.strong(box)}", "a dict has got a member that it lacked")

    def _item(self, box, key, value):
        text = self.strong(box)
        if isinstance(box, dict):
            self.require_in(box, box, self.member(text, self.strong(key), value), "a member of a dict was replaced")
            return
        if isinstance(key, int) and 0 <= key < len(self.whole.get(text, ())) and self.whole[text][key] is value:
            return
        inside = f"{key} < len({text})" if isinstance(box, list) and isinstance(key, int) and key >= 0 else f"len({text}) == {len(box)}"
        self.require(f"{inside} and {text}[{self.strong(key)}] is {self._inner(value)}", "a member of a container was replaced")

    def _members(self, box, members):
        values = self.strong(box)
        if isinstance(box, dict):
            self.keys(values, list(members))
            return
        if isinstance(box, (set, frozenset)):
            self.require(f"{values} == {self.strong(frozenset(members))}", "the members of a set changed")
            return
        self.require(f"len({self.strong(box)}) == {len(members)}", "the length of a container changed")
        if members:
            self.whole.setdefault(values, members)
            checks = " and ".join(f"{values}[{k}] is {self._inner(m)}" for k, m in enumerate(members))
            self.require(checks, "the members of a container changed")

    def _order(self, box, members):
        self.keys(self.strong(box), list(members))

    def keys(self, text, keys):
        """The keys of a dict, in order: equal ones of other types, or zeros of other signs, are others."""
        if any(type(k) is tuple for k in keys):
            self.require(f"{self.strong(_plain_keys)}({text}) == {self.strong(_plain_keys(keys))}", "the keys of a dict changed")
            return
        condition = f"list(map(type, {text})) == {self.strong([type(k) for k in keys])} and list({text}) == {self.strong(keys)}"
        if any(type(k) is float for k in keys):
            condition += f" and list(map(repr, {text})) == {self.strong([repr(k) for k in keys])}"
        self.require(condition, "the keys of a dict changed")

    def _names(self, link, names):
        key = self.space(link), frozenset(names)
        if key not in self.settled:
            self.settled.add(key)
            self.require(f"{self.space(link)}['_params'] == {self.strong(names)}", "the parameters of a link changed")

    def _function(self, f, code, defaults, kwdefaults):
        text = f"{self.strong(f)}.__code__ is {self.strong(code)} and {self.strong(f)}.__defaults__ is {self.strong(defaults)} " \
               f"and {self.strong(f)}.__kwdefaults__ is {self.strong(kwdefaults)}"
        self._require_of_object(f, text, f"the function {f.__name__} was changed")

    def _abctoken(self, token):
        """No abstract base class has got another virtual subclass."""
        self.require(f"{self.strong(abc.get_cache_token)}() == {token}", "abstract base classes have got other subclasses")

    def _wrapped(self, traced, fn):
        self.require(f"{self.held(traced)}.__wrapped__ is {self.strong(fn)}", "the function that a traced one wraps was replaced")

    def _threadlocal(self, obj, name, value):
        self.require(f"{self.strong(obj)}.{name} is {self.strong(value)}", f"{name} changed")

    def _noreporter(self, stack):
        self.require(f"not {self.strong(stack)}.reporters", "a Reporter was opened")

    def reporter(self, stack):
        """The text of the Reporter that is open, which may be a new one on every call, as in evaluations."""
        return f"{self.strong(stack)}.reporters[-1]"

    def _reporter(self, stack, cls, observer, name):
        current = self.reporter(stack)
        known = "" if observer is None else f" and {current}._observer_names.get(id({self.held(observer)})) == {name!r}"
        self.require(f"{self.strong(stack)}.reporters and type({current}) is {self.strong(cls)} and 'report' not in {current}.__dict__{known}",
                     "no Reporter is open, or it has another name for a link")

    def _plain(self, optimizer):
        text = self.space(optimizer)
        hooks = optimizer.__dict__["_hooks"]
        if hooks is None:
            self.require(f"{text}['_hooks'] is None and {text}.get('_loss_scale') is None", "the optimizer's hooks changed")
            return
        same = []
        for timing, queue in hooks.queues.items():
            found = f"{text}['_hooks'].queues[{timing!r}]"
            ids = self.strong(tuple([id(self.kept(h)) for h in queue.values()]))
            same.append(f"tuple(map(id, {found}.values())) == {ids}" if queue else f"len({found}) == 0")
        self.require(" and ".join([*same, f"{text}.get('_loss_scale') is None"]), "the optimizer's hooks changed")

    def kept(self, obj):
        """``obj``, which the plan keeps from now on."""
        self.strong(obj)
        return obj

    def _hyper(self, hyperparam):
        space = vars(hyperparam)
        text = self.space(hyperparam)
        facts = [f"len({text}) == {len(space)}"]
        for name, value in space.items():
            facts.append(f"type({text}.get({name!r})) is float" if type(value) is float else self.member(text, repr(name), value))
        condition, reason = " and ".join(facts), "a hyperparameter changed its type, or one that is no float changed"
        if len(space) == 1:
            self.require_in(hyperparam, space, condition, reason)
        else:
            self.require(condition, reason)

    def _rule(self, rule, enabled):
        text = self.space(rule)
        plain = f"{text}['enabled'] is {enabled} and {text}['_hooks'] is None and {text}['_use_fp32_update'] is False"
        self.require_in(rule, rule.__dict__, plain, "an update rule changed")

    def _of(self, value):
        return self.held(value)

    def _inner(self, value):
        return repr(value) if value is None or value is True or value is False else self.strong(value)


def prior_of(v):
    """A Variable's gradient as an array, or None."""
    return None if v._tape is None else array_of(v._tape.grad)


def _plain_keys(keys):
    """What tells plain constants, and tuples of such, from all other keys; None for these."""
    return [exact(k) if is_plain_key(k) else None for k in keys]


def weakly(obj):
    """A function that gives the object while it lives."""
    try:
        return weakref.ref(obj)
    except TypeError:
        return lambda: obj


def _where(source):
    return f"{source[0]} {source[1]!r}" if source[0] in ("arg", "kwarg") else f"{source[1]} {source[-1]!r}" if source[0] == "load" else str(source[0])
