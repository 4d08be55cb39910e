"""``@trace``: the decorator and what it makes."""
import copy
import functools
import inspect
import types
import weakref

from hybridnn.config import global_config, state
from hybridnn.trace.memory import Memory, Stats
from hybridnn.trace.refs import class_lookup
from hybridnn.trace.report import Explanation
from hybridnn.trace.running import run
from hybridnn.trace.unseen import unseen
from hybridnn.trace.watch import on_call

__all__ = ["Stats", "Traced", "trace"]

MODES = ("auto", "verify", "pure", "eager")
WRITTEN_IN_C = (types.BuiltinFunctionType, types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType)


def _of_function(name):
    """An attribute that is the wrapped function's, of which setting it changes what the function does."""
    return property(lambda self: getattr(self.__wrapped__, name), lambda self, value: setattr(self.__wrapped__, name, value))


class _Callable:
    """A traced callable, bound or not: how it is called, and what can be asked of it."""
    __slots__ = ()

    @unseen
    def __call__(self, *args, **kwargs):
        memory = self._memory
        if memory.resting > 0 and not on_call and not (state.trace or global_config.trace):     # here, since another Python call takes .2 us
            memory.resting -= 1
            memory.stats.calls += 1
            return self.__wrapped__(*args, **kwargs)
        return run(memory, self.__wrapped__, self._self, args, kwargs)

    @property
    def stats(self):
        """Counters, see ``Stats``."""
        return self._memory.stats

    def explain(self):
        """A report of paths, segments, steps and reasons; prints itself, and holds the facts as data."""
        return Explanation.of(self._memory)

    def clear(self):
        """Forget all recordings."""
        self._memory.clear()


class Traced(_Callable):
    """A traced callable. ``__wrapped__`` is the original; ``stats``, ``explain()`` and ``clear()`` tell and forget what was learned."""

    def __init__(self, fn, options):
        self._options = options
        self._memory = Memory(_name(fn), **options)
        self._instances = {}
        for name in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            if hasattr(fn, name):
                setattr(self, name, getattr(fn, name))
        self.__wrapped__ = fn
        self._self = None if isinstance(fn, types.FunctionType) else getattr(fn, "__self__", fn)

    __code__, __defaults__, __kwdefaults__ = map(_of_function, ("__code__", "__defaults__", "__kwdefaults__"))

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        return BoundTraced(self, instance)

    def __repr__(self):
        return f"<traced {_name(self.__wrapped__)}>"

    def __reduce__(self):
        """A function pickles by its name, a link or bound method by its value."""
        fn = self.__wrapped__
        return self.__qualname__ if isinstance(fn, types.FunctionType) else (_decorate, (fn, self._options))

    def __deepcopy__(self, memo):
        fn = self.__wrapped__
        return Traced(fn if isinstance(fn, types.FunctionType) else copy.deepcopy(fn, memo), self._options)

    def _memory_of(self, instance):
        """The memory of one instance's method; it goes when the instance goes."""
        key = id(instance)
        entry = self._instances.get(key)
        if entry is None:
            memory = Memory(_name(self.__wrapped__), **self._options)
            try:
                ref = weakref.ref(instance, lambda _, key=key, table=self._instances: table.pop(key, None))
            except TypeError:
                return self._memory
            entry = self._instances[key] = (ref, memory)
        return entry[1]


class BoundTraced(_Callable):
    """A traced method bound to its instance. Compares, copies and pickles as a bound method does."""
    __slots__ = ("__wrapped__", "_memory", "_self", "_traced")

    def __init__(self, traced, instance):
        self._traced, self._memory = traced, traced._memory_of(instance)
        self.__wrapped__ = traced.__wrapped__.__get__(instance, type(instance))
        self._self = instance

    __self__ = property(lambda self: self._self)

    def __eq__(self, other):
        return isinstance(other, BoundTraced) and self._traced is other._traced and self.__self__ is other.__self__

    def __hash__(self):
        return hash((id(self._traced), id(self.__self__)))

    def __reduce__(self):
        return getattr, (self.__self__, self.__wrapped__.__name__)

    def __deepcopy__(self, memo):
        return BoundTraced(self._traced, copy.deepcopy(self.__self__, memo))

    def __getattr__(self, name):
        return getattr(self.__wrapped__, name)

    def __repr__(self):
        return f"<traced {self.__wrapped__!r}>"


def _name(fn):
    return getattr(fn, "__qualname__", None) or type(fn).__name__


def trace(fn=None, *, mode="auto", check=0.0, max_paths=64):
    """Make a function fast without changing what it does (law L0).

    Args:
        fn: a function, method, static or class method, property, ``functools.partial``, lambda, or Link instance.
        mode: ``"auto"`` (skips Python where that is proved), ``"verify"`` (Python always runs), ``"pure"`` (the user vouches that only arguments and
            parameters matter), ``"eager"`` (off).
        check: probability with which a replay is also run eagerly and compared.
        max_paths: most control-flow paths kept at once.

    Raises:
        TypeError: for a class, a builtin, or anything that is not callable.
        ValueError: for an unknown mode or a bad number.
    """
    if mode not in MODES:
        raise ValueError(f"trace: mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}")
    if isinstance(max_paths, bool) or not isinstance(max_paths, int) or max_paths < 1:
        raise ValueError(f"trace: max_paths must be a positive int, got {max_paths!r}")
    if isinstance(check, bool) or not isinstance(check, (int, float)) or not 0 <= check <= 1:
        raise ValueError(f"trace: check must be a probability between 0 and 1, got {check!r}")
    options = dict(mode=mode, check=float(check), max_paths=max_paths)
    return functools.partial(_decorate, options=options) if fn is None else _decorate(fn, options)


def _decorate(fn, options):
    if isinstance(fn, (staticmethod, classmethod)):
        return type(fn)(_decorate(fn.__func__, options))
    if isinstance(fn, property):
        return property(*[f and _decorate(f, options) for f in (fn.fget, fn.fset, fn.fdel)], fn.__doc__)
    if isinstance(fn, type):
        raise TypeError(f"trace: {fn.__name__} is a class; decorate the method that does the work")
    if not callable(fn):
        hint = "trace(mode=...), and then the function" if isinstance(fn, str) else "trace(step)(x), not trace(step(x))"
        raise TypeError(f"trace: expected a function, method or Link, got {type(fn).__name__}\n  hint: {hint}")
    inner = _innermost(fn)
    if isinstance(inner, type):
        raise TypeError(f"trace: {inner.__name__} is a class, which {_name(fn)} calls; wrap it in a Python function")
    if not isinstance(inner, types.FunctionType) and isinstance(class_lookup(type(inner), "__call__"), WRITTEN_IN_C):
        raise TypeError(f"trace: {_name(inner)} is written in C and cannot be traced; wrap it in a Python function")
    if inspect.isgeneratorfunction(fn) or inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise TypeError(f"trace: {_name(fn)} is a generator or coroutine; decorate the step that it calls")
    return Traced(fn, options)


def _innermost(fn):
    """What a callable calls at last: behind partial objects, bound methods and wrappers."""
    for _ in range(100):
        if isinstance(fn, types.FunctionType):
            break
        inner = fn.func if isinstance(fn, functools.partial) else fn.__func__ if isinstance(fn, types.MethodType) else getattr(fn, "__wrapped__", fn)
        if inner is fn:
            break
        fn = inner
    return fn
