"""``static_code``, which marks what a static chain has to run at every call."""

__all__ = ["static_code"]


def static_code(fn=None, *, func_name=None):
    """Leave a function as it is: what a traced chain runs, side effects included, is what its Python says.

    Args:
        fn: the function; without it, the result is a decorator.
        func_name: has no effect.
    """
    return static_code if fn is None else fn
