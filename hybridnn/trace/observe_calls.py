"""Calls, as the observer follows them."""
import copy
import functools
import logging
import types
from collections import Counter, deque

import numpy as np

from hybridnn.config import ConfigBlock, config, force_backprop_mode, no_backprop_mode, using_config
from hybridnn.core.op import Op
from hybridnn.core.variable import Variable
from hybridnn.link import Link
from hybridnn.sequential import Sequential
from hybridnn.trace.batches import giver_of, joined
from hybridnn.trace.cached import LRU, key_of, known_result
from hybridnn.trace.calculations import calculate
from hybridnn.trace.changed_copies import changer_of
from hybridnn.trace.drawing import CLOCKS, choose, choose_some, chooses, draw, read_clock, samples, shuffle
from hybridnn.trace.lengths import settle
from hybridnn.trace.numpy_functions import EMPTY, HEADERS, OF_TYPES, is_array_function
from hybridnn.trace.observe_builtins import PURE_BUILTINS, asks_class, lacks
from hybridnn.trace.observe_copies import COPIERS
from hybridnn.trace.observe_getters import GETTERS
from hybridnn.trace.observe_heaps import CHOOSING
from hybridnn.trace.observe_objects import ERRSTATE, MADE_AGAIN, MANAGER, MANAGER_CODE, is_partial
from hybridnn.trace.observe_operators import SYMBOLS
from hybridnn.trace.observe_statistics import is_statistic, statistic
from hybridnn.trace.refs import (
    FOLLOWED,
    LINK_CODE,
    Closure,
    Doubt,
    Iterator,
    Ref,
    class_lookup,
    code_of,
    constant,
    is_library_code,
    is_numeric,
    is_pure,
    is_traced,
    mirror,
)
from hybridnn.trace.streams import is_draw, stream_of
from hybridnn.trace.summaries import guard_links

__all__ = ["Calls"]

GENERATOR = 0x20      # CO_GENERATOR
COPY_CODE = frozenset([Link.copyparams.__code__, Sequential.copyparams.__code__])
MAKING_ITERATORS = frozenset([enumerate, iter, zip])
KINDS, MODES = ("all", "divide", "over", "under", "invalid"), ("ignore", "warn", "raise", "print", "log")      # of ``numpy.errstate``
BLOCK_AGAIN = ConfigBlock._recreate_cm
BLOCKS = frozenset([using_config, no_backprop_mode, force_backprop_mode])


class Calls:
    """Instructions that call."""

    def op_KW_NAMES(self, f, i):
        f.kwnames = i.argval if isinstance(i.argval, tuple) else f.code.co_consts[i.arg]

    def op_CALL(self, f, i):
        args = self._take(f, i.arg)
        second, first = f.stack.pop(), f.stack.pop()
        fn = second if first.kind == "null" else first
        if first.kind != "null":
            args.insert(0, second)
        names, f.kwnames = f.kwnames, ()
        kw = dict(zip(names, args[len(args) - len(names):], strict=True)) if names else {}
        self._call(f, fn, args[:len(args) - len(names)] if names else args, kw)

    def op_CALL_FUNCTION_EX(self, f, i):
        kw = self.use(f.stack.pop()).value if i.arg & 1 else {}
        args = self._items(f.stack.pop())
        fn = f.stack.pop()
        if f.stack and f.stack[-1].kind == "null":
            f.stack.pop()
        self._call(f, fn, args, dict(kw))

    def _call(self, f, fn, args, kw):
        fn = self.use(fn)
        if self.varied and not self._takes_varied(fn):
            settle([*args, *kw.values()])
        if fn.kind == "method":
            self._call_method(f, fn, args, kw)
        elif fn.kind == "exit":
            self.leave_block(f, fn)
        elif fn.kind == "partial":
            target, given, named = fn.value
            self._call(f, target, [*given, *args], {**named, **kw})
        elif fn.kind == "getter":
            self.call_getter(f, fn.value, args, kw)
        elif fn.kind == "closure":
            self._call_function(f, fn, args, kw)
        elif fn.kind == "object" and isinstance(class_lookup(fn.value.cls, "__call__"), types.FunctionType):
            target = class_lookup(fn.value.cls, "__call__")
            self.guard("classattr", fn.value.cls, "__call__", target)
            f.waiting = ("call", constant(target), [fn, *args], kw, "push")
        elif fn.kind != "static":
            raise Doubt("calls a function that was computed")
        else:
            self._call_constant(f, fn, args, kw)

    def _takes_varied(self, fn):
        """Whether a call hands arrays of any length on, to NumPy or to what is followed."""
        called = fn.value
        if fn.kind == "method":
            return is_numeric(called[0]) if len(called) == 2 else not is_library_code(called[2])
        if fn.kind != "static":
            return fn.kind in ("closure", "partial", "object")
        return is_array_function(called) or changer_of(called) is not None or isinstance(called, types.FunctionType) and not is_library_code(called)

    def _call_constant(self, f, fn, args, kw):
        """A call of what is the same on every call."""
        called = fn.value
        made = self._made_by_numpy(called, args, kw)
        if made is not None:
            f.waiting = ("make", fn, [], {}, made)
        elif isinstance(called, types.FunctionType) and called in BLOCKS:
            self._enter_block(f, called, args, kw)
        elif called is MADE_AGAIN and args[0].kind == "static" and type(args[0].value) is MANAGER:
            self.make_manager_again(f, args[0])
        elif called is BLOCK_AGAIN and args[0].kind == "static" and type(args[0].value) is ConfigBlock:
            self._enter_block_again(f, args[0])
        elif isinstance(called, types.FunctionType) and (arrays := joined(self, called, args, kw)) is not None:
            f.waiting = ("make", None, [], {}, arrays)
        elif isinstance(called, types.FunctionType):
            self._call_function(f, fn, args, kw)
        elif called is next and len(args) == 1 and args[0].kind == "static" and (give := giver_of(args[0].value)):
            self._call_function(f, constant(give), args, kw)
        elif called is np.errstate and not args:
            self._make_errstate(f, kw)
        elif called is super:
            self.make_super(f, args)
        elif called is functools.partial and args:
            f.stack.append(self.make_partial(args, kw))
        elif is_partial(called):
            self.call_partial(f, fn, args, kw)
        elif isinstance(called, types.MethodType):
            self._call(f, constant(called.__func__), [self.root_object(called.__self__, ("bound", called)), *args], kw)
        elif type(called) is LRU:
            f.stack.append(self._cached_result(called, args, kw))
        elif called is object.__setattr__ and len(args) == 3 and not kw and args[0].kind == "object":
            self.set_plainly(f, args[0], self.plain(args[1]), args[2], "push")
        elif called is object.__init__ and len(args) == 1 and not kw and args[0].kind == "object":
            f.stack.append(constant(None))
        elif isinstance(called, types.BuiltinFunctionType):
            self._call_builtin(f, called, args, kw)
        elif isinstance(called, type):
            self._call_class(f, called, args, kw)
        else:
            self._call_object(f, fn, args, kw)

    def _call_builtin(self, f, fn, args, kw):
        if fn in CLOCKS and not args and not kw:
            f.stack.append(read_clock(self, fn))
        elif fn is sum and len(args) == 1 and kw.keys() == {"start"}:
            self._call_builtin(f, fn, [*args, kw["start"]], {})
        elif fn is sum and not kw and args and self._sums_variables(args):
            f.waiting = ("sum", len(self.call.path) if f.retrying is None else f.retrying[3], args, kw, None)
        elif fn is setattr and len(args) == 3 and not kw:
            self._store_attr(f, args[0], self.plain(args[1]), args[2], "push")
        elif self.call_with_callbacks(f, fn, args, kw):
            pass
        elif fn in SYMBOLS and len(args) == 2 and not kw:
            self._binary(f, *args, SYMBOLS[fn])
        elif not kw and self.call_operator(f, fn, args):
            pass
        elif fn in PURE_BUILTINS:
            self._call_pure(f, fn, args, kw)
        else:
            self._unknown(fn, args)

    def _call_class(self, f, cls, args, kw):
        if self.call_with_callbacks(f, cls, args, kw):
            return
        if cls in PURE_BUILTINS:
            self._call_pure(f, cls, args, kw)
        elif cls in GETTERS:
            f.stack.append(self.make_getter(cls, args, kw))
        elif cls is Counter:
            f.waiting = ("make", None, [], {}, self.make_counter(args, kw))       # its own Python runs meanwhile
        elif cls is Variable:
            f.waiting = ("call", constant(Variable.__init__), [Ref("made", None, ("variable", args[0], kw)), *args], kw, "variable")
        elif not cls.__module__.startswith("hybridnn.") or cls.__module__.startswith(FOLLOWED):
            self.make_object(f, cls, args, kw)
        else:
            self._unknown(cls, args)

    def _made_by_numpy(self, fn, args, kw):
        """The Ref of what a function of NumPy's gives, or one that draws; None for other functions."""
        if fn is np.copyto and len(args) == 2 and not kw:
            self.copy_into(*args)
            return constant(None)
        if fn is np.random.shuffle:
            return shuffle(self, fn, args, kw, np.random)
        if is_draw(fn):
            return self._drawn(shuffle if fn.__name__ == "shuffle" else draw, fn, args, kw, stream_of(fn))
        if args and id(fn) in OF_TYPES:
            return Ref("static", fn(*map(self.whole, args), **{k: self.plain(v) for k, v in kw.items()}), ("fixed",))
        if id(fn) in HEADERS and len(args) == 1 and not kw and is_numeric(args[0]):
            self.guard_header(args[0])
            return constant(getattr(args[0].value, HEADERS[id(fn)]))
        if args and (changer := changer_of(fn)):
            self.change_by(fn, changer, *args, **kw)
            return constant(None)
        fn = EMPTY.get(id(fn), fn)
        if not is_array_function(fn):
            return None
        args, kw = self.output_by_name(fn, args, kw)
        return self.compute_into(fn, args, kw) if "out" in kw else calculate(self, fn, args, kw)

    def _cached_result(self, wrapper, args, kw):
        """What a function with a cache has found before. A plan asks it behind all else, for it counts who asks."""
        given = [self.plain(a) for a in args]
        key = None if kw else key_of(wrapper, given)
        known = None if key is None else known_result(wrapper, key)
        if known is None:
            raise Doubt("calls a function with a cache, with keywords or with what is not there", by_chance=True)
        value = known[-1]
        if type(value) is not np.ndarray and not is_pure(value) and not isinstance(value, np.generic):
            raise Doubt(f"a function with a cache gives a {type(value).__name__}")
        self.guard("cached", wrapper, key, *known)
        self.effects.append(("call", wrapper, given))
        if type(value) is np.ndarray:
            return self.fixed_array(value)
        ref = Ref("static", value, ("fixed",))
        self.note_origin(ref)
        return ref

    def _drawn(self, draws, fn, args, kw, stream):
        """What a draw gives."""
        args = [self.use(a) if a.kind == "arg" and type(a.value) in (list, deque, tuple) else a for a in args]
        if samples(fn, args, kw):
            return choose_some(self, fn, *args, *kw.values())
        return choose(self, fn, *args) if chooses(fn, args, kw) else draws(self, fn, args, kw, stream)

    def _call_function(self, f, fn, args, kw):
        code = code_of(fn)
        if code in COPY_CODE:
            self.copy_parameters(args, kw)
            f.waiting = ("make", fn, [], {}, constant(None))
        elif code is MANAGER_CODE and fn.kind == "static":
            self.make_manager(f, fn, args, kw)
        elif code in LINK_CODE:
            f.waiting = ("make", fn, args, kw, self._link_members(fn.value, args, kw))
        elif fn.value is logging.getLogger and len(args) == 1 and not kw:
            f.waiting = ("make", fn, [], {}, self._known_logger(self.plain(args[0])))
        elif fn.kind == "static" and is_statistic(fn.value):
            f.waiting = ("make", fn, [], {}, statistic(self, fn.value, args, kw))
        elif fn.kind == "static" and fn.value in CHOOSING:
            f.waiting = ("make", fn, [], {}, self.choose_items(fn.value, args, kw))
        elif fn.kind == "static" and fn.value in COPIERS and len(args) == 1 and not kw and (copied := self.copied(args[0], fn.value is copy.deepcopy)):
            f.waiting = ("make", fn, [], {}, copied)
        elif code.co_flags & GENERATOR:
            f.waiting = ("make", fn, args, kw, self.make_generator(fn, args, kw))
        else:
            f.waiting = ("call", fn, args, kw, "push")

    def _known_logger(self, name):
        """``logging.getLogger(name)`` of a logger that is there."""
        get, manager, root = logging.getLogger, logging.Logger.manager, logging.root
        found = manager.loggerDict.get(name) if type(name) is str and name != root.name else None
        if not isinstance(found, logging.Logger):
            raise Doubt("makes a logger, or takes the root", by_chance=True)
        self.guard("function", get, get.__code__, get.__defaults__, get.__kwdefaults__)
        for known, value in (("root", root), ("Logger", logging.Logger)):
            self.guard("global", vars(logging), known, value)
        self.guard("attr", root, "name", root.name)
        self.guard("classattr", logging.Logger, "manager", manager)
        self.guard("class", manager, type(manager))
        self.guard("noattr", manager, "getLogger")
        self.guard("classattr", type(manager), "getLogger", class_lookup(type(manager), "getLogger"))
        self.guard("item", manager.loggerDict, name, found)
        return constant(found)

    def _link_members(self, fn, args, kw):
        """What ``params``, ``links``, ... of a link go through: its tree is guarded."""
        link, given, named = args[0], [self.plain(a) for a in args[1:]], {k: self.plain(v) for k, v in kw.items()}
        uninit = named.get("include_uninit", given[0] if given else True)
        if link.kind != "static" or fn in (Link.params, Link.namedparams) and not uninit:
            raise Doubt(f"calls {fn.__qualname__} with unusual arguments")
        guard_links(self, link.value)
        members = fn(link.value, *given, **named)
        found = [mirror(tuple, [constant(x[0]), self._member(x[1])]) if isinstance(x, tuple) else self._member(x) for x in members]
        return Ref("iterator", Iterator(found))

    def _member(self, x):
        """A parameter or link inside a guarded tree."""
        if isinstance(x, Variable) and x._array is None:
            raise Doubt("a parameter has no array yet")
        ref = Ref("static", x, ("fixed",))
        self.note_origin(ref)
        return ref

    def _unknown(self, fn, args):
        name = fn.__qualname__ if isinstance(fn, (type, types.BuiltinFunctionType)) else f"a {type(fn).__name__}"      # whose own repr() may do something
        raise Doubt(f"calls {name}, whose effects are not known")

    def _call_object(self, f, fn, args, kw):
        obj, cls = fn.value, type(fn.value)
        if is_traced(obj):
            self._call_traced(f, obj, constant(obj.__wrapped__), args, kw)
            return
        if cls in GETTERS:
            self.call_getter(f, self.getter_of(obj), args, kw)
            return
        if cls is Op:
            f.waiting = ("call", constant(cls.__call__), [fn, *args], kw, "push")
            return
        target = class_lookup(cls, "__call__")
        traced = is_traced(target)
        if not traced and not isinstance(target, types.FunctionType):
            self._unknown(obj, args)
        self.guard("class", obj, cls)
        self.guard("classattr", cls, "__call__", target)
        if traced:
            self._call_traced(f, target, constant(target.__wrapped__), [fn, *args], kw)
            return
        f.waiting = ("call", constant(target), [fn, *args], kw, "push")

    def _call_traced(self, f, traced, fn, args, kw):
        """Inside a traced call a traced function does nothing but call what it wraps."""
        if traced._memory is self.call.owner:
            raise Doubt("calls itself")          # a plan that holds its own function would live until the collector comes
        self.guard("wrapped", traced, traced.__wrapped__)
        self._call(f, fn, args, kw)
        if f.waiting is None or f.waiting[0] != "call":
            raise Doubt("calls another traced function")
        f.waiting = (*f.waiting, "traced")

    def _enter_block(self, f, fn, args, kw):
        """A block of the library's that overrides a configuration value: within it operations and reads come out as recorded, and its end restores all."""
        given = [self.plain(a) for a in args]
        if kw or len(given) != (2 if fn is using_config else 0):
            raise Doubt("a configuration block with unusual arguments")
        key = given[0] if given else "enable_backprop"
        if key not in ("train", "enable_backprop") and not key.startswith("user_"):
            raise Doubt(f"a block that changes config.{key}")
        f.waiting = ("make", None, [], {}, Ref("block", None))

    def _enter_block_again(self, f, ref):
        """The block that a function enters which one decorates (``@hnn.no_backprop_mode()``): another one like it."""
        for name in ("name", "value", "config"):
            self.guard("attr", ref.value, name, vars(ref.value)[name])
        if ref.value.config is not config:
            raise Doubt("a block of another configuration")
        self._enter_block(f, using_config, [constant(ref.value.name), constant(ref.value.value)], {})

    @staticmethod
    def _is_no_underflow(given):
        return given.get("under", given.get("all", "ignore")) == "ignore"

    def _make_errstate(self, f, kw):
        """``numpy.errstate``, around what NumPy computes: a plan leaves before all else where anything overflows, divides by zero or makes NaN there, and so
        need not know what is to be said of it."""
        given = {name: self.plain(v) for name, v in kw.items()}
        if any(name not in KINDS or mode not in MODES for name, mode in given.items()) or not self._is_no_underflow(given):
            raise Doubt("numpy.errstate with unusual arguments")
        f.waiting = ("make", None, [], {}, Ref("block", ERRSTATE))

    def refuse_inside_errstate(self):
        """What a plan computes when it is too late to leave says itself what there is to say."""
        if self.errstates:
            raise Doubt("NumPy writes, or computes after a change in place, under numpy.errstate")

    def plain(self, ref):
        """A constant argument."""
        ref = self.use(ref)
        if ref.kind != "static" or not is_pure(ref.value):
            raise Doubt("an argument that is not the same on every call")
        return ref.value

    def whole(self, ref):
        """A constant, or a list, tuple, dict or set of constants, as a value of Python's."""
        ref = self.use(ref)
        if ref.kind == "mirror" and type(ref.value) in (list, tuple):
            return type(ref.value)([self.whole(r) for r in ref.value])
        if ref.kind == "mirror" and type(ref.value) is dict:
            return {k: self.whole(r) for k, r in ref.value.items()}
        return set(ref.value) if ref.kind == "set" else self.plain(ref)

    def _call_pure(self, f, fn, args, kw):
        if fn in (float, int, bool) and len(args) == 1 and isinstance(args[0].value, Variable) and args[0].kind != "mirror":
            f.waiting = ("call", Ref("static", fn), args, kw, "push")
            return
        if fn in (float, int, bool, abs) and len(args) == 1 and not kw and is_numeric(args[0]):
            f.stack.append(calculate(self, fn, args, kw))
            return
        if fn is pow and len(args) == 2 and not kw and any(is_numeric(a) or isinstance(a.value, Variable) and a.kind != "mirror" for a in args):
            self._binary(f, *args, "**")
            return
        if fn in (len, abs) and len(args) == 1 and isinstance(args[0].value, Variable) and args[0].kind != "mirror":
            self._operators_of(args[0], f"__{fn.__name__}__")
            f.waiting = ("call", Ref("static", fn), args, kw, "push")
            return
        if fn is len and len(args) == 1 and self._own_length(f, args[0]):
            return
        if fn is getattr and len(args) in (2, 3) and not kw or fn is hasattr and len(args) == 2:
            self._ask_attr(f, fn, *args)
            return
        found = PURE_BUILTINS[fn](self, args, kw)
        if fn is isinstance and asks_class(args[1]) or fn in MAKING_ITERATORS and any(isinstance(a.value, Variable) and a.kind != "mirror" for a in args):
            f.waiting = ("make", None, [], {}, found)       # the class's own check, or a Variable's __iter__, runs meanwhile
        else:
            f.stack.append(found)

    def _ask_attr(self, f, fn, owner, name, *default):
        """``getattr`` or ``hasattr``; a property runs meanwhile."""
        name = self.plain(name)
        if (default or fn is hasattr) and lacks(self, owner, name):
            f.stack.append(default[0] if default else constant(False))
            return
        self._load_attr(f, owner, name, method=False)
        if fn is getattr:
            return
        if f.waiting is None:
            f.stack[-1] = constant(True)
        else:
            f.waiting = (*f.waiting[:4], "there" if f.waiting[0] == "call" else constant(True))

    def _own_length(self, f, ref):
        """``len()`` of an object whose class says it; False if the class is none of the user's."""
        ref = self.use(ref)
        if ref.kind not in ("static", "object") or isinstance(ref.value, Link):
            return False
        cls = ref.value.cls if ref.kind == "object" else type(ref.value)
        target = class_lookup(cls, "__len__")
        if not isinstance(target, types.FunctionType) or is_library_code(target):
            return False
        self.guard("classattr", cls, "__len__", target)
        if ref.kind == "static":
            self.guard("class", ref.value, cls)
        f.waiting = ("call", constant(target), [ref], {}, "push")
        return True

    def op_MAKE_FUNCTION(self, f, i):
        code = f.stack.pop().value
        cells = [r.value for r in f.stack.pop().value] if i.arg & 8 else []
        if i.arg & 4:
            f.stack.pop()
        kwdefaults = f.stack.pop().value if i.arg & 2 else {}
        defaults = f.stack.pop() if i.arg & 1 else None
        defaults = [] if defaults is None else [constant(v) for v in defaults.value] if defaults.kind == "static" else list(defaults.value)
        f.stack.append(Ref("closure", Closure(code, cells, defaults, kwdefaults)))

    def op_RETURN_VALUE(self, f, i):
        f.waiting = ("return", f.stack.pop())

    def op_RAISE_VARARGS(self, f, i):
        raise Doubt("raises an exception")
