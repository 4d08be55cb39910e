"""``Link``, ``Chain`` and ``ChainList``: parameters tied to the code that uses them (section 4.2 of the seed).

A link keeps its attributes in its own ``__dict__`` and three registries of names: ``_params`` (Parameters), ``_persistent``
(arrays and numbers that are saved but not trained) and ``_children`` (links inside). Everything that walks a model (parameters,
gradients, copies, saving, transfer) is written once, in ``Link``, over those registries.
"""
import contextlib
import copy
import functools
from collections.abc import MutableSequence

import numpy as np

from hybridnn._other_names import teach
from hybridnn.backend import copyto, cupy, is_array
from hybridnn.config import warn
from hybridnn.core import Parameter
from hybridnn.device_resident import DeviceResident
from hybridnn.errors import InvalidType
from hybridnn.function_hook import put_on
from hybridnn.initializers import NaN
from hybridnn.link_hook import ForwardPostprocessArgs, ForwardPreprocessArgs, LinkHook, active

__all__ = ["Chain", "ChainList", "Link", "repeats_in"]

_COPY_MODES = ("share", "copy", "init")
_MISSING = "Link.__init__() has not been called."


def _on_its_device(call):
    """The method with the link's device as the current one."""
    @functools.wraps(call)
    def on_its_device(self, *args, **kwargs):
        if self._device.xp is np:
            return call(self, *args, **kwargs)
        with self._device.create_context():
            return call(self, *args, **kwargs)
    return on_its_device


class _NotMade:
    """What is there in the place of a link's registries before ``Link.__init__`` has made them."""

    def _refuse(self, *args):
        raise RuntimeError(_MISSING)

    __iter__ = __contains__ = __len__ = __getitem__ = add = discard = insert = _refuse


@teach
class Link(DeviceResident):
    """A building block with parameters.

    Parameters are assigned inside ``with self.init_scope():``; the computation is the method ``forward``, which calling the
    link runs.

    Args:
        params: name=shape, or name=(shape, dtype), for parameters to be created filled with NaN.

    Attributes:
        name: the name that the parent link gives, or None.
    """
    name = None
    _within_init_scope = False
    _local_link_hooks = _MISSING      # __init__ makes it None; so a forgotten __init__ is noticed at the first call
    _repeats_in = None
    _params = _persistent = _NotMade()

    def __init__(self, **params):
        self._params = set()
        self._persistent = set()
        self._local_link_hooks = None
        self.name = None
        for name, value in params.items():
            shape, dtype = value if _is_shape_and_dtype(value) else (value, np.float32)
            self.add_param(name, shape, dtype=dtype)

    # ---- calling

    def __call__(self, *args, **kwargs):
        if self._local_link_hooks is None and active.hooks is None:
            return self.forward(*args, **kwargs)
        return self._call_hooked(args, kwargs)

    if cupy is not None:
        __call__ = _on_its_device(__call__)

    def _call_hooked(self, args, kwargs):
        self._check_init()
        hooks = list({**(active.hooks or {}), **(self._local_link_hooks or {})}.values())
        before = ForwardPreprocessArgs(self, "forward", args, kwargs)
        for hook in hooks:
            hook.forward_preprocess(before)
        try:
            out = self.forward(*args, **kwargs)
        except BaseException:
            for hook in hooks:
                hook.forward_failed(before)
            raise
        after = ForwardPostprocessArgs(self, "forward", args, kwargs, out)
        for hook in hooks:
            hook.forward_postprocess(after)
        return out

    def forward(self, *args, **kwargs):
        """The computation; defined by subclasses (a class mixed in after ``Link`` may also give it, as ``forward`` or
        ``__call__``)."""
        found = getattr(super(), "forward", None) or getattr(super(), "__call__", None)  # noqa: B004
        if found is None:
            raise AttributeError(f"{type(self).__name__} defines no forward(self, ...)")
        return found(*args, **kwargs)

    def _check_init(self):
        if self._local_link_hooks is _MISSING:
            raise RuntimeError(_MISSING)

    # ---- registering

    @property
    def within_init_scope(self):
        """Whether this link's ``init_scope`` is open."""
        return self._within_init_scope

    @contextlib.contextmanager
    def init_scope(self):
        """A block in which assigned Parameters (and, in a ``Chain``, links) become the link's own."""
        self._check_init()
        before = self._within_init_scope
        self._within_init_scope = True
        try:
            yield
        finally:
            self._within_init_scope = before

    def __setattr__(self, name, value):
        if self._within_init_scope and isinstance(value, Parameter):
            value.name = name
            self._params.add(name)
            self._persistent.discard(name)
        object.__setattr__(self, name, value)

    def __delattr__(self, name):
        self._params.discard(name)
        self._persistent.discard(name)
        object.__delattr__(self, name)

    def add_param(self, name, shape=None, dtype=np.float32, initializer=None):
        """Register a new parameter; filled with NaN unless there is an initializer."""
        self._check_free(name, "parameter")
        with self.init_scope():
            setattr(self, name, Parameter(NaN(dtype) if initializer is None else initializer, shape))

    def add_persistent(self, name, value):
        """Register a value that is saved and transferred with the link, but not trained."""
        self._check_free(name, "persistent value")
        self._params.discard(name)
        self._persistent.add(name)
        self.__dict__[name] = value

    def register_persistent(self, name):
        """Make an existing attribute persistent."""
        if not hasattr(self, name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r} to make persistent; assign it first")
        self._params.discard(name)
        self._persistent.add(name)

    def _check_free(self, name, kind):
        self._check_init()
        if name in self.__dict__:
            raise AttributeError(f"cannot register a new {kind} {name!r}: {type(self).__name__} has that attribute already")

    @classmethod
    def from_params(cls, *args, **kwargs):
        """A link made from existing parameter arrays; links with weights define it."""
        raise NotImplementedError(f"{cls.__name__} has no from_params")

    # ---- walking

    def _named_children(self):
        return ()

    def children(self):
        """The links directly inside, in order (by name in a ``Chain``)."""
        for _, child in self._named_children():
            yield child

    def params(self, include_uninit=True):
        """All parameters: the link's own by name, then those of its children; ``include_uninit=False`` leaves out those without
        a shape."""
        for name in sorted(self._params):
            param = self.__dict__[name]
            if include_uninit or param.is_initialized:
                yield param
        for _, child in self._named_children():
            yield from child.params(include_uninit)

    def namedparams(self, include_uninit=True):
        """Pairs of a path such as ``"/encoder/l1/W"`` and a parameter, in the order of ``params``."""
        for name in sorted(self._params):
            param = self.__dict__[name]
            if include_uninit or param.is_initialized:
                yield "/" + name, param
        for key, child in self._named_children():
            for path, param in child.namedparams(include_uninit):
                yield f"/{key}{path}", param

    def links(self, skipself=False):
        """This link (unless ``skipself``) and all links inside, parents first."""
        if not skipself:
            yield self
        for _, child in self._named_children():
            yield from child.links()

    def namedlinks(self, skipself=False):
        """Pairs of a path and a link, in the order of ``links``; the path of this link is ``"/"``."""
        if not skipself:
            yield "/", self
        for key, child in self._named_children():
            yield f"/{key}", child
            for path, link in child.namedlinks(True):
                yield f"/{key}{path}", link

    def count_params(self):
        """Number of trainable numbers; warns of parameters that have no shape yet and are not counted."""
        size = 0
        for path, param in self.namedparams():
            if param.is_initialized:
                size += param.size
            else:
                warn(f"parameter {path} of {type(self).__name__} has no shape yet and is not counted; "
                              "call the link once first", stacklevel=2)
        return size

    # ---- gradients and updates

    def cleargrads(self):
        """Set the gradients of all parameters to None."""
        for param in self.params():
            param.cleargrad()

    def zerograds(self):
        """Set the gradients of all parameters to zeros; deprecated, since ``cleargrads`` is faster and does as well."""
        warn("Link.zerograds is deprecated; use cleargrads", DeprecationWarning, stacklevel=2)
        for param in self.params():
            param.zerograd()

    def addgrads(self, link):
        """Add the gradients of another link of the same structure."""
        for dst, src in _pairs_of_params(self, link, "addgrads"):
            if not dst.is_initialized and src.is_initialized:
                dst.initialize(src.shape)
            dst.addgrad(src)

    def enable_update(self):
        """Let optimizers update all parameters."""
        _switch_updates(self, True)

    def disable_update(self):
        """Keep optimizers from updating any parameter."""
        _switch_updates(self, False)

    @property
    def update_enabled(self):
        """Whether any parameter has an enabled update rule."""
        return any(p.update_rule is not None and p.update_rule.enabled for p in self.params())

    # ---- copies

    def copy(self, mode="share"):
        """A copy.

        Args:
            mode: ``"share"``: new links over the same arrays, with gradients of their own; ``"copy"``: a deep copy;
                ``"init"``: a deep copy whose parameters are drawn anew by their initializers.
        """
        _check_copy_mode(mode)
        if mode == "share":
            return self._shared()
        copied = copy.deepcopy(self)
        if mode == "init":
            for param in copied.params(include_uninit=False):
                param._first_grad = np.nan
                param.initialize(param.shape)
        return copied

    def _shared(self):
        copied = object.__new__(type(self))
        values = copied.__dict__
        values.update(self.__dict__)
        values.update(_params=set(self._params), _persistent=set(self._persistent), name=None)
        if self._local_link_hooks is not None:
            values["_local_link_hooks"] = dict(self._local_link_hooks)
        for name in self._params:
            values[name] = values[name].share()
        return copied

    def copyparams(self, link, copy_persistent=True):
        """Copy the parameters (and persistent values) of another link of the same structure into this one; nothing is changed
        if they do not fit."""
        pairs = _pairs_of_params(self, link, "copyparams")
        persistents = _pairs_of_persistents(self, link) if copy_persistent else []
        for dst, src in pairs:
            _copy_param(dst, src)
        for owner, name, value in persistents:
            mine = owner.__dict__[name]
            if is_array(mine) and is_array(value):
                copyto(mine, value)
            else:
                owner.__dict__[name] = copy.deepcopy(value)

    def repeat(self, n_repeat, mode="init"):
        """A ``Sequential`` of ``n_repeat`` copies of this link (see ``copy`` for ``mode``)."""
        _check_copy_mode(mode)
        return Link._repeats_in(*[self.copy(mode) for _ in range(n_repeat)])

    # ---- saving

    def serialize(self, serializer):
        """Show all parameters and persistent values to a serializer, which reads or replaces them."""
        values = self.__dict__
        for name in sorted(self._params):
            param = values[name]
            data = serializer(name, param.array)
            if data is not None and not param.is_initialized:
                param.initialize(data.shape)
                copyto(param.array, data)
        for name in sorted(self._persistent):
            values[name] = serializer(name, values[name])
        for key, child in self._named_children():
            child.serialize(serializer[key])

    # ---- devices

    @property
    def _device_id(self):
        """The number of the GPU; None for the CPU. Use ``device``."""
        warn("Link._device_id is Chainer's old name of what device tells", DeprecationWarning, stacklevel=2)
        return None if self.xp is np else self.device.device.id

    def device_resident_accept(self, visitor):
        """Show the link and all that it holds to a visitor."""
        super().device_resident_accept(visitor)
        values = self.__dict__
        for name in sorted(self._params):
            visitor.visit_variable(values[name])
        for name in sorted(self._persistent):
            if is_array(values[name]):
                values[name] = visitor.visit_array(values[name])
        for _, child in self._named_children():
            child.device_resident_accept(visitor)

    # ---- hooks

    @property
    def local_link_hooks(self):
        """The link's own hooks by name."""
        if self._local_link_hooks is None:
            object.__setattr__(self, "_local_link_hooks", {})
        return self._local_link_hooks

    def add_hook(self, hook, name=None):
        """Put a ``LinkHook`` on this link; returns the link."""
        if not isinstance(hook, LinkHook):
            raise TypeError(f"add_hook takes a LinkHook; got {type(hook).__name__}")
        self._check_init()
        name = hook.name if name is None else name
        put_on(self.local_link_hooks, name, hook, self, f"{type(self).__name__} has a hook called {name!r} already")
        return self

    def delete_hook(self, name):
        """Take the hook of that name off."""
        if name not in self.local_link_hooks:
            raise KeyError(f"{type(self).__name__} has no hook called {name!r}; it has {sorted(self.local_link_hooks)}")
        self.local_link_hooks[name].deleted(self)
        del self.local_link_hooks[name]
        if not self.local_link_hooks:
            self._local_link_hooks = None

    # ---- printing

    @property
    def printable_specs(self):
        """Pairs of an argument's name and value that ``str(link)`` shows."""
        yield from ()

    def __str__(self):
        return f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.printable_specs)})"

    def _str_of(self, items):
        lines = [f"  {line}\n" for key, text in items for line in f"({key}): {text},".splitlines()]
        inside = "\n" + "".join(lines) if lines else ""
        return f"{type(self).__name__}({inside})"


def repeats_in(cls):
    """Class decorator: ``Link.repeat`` makes one of these."""
    Link._repeats_in = cls
    return cls


def _check_copy_mode(mode):
    """Raise ``ValueError`` unless ``mode`` is one that ``copy`` knows."""
    if mode not in _COPY_MODES:
        raise ValueError(f"mode is one of {', '.join(map(repr, _COPY_MODES))}; got {mode!r}")


def _is_shape_and_dtype(value):
    """(shape, dtype) as opposed to a shape: a pair whose second half is no size."""
    return isinstance(value, (tuple, list)) and len(value) == 2 and not isinstance(value[1], (int, np.integer))


def _switch_updates(link, enabled):
    for param in link.params():
        if param.update_rule is not None:
            param.update_rule.enabled = enabled


def _pairs_of_params(mine, other, what):
    """Matching parameters of two links; raises before anything is touched if the structures differ."""
    ours, theirs = dict(mine.namedparams()), dict(other.namedparams())
    if missing := sorted(ours.keys() - theirs.keys()):
        raise InvalidType(f"{type(mine).__name__}.{what}", "a link of the same structure",
                          f"{type(other).__name__} without {', '.join(missing)}")
    pairs = [(p, theirs[path]) for path, p in ours.items()]
    for (path, p), (_, q) in zip(ours.items(), pairs, strict=True):
        if p.is_initialized and q.is_initialized and p.shape != q.shape:
            raise InvalidType(f"{type(mine).__name__}.{what}", f"{path} of shape {p.shape}", str(q.shape))
    return pairs


def _pairs_of_persistents(mine, other):
    theirs = dict(other.namedlinks())
    triples = []
    for path, link in mine.namedlinks():
        source = theirs[path].__dict__ if path in theirs else {}
        for name in sorted(link._persistent):
            where = f"{path.rstrip('/')}/{name}"
            if name not in source:
                raise InvalidType(f"{type(mine).__name__}.copyparams", "a link of the same structure",
                                  f"{type(other).__name__} without {where}")
            a, b = link.__dict__[name], source[name]
            if is_array(a) and is_array(b) and a.shape != b.shape:
                raise InvalidType(f"{type(mine).__name__}.copyparams", f"{where} of shape {a.shape}", str(b.shape))
            triples.append((link, name, b))
    return triples


def _copy_param(dst, src):
    if not src.is_initialized:
        if not dst.is_initialized:
            return
        src.initialize(dst.shape)
    if not dst.is_initialized:
        dst.initialize(src.shape)
    copyto(dst.array, src.array)


class Chain(Link):
    """A link with named links inside.

    Children are assigned inside ``init_scope``, or given by keyword: ``super().__init__(encoder=encoder, decoder=decoder)``.
    """
    _children = _NotMade()

    def __init__(self, **links):
        super().__init__()
        self._children = set()
        for name, link in links.items():
            self.add_link(name, link)

    def _named_children(self):
        values = self.__dict__
        return [(name, values[name]) for name in sorted(self._children)]

    def __getitem__(self, name):
        """The child called ``name``."""
        return getattr(self, name)

    def __setattr__(self, name, value):
        if self._within_init_scope and isinstance(value, Link):
            if hasattr(self, name):
                raise AttributeError(f"cannot register a new link {name!r}: {type(self).__name__} has that attribute already")
            value.name = name
            self._children.add(name)
        Link.__setattr__(self, name, value)

    def __delattr__(self, name):
        self._children.discard(name)
        Link.__delattr__(self, name)

    def add_link(self, name, link):
        """Register a child under a name."""
        self._check_free(name, "link")
        if not isinstance(link, Link):
            raise TypeError(f"the child {name!r} of {type(self).__name__} should be a Link; got {type(link).__name__}")
        with self.init_scope():
            setattr(self, name, link)

    def _shared(self):
        copied = super()._shared()
        values = copied.__dict__
        values["_children"] = set(self._children)
        for name in self._children:
            values[name] = child = values[name].copy("share")
            child.name = name
        return copied

    def __str__(self):
        return self._str_of((child.name, child) for child in self.children())


class ChainList(Link, MutableSequence):
    """A link with a list of links inside; it behaves as a list of them.

    Args:
        links: the children, in order.
    """
    _children = _NotMade()

    def __init__(self, *links):
        super().__init__()
        self._children = []
        for link in links:
            self.add_link(link)

    def _named_children(self):
        return [(str(i), child) for i, child in enumerate(self._children)]

    def __setattr__(self, name, value):
        if self._within_init_scope and isinstance(value, Link):
            raise TypeError(f"a ChainList takes its links by add_link or append, not as the attribute {name!r} inside init_scope")
        Link.__setattr__(self, name, value)

    def __getitem__(self, index):
        return self._children[index]

    def __setitem__(self, index, value):
        for link in value if isinstance(index, slice) else [value]:
            _check_child(self, link)
        self._children[index] = value
        self._number()

    def __delitem__(self, index):
        del self._children[index]
        self._number()

    def __len__(self):
        return len(self._children)

    def __iter__(self):
        return iter(self._children)

    def insert(self, index, link):
        """Put a link before position ``index``."""
        _check_child(self, link)
        self._children.insert(index, link)
        self._number()

    def add_link(self, link):
        """Append a link."""
        self.append(link)

    def _number(self):
        for i, child in enumerate(self._children):
            child.name = str(i)

    def _shared(self):
        copied = super()._shared()
        copied.__dict__["_children"] = [child.copy("share") for child in self._children]
        copied._number()
        return copied

    def __str__(self):
        return self._str_of(enumerate(self._children))


def _check_child(parent, link):
    if not isinstance(link, Link):
        raise TypeError(f"the children of {type(parent).__name__} are Links; got {type(link).__name__}")
