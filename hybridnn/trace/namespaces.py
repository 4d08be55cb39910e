"""What classes and modules hold, as guards compare it."""
import functools
import sys
import types

from hybridnn.jit.dictwatch import version
from hybridnn.trace.refs import TRUSTED

__all__ = ["attributes", "function_modules", "has_attributes", "has_members", "members_of", "methods"]

_members = {}            # id of a module's namespace -> what it has, and the version of it that was looked at


def attributes(cls):
    """What stands in a class and its bases, by name."""
    return {name: attr for base in reversed(cls.__mro__) for name, attr in vars(base).items()}


def has_attributes(cls, known):
    """Whether a class has these attributes, and no others."""
    now = attributes(cls)
    return now.keys() == known.keys() and all(now[name] is attr for name, attr in known.items())


def methods(cls):
    """The names of a class's functions, which attributes of an object can hide."""
    return frozenset([name for name, attr in attributes(cls).items() if isinstance(attr, types.FunctionType)])


@functools.cache
def function_modules():
    """The namespaces of the modules whose functions are trusted; not of those that only have other paths to them."""
    found = [vars(m) for name, m in sorted(sys.modules.items()) if name.startswith(TRUSTED)]
    return [space for space in found if any(isinstance(v, types.FunctionType) and v.__module__ == space["__name__"] for v in space.values())]


def members_of(space):
    """A module's namespace as it is now; one and the same copy for all plans as long as nothing changes."""
    known, _ = _members.get(id(space), (None, None))
    if known is None or not has_members(space, known):
        now, known = version(space), dict(space)
        _members[id(space)] = known, now
    return known


def has_members(space, known):
    """Whether a module's namespace has the very same values under the same names. Asked again where nothing has changed, it answers without a look at them."""
    now = version(space)
    kept, then = _members.get(id(space), (None, None))
    if kept is known and then == now is not None:
        return True
    same = space.keys() == known.keys() and all(space[name] is value for name, value in known.items())
    if same:
        _members[id(space)] = known, now
    return same
