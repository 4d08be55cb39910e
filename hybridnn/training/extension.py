"""Extensions: what a Trainer calls besides the updater."""
from hybridnn.utils.argument import assert_kwargs_empty, check_unexpected_kwargs

__all__ = ["PRIORITY_EDITOR", "PRIORITY_READER", "PRIORITY_WRITER", "Extension", "make_extension"]

PRIORITY_WRITER = 300       # adds to the observation
PRIORITY_EDITOR = 200       # changes it
PRIORITY_READER = 100       # reads it


class Extension:
    """Base of extensions; a plain function of the trainer does as well.

    Attributes:
        trigger: when it is called: a trigger, or a pair such as ``(1, "epoch")``.
        priority: extensions of higher priority come first.
        name: its name in the trainer, given by ``Trainer.extend``.
    """
    trigger = (1, "iteration")
    priority = PRIORITY_READER
    name = None

    @property
    def default_name(self):
        """Its name unless ``extend`` is told another one."""
        return type(self).__name__

    def __call__(self, trainer):
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")

    def initialize(self, trainer):
        """Called once before the loop, after a snapshot has been loaded."""

    def on_error(self, trainer, exc, tb):
        """Called when the loop is left by an exception."""

    def finalize(self):
        """Called after the loop, whatever happened."""

    def serialize(self, serializer):
        """Save or load the extension's state."""


def make_extension(trigger=None, default_name=None, priority=None, finalizer=None, initializer=None, on_error=None, **kwargs):
    """Decorator that gives a function the attributes of an extension.

    Args:
        trigger, default_name, priority: as the attributes of ``Extension``; None: its defaults, and the function's own name.
        finalizer, initializer, on_error: functions in place of the methods.
    """
    check_unexpected_kwargs(kwargs, invoke_before_training=(
        "make_extension: invoke_before_training was removed in Chainer 2\n  hint: trainer.extend(..., call_before_training=True)"))
    assert_kwargs_empty(kwargs)

    def decorate(function):
        function.trigger = Extension.trigger if trigger is None else trigger
        function.priority = Extension.priority if priority is None else priority
        function.default_name = default_name or function.__name__
        function.finalize, function.initialize, function.on_error = finalizer, initializer, on_error
        return function
    return decorate
