"""Module paths of Chainer's where this package has no module of its own: ``from hybridnn.links.connection import convolution_nd``.

Chainer has a module for each link, optimizer or hook; here a module holds a family. A table says what Chainer's modules hold, and the
paths lead there. They are for code that was written for Chainer.
"""
import sys
import types

__all__ = ["open_paths"]


def open_paths(package, table):
    """Add modules under ``package`` that hold names of it.

    Args:
        package: the name of a module that has all the names.
        table: path below the package to names in one string, to a dict of names and values, or to a module.
    """
    root = sys.modules[package]
    for path, target in table.items():
        *parents, name = path.split(".")
        parent = root
        for step in parents:
            parent = _module(parent, step)
        if isinstance(target, types.ModuleType):
            _set(parent, name, target)
        else:
            values = target if isinstance(target, dict) else {n: getattr(root, n) for n in target.split()}
            _module(parent, name).__dict__.update(values)


def _module(parent, name):
    """The module of that name under ``parent``, new if need be."""
    full = f"{parent.__name__}.{name}"
    if full not in sys.modules:
        module = types.ModuleType(full, f"What Chainer keeps in such a module; it lives elsewhere under ``{full.rpartition('.')[0]}``.")
        module.__path__ = []
        _set(parent, name, module)
    return sys.modules[full]


def _set(parent, name, module):
    sys.modules[f"{parent.__name__}.{name}"] = module
    setattr(parent, name, module)
