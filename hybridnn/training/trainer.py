"""``Trainer``: the loop."""
import os
import sys
import time
import traceback
from dataclasses import dataclass

from hybridnn.core.argument import refuse_kwargs
from hybridnn.reporter import Reporter
from hybridnn.serializer import Serializer
from hybridnn.training.extension import PRIORITY_READER, Extension
from hybridnn.training.triggers import get_trigger

__all__ = ["Trainer"]


@dataclass(frozen=True)
class _Entry:
    """An extension in a trainer."""
    name: str
    extension: object
    trigger: object
    priority: int
    call_before_training: bool


class Trainer:
    """Calls the updater until the stop trigger fires, and after each update the extensions whose triggers fire.

    Args:
        updater: what makes one update.
        stop_trigger: when to stop, ``(20, "epoch")`` for example; None: never.
        out: folder for what extensions write.
        extensions: extensions to begin with.

    Attributes:
        observation: dict of what was reported in the current iteration.
    """

    def __init__(self, updater, stop_trigger=None, out="result", extensions=None):
        self.updater, self.stop_trigger, self.out = updater, get_trigger(stop_trigger), out
        self.observation, self.reporter = {}, Reporter()
        for name, optimizer in updater.get_all_optimizers().items():
            self.reporter.add_observer(name, optimizer.target)
            self.reporter.add_observers(name, optimizer.target.namedlinks(skipself=True))
        self._extensions = {}
        self._done, self._started, self._elapsed_before, self._final_elapsed_time = False, None, 0.0, None
        updater.connect_trainer(self)
        for extension in extensions or ():
            self.extend(extension)

    @property
    def is_before_training(self):
        """Whether no update has been made yet."""
        return self.updater.iteration == 0

    @property
    def elapsed_time(self):
        """Seconds of training, those before a snapshot included."""
        if self._done:
            return self._final_elapsed_time
        if self._started is None:
            raise RuntimeError("training has not begun, so no time has elapsed\n  hint: trainer.run()")
        return time.perf_counter() - self._started + self._elapsed_before

    def extend(self, extension, name=None, trigger=None, priority=None, *, call_before_training=False, **kwargs):
        """Register an extension.

        Args:
            extension: an ``Extension``, or a function of the trainer.
            name: default: its ``name``, ``default_name`` or ``__name__``; a number is added if that is taken.
            trigger, priority: default: its own attributes.
            call_before_training: also call it once before the first update.
        """
        if kwargs:
            refuse_kwargs(kwargs, "invoke_before_training")
        if not callable(extension) or isinstance(extension, type) and issubclass(extension, Extension):
            what = f"the class {extension.__name__}" if isinstance(extension, type) else repr(extension)
            raise TypeError(f"an extension is an Extension or a function of the trainer, not {what}\n  hint: trainer.extend(extensions.LogReport())")
        name = name or _name_of(extension)
        if name == "training":
            raise ValueError("no extension can be called 'training'")
        unique, count = name, 0
        while unique in self._extensions:
            count += 1
            unique = f"{name}_{count}"
        trigger = get_trigger(getattr(extension, "trigger", (1, "iteration")) if trigger is None else trigger)
        priority = getattr(extension, "priority", PRIORITY_READER) if priority is None else priority
        extension.name = unique
        self._extensions[unique] = _Entry(unique, extension, trigger, priority, call_before_training)

    def get_extension(self, name):
        """The extension of that name."""
        if name not in self._extensions:
            raise ValueError(f"no extension is called {name!r}; known: {', '.join(self._extensions) or 'none'}"
                             "\n  hint: trainer.extend(...) adds one")
        return self._extensions[name].extension

    def run(self, show_loop_exception_msg=True):
        """Train until the stop trigger fires. Extensions are finalised whatever happens."""
        if self._done:
            raise RuntimeError("a Trainer runs once\n  hint: make a new one, or load a snapshot into a new one to go on")
        os.makedirs(self.out, exist_ok=True)
        entries = sorted(self._extensions.values(), key=lambda e: e.priority, reverse=True)
        self._started = time.perf_counter()
        _initialize(self, entries)
        try:
            self._loop(entries)
        except Exception as error:
            _tell(self, entries, error, show_loop_exception_msg)
            raise
        finally:
            for entry in entries:
                _call(entry.extension, "finalize")
            self.updater.finalize()
        self._final_elapsed_time = self.elapsed_time
        self._done = True

    def _loop(self, entries):
        while not self.stop_trigger(self):
            self.observation = {}
            with self.reporter.scope(self.observation):
                self.updater.update()
                for entry in entries:
                    if entry.trigger(self):
                        entry.extension(self)

    def serialize(self, serializer):
        """Save or load updater, extensions and triggers."""
        self.updater.serialize(serializer["updater"])
        _call(self.stop_trigger, "serialize", serializer["stop_trigger"])
        extensions, triggers = serializer["extensions"], serializer["extension_triggers"]
        for name, entry in self._extensions.items():
            _call(entry.extension, "serialize", extensions[name])
            _call(entry.trigger, "serialize", triggers[name])
        if isinstance(serializer, Serializer):
            serializer("_snapshot_elapsed_time", self.elapsed_time)
        else:
            self._elapsed_before = float(serializer("_snapshot_elapsed_time", 0.0))


def _name_of(extension):
    for attribute in ("name", "default_name", "__name__"):
        name = getattr(extension, attribute, None)
        if name is not None:
            return name
    raise TypeError(f"the extension {extension!r} has no name\n  hint: trainer.extend(..., name=...)")


def _call(thing, method, *args):
    """Call a method that a plain function or a user's class may lack."""
    found = getattr(thing, method, None)
    if found is not None:
        found(*args)


def _initialize(trainer, entries):
    # What loads a snapshot comes first: the others begin from the state that it brings.
    for entry in sorted(entries, key=lambda e: not getattr(e.extension, "autoload", False)):
        if not getattr(entry.trigger, "finished", False):
            _call(entry.extension, "initialize", trainer)
    if trainer.is_before_training:
        trainer.observation = {}
        with trainer.reporter.scope(trainer.observation):
            for entry in entries:
                if entry.call_before_training:
                    entry.extension(trainer)


def _tell(trainer, entries, error, show):
    """Let the extensions know of an exception; an exception in one of them is printed and does not hide the first."""
    if show:
        print(f"Exception in main training loop: {error}", file=sys.stderr)
        traceback.print_tb(error.__traceback__)
        print("Extensions and updater are finalised before it is raised again.", file=sys.stderr)
    for entry in entries:
        try:
            _call(entry.extension, "on_error", trainer, error, error.__traceback__)
        except Exception as second:
            print(f"Exception in on_error of {entry.name}: {second}", file=sys.stderr)
            traceback.print_tb(second.__traceback__)
