"""Configuration: global defaults, per-thread overrides, and the two switches that every operation reads.

``config.train`` reads the thread's override if there is one, else ``global_config.train``. Names and defaults are Chainer v7's, plus
``trace`` (the mode that overrides every traced function's own) and ``trace_compile`` (``"sync"`` or ``"background"``). Environment variables
set other defaults, as in Chainer: ``HYBRIDNN_DEBUG``, ``HYBRIDNN_KEEP_GRAPH_ON_REPORT`` and ``HYBRIDNN_TYPE_CHECK`` (0 or 1), ``HYBRIDNN_DTYPE``.
"""
import contextlib
import os
import threading
import types
import warnings

import numpy as np

__all__ = ["ConfigBlock", "GlobalConfig", "LocalConfig", "DEFAULTS", "config", "force_backprop_mode", "get_compute_mode", "global_config", "no_backprop_mode",
           "settle_hooks", "state", "using_config", "warn"]

_SWITCH = {"0": False, "1": True}
_DTYPE = {name: np.dtype(name) for name in ("float16", "float32", "float64")} | {"mixed16": "mixed16"}


def _given(key, values, default):
    """What an environment variable says of a key, or ``default``."""
    variable = f"HYBRIDNN_{key.upper()}"
    text = os.environ.get(variable)
    if text is not None and text not in values:
        raise ValueError(f"the environment variable {variable} is one of {', '.join(values)}, not {text!r}")
    return default if text is None else values[text]


DEFAULTS = dict(
    autotune=False, compute_mode=None, cudnn_deterministic=False, cudnn_fast_batch_normalization=False, debug=_given("debug", _SWITCH, False),
    dtype=_given("dtype", _DTYPE, np.dtype("float32")), enable_backprop=True, in_recomputing=False,
    keep_graph_on_report=_given("keep_graph_on_report", _SWITCH, False), lazy_grad_sum=False, schedule_func=None, train=True,
    type_check=_given("type_check", _SWITCH, True), use_cudnn="auto", use_cudnn_tensor_core="auto", use_ideep="never", use_static_graph=True,
    warn_nondeterministic=False, _will_recompute=False, trace=None, trace_compile="background")


_SWITCHES = frozenset(["enable_backprop", "trace", "debug"])      # see ``_apply_switch``
_CHOICES = dict(trace=(None, "auto", "verify", "pure", "eager", "error_on_record"), trace_compile=("background", "sync"))


def warn(message, category=UserWarning, stacklevel=1):
    """As ``warnings.warn``: how the library warns where a traced function may call it, which has to warn on every call."""
    if state.tracer is not None:
        state.tracer.note_warning()
    warnings.warn(message, category, stacklevel + 1)


class GlobalConfig:
    """Values for every thread that has not overridden them. Attributes are free to set; see ``DEFAULTS`` for the library's own."""

    def __setattr__(self, name, value):
        _check_choice(name, value)
        object.__setattr__(self, name, value)
        if name == "debug" and self is global_config:
            _ThreadState.hooks = _NO_HOOKS if value else None
            _note_debug(value)

    def show(self, file=None):
        """Print all values, sorted by name."""
        _show(vars(self), file)


class _ThreadState(threading.local):
    """What is read on every operation or traced call: the thread's tracer and overrides of ``enable_backprop`` and ``trace`` (None: not overridden)."""
    tracer = None
    backprop = None
    trace = None       # its override of ``trace``
    hooks = None       # dict of function hooks; None while there are none and debug mode is off. The class has it for threads that say neither
    updating = False   # inside an optimizer's update
    given_draws = None    # random numbers that were drawn already, to be given out before new ones
    config_reads = None   # a set that collects the config keys read, while a trace records


class LocalConfig:
    """A thread's view of a ``GlobalConfig``; setting an attribute affects the current thread only."""

    def __init__(self, global_config):
        object.__setattr__(self, "_global", global_config)
        object.__setattr__(self, "_local", threading.local())

    def __getattr__(self, name):
        if state.config_reads is not None and self is config:
            state.config_reads.add(name)
        values = self._local.__dict__
        try:
            return values[name] if name in values else getattr(self._global, name)
        except AttributeError:
            raise AttributeError(f"config has no key {name!r}; a key of your own is set first: hnn.global_config.user_... = value\n"
                                 f"  known: {', '.join(sorted(vars(self._global)))}") from None

    @property
    def enable_backprop(self):
        """Whether graphs are kept; inside a backward pass, whether that is to be differentiated itself."""
        if self is config and state.backprop is not None:      # the thread's override, or what the walk that is under way has set
            if state.config_reads is not None:
                state.config_reads.add("enable_backprop")
            return state.backprop
        return self.__getattr__("enable_backprop")

    def _several(self, names):
        """The values of several keys, each as if it were read by itself."""
        if state.config_reads is not None and self is config:
            state.config_reads.update(names)
        values, shared = self._local.__dict__, self._global
        return tuple([values[name] if name in values else getattr(shared, name) for name in names])

    def __setattr__(self, name, value):
        if name in _CHOICES:
            _check_choice(name, value)
        self._local.__dict__[name] = value
        if name in _SWITCHES and self is config:
            _apply_switch(name, value, value)

    def __delattr__(self, name):
        values = self._local.__dict__
        if name not in values:
            raise AttributeError(f"config.{name} is not overridden in this thread")
        del values[name]
        if name in _SWITCHES and self is config:
            _apply_switch(name, None, getattr(self._global, name, None))

    def overrides(self):
        """The current thread's overrides, as a dict that is not to be changed."""
        return self._local.__dict__

    def show(self, file=None):
        """Print all values that this thread sees, sorted by name."""
        _show({**vars(self._global), **self._local.__dict__}, file)


def _check_choice(name, value):
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"config.{name} is one of {', '.join(map(repr, _CHOICES[name]))}, got {value!r}")


def _show(values, file):
    width = max(map(len, values), default=0)
    for name in sorted(values):
        print(f"{name:<{width}} {values[name]}", file=file)


def _apply_switch(name, override, value):
    """Tell ``state`` of a new value of a switch that every operation reads. Debug mode takes the way of operations with hooks."""
    if name == "enable_backprop":
        state.backprop = override
    elif name == "trace":
        state.trace = override
    elif name == "debug":
        settle_hooks()
        _note_debug(value)


def settle_hooks():
    """Have ``state.hooks`` tell whether this thread is in debug mode, where it has no function hooks (any more)."""
    own, debug = state.__dict__, config.overrides().get("debug")
    if own.get("hooks"):
        return
    if debug is None:
        own.pop("hooks", None)      # what all threads have
    else:
        own["hooks"] = {} if debug else None


def _note_debug(value):
    if value and state.tracer is not None:
        state.tracer.note_hooks()


_NO_HOOKS: types.MappingProxyType = types.MappingProxyType({})
state = _ThreadState()
global_config = GlobalConfig()
for _name, _value in DEFAULTS.items():
    setattr(global_config, _name, _value)
config = LocalConfig(global_config)


def _check_known(name):
    if not (hasattr(global_config, name) or name in config.overrides() or name.startswith("user_")):
        close = ", ".join(sorted(vars(global_config)))
        warn(f"using_config({name!r}): the library has no such key; your own keys begin with 'user_' (known: {close})", stacklevel=3)


_NOTHING = object()


class ConfigBlock(contextlib.ContextDecorator):
    """What ``using_config`` gives: a block, or a decorator. Written out, as a generator would take as long as a small network."""

    def __init__(self, name, value, config):
        self.name, self.value, self.config = name, value, config
        self._before = None     # what the block's end puts back, while it lasts

    def _recreate_cm(self):
        """Functions that one block decorates may call each other."""
        return ConfigBlock(self.name, self.value, self.config)

    def __enter__(self):
        name, changed = self.name, self.config
        if self._before is not None:
            raise RuntimeError(f"this block, which sets config.{name}, has begun already; make another one with using_config")
        if changed is config and name not in DEFAULTS:
            _check_known(name)
        before = changed._local.__dict__.get(name, _NOTHING), state.backprop
        setattr(changed, name, self.value)
        self._before = before

    def __exit__(self, *_):
        name, changed = self.name, self.config
        (old, walk), self._before = self._before, None
        if old is not _NOTHING:
            setattr(changed, name, old)
        elif name in changed._local.__dict__:
            delattr(changed, name)
        if name == "enable_backprop" and changed is config:      # a walk that is under way has set it without an override
            state.backprop = walk


def using_config(name, value, config=config):
    """Override one configuration value for the block, in this thread.

    Your own keys begin with ``user_``; other unknown names draw a warning.
    """
    return ConfigBlock(name, value, config)


def get_compute_mode():
    """``config.compute_mode``: a way of computing that layers are to choose when they are made, or None; Chainer knows ``"cudnn_fast"``."""
    return config.compute_mode


def no_backprop_mode():
    """A block in which no graph is kept for backpropagation."""
    return ConfigBlock("enable_backprop", False, config)


def force_backprop_mode():
    """A block in which the graph is kept, also inside ``no_backprop_mode``."""
    return ConfigBlock("enable_backprop", True, config)
