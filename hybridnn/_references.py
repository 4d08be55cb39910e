"""How many hold an object, which tells whether its memory may be used again."""
import sys

__all__ = ["MANY", "count_references"]

MANY = 1 << 60


def _many(obj):
    """What is not known counts as held by many."""
    return MANY


# From CPython 3.14 on, names on their way to a call need not count. How many do has been looked at in the versions before it.
count_references = sys.getrefcount if sys.implementation.name == "cpython" and sys.version_info < (3, 14) else _many
