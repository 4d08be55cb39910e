"""Making many test classes of one: what ``parameterize`` and ``inject_backend_tests`` share.

A decorator of theirs puts the classes that it makes into the module of the test, where a runner finds them, and leaves a
``Bundle`` under the name of the class, so that a second decorator can go on with all of them.
"""
import inspect
import sys
from dataclasses import dataclass

__all__ = ["Bundle", "classes_of", "make_decorator"]


@dataclass
class Bundle:
    """Test classes that stand for one. Each lies in its module under its ``__qualname__``."""
    classes: list


def classes_of(decorated):
    """The classes behind a class or a Bundle."""
    return decorated.classes if isinstance(decorated, Bundle) else [decorated]


def make_decorator(generate):
    """A class decorator from ``generate(cls)``, which yields ``(name, members, change)``.

    ``change(method)`` takes the place of a test method. A class that keeps the name of ``cls`` lies in the module as ``name_other``, since
    the Bundle has the name; its own name stays, as Chainer has it, for what a second decorator makes of it.
    """
    def decorate(decorated):
        result = []
        for cls in classes_of(decorated):
            module = sys.modules[cls.__module__]
            if isinstance(decorated, Bundle):
                delattr(module, cls.__qualname__)
            taken = {c.__name__ for c in result}
            for name, members, change in generate(cls):
                result.append(_make(cls, module, _unique(name, taken), members, change))
        return Bundle(result)
    return decorate


def _unique(name, taken):
    """``name``, with a number if it is taken; takes it."""
    count = 1
    while name in taken:
        count += 1
        name = f"{name.rsplit('#', 1)[0]}#{count}"
    taken.add(name)
    return name


def _make(base, module, name, members, change):
    tests = {n: change(f) for n, f in inspect.getmembers(base, inspect.isfunction) if n.startswith("test_")}
    place = f"{name}_other" if name == base.__name__ else name
    cls = type(name, (base,), {**members, **tests, "__module__": module.__name__, "__qualname__": place})
    setattr(module, place, cls)
    return cls
