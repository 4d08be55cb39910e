"""Methods that subclasses should not override."""
import warnings

__all__ = ["enable_final", "final"]


def final(*args, action=TypeError):
    """Decorator of a method in a class made with ``enable_final``: overriding it raises ``action`` (or warns, if that is a warning).

    ``@final`` and ``@final(action=DeprecationWarning)`` both work.
    """
    def mark(method):
        method._override_action = (action,)
        return method
    return mark(*args) if args else mark


class _EnableFinal(type):
    def __new__(cls, name, bases, members):
        for key in members:
            for base in bases:
                action = getattr(getattr(base, key, None), "_override_action", None)
                if action is not None:
                    _complain(action[0], f"method {key!r} of {base.__name__} is final; {name} overrides it")
        return super().__new__(cls, name, bases, members)


def _complain(action, message):
    if issubclass(action, Warning):
        warnings.warn(message, action, stacklevel=4)
    else:
        raise action(message)


def enable_final(base=(), meta_base=()):
    """A base class under which ``final`` works.

    Args:
        base: class or classes that it inherits from.
        meta_base: their metaclasses, if they have some.
    """
    bases = tuple(base) if isinstance(base, (list, tuple)) else (base,)
    metas = tuple(meta_base) if isinstance(meta_base, (list, tuple)) else (meta_base,)
    return type("meta", (_EnableFinal, *metas), {})("final_enabled", bases, {})
