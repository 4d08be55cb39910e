"""Checks of keyword arguments."""
import inspect

__all__ = ["assert_kwargs_empty", "check_unexpected_kwargs", "parse_kwargs"]


def check_unexpected_kwargs(kwargs, **unexpected):
    """Raise ``ValueError`` with the message given for a key, if that key is in ``kwargs``."""
    for key, message in unexpected.items():
        if key in kwargs:
            raise ValueError(message)


def parse_kwargs(kwargs, *name_and_values, **unexpected):
    """Values of the named keywords, each with a default; a keyword that is left over raises ``TypeError`` in the caller's name.

    Args:
        kwargs: the dict of keywords; what is found is removed from it.
        name_and_values: pairs of name and default.
        unexpected: messages for keywords that deserve one of their own (``ValueError``).
    """
    values = tuple([kwargs.pop(name, default) for name, default in name_and_values])
    if kwargs:
        check_unexpected_kwargs(kwargs, **unexpected)
        caller = inspect.stack()[1].function
        raise TypeError(f"{caller}() got unexpected keyword argument(s) {', '.join(map(repr, sorted(kwargs)))}")
    return values


def assert_kwargs_empty(kwargs):
    """Raise ``TypeError`` if any keyword is left."""
    parse_kwargs(kwargs)
