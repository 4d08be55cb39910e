"""``import`` statements inside functions: modules that are there already, and stay what they are."""
import builtins
import importlib.util
import sys
import types

from hybridnn.trace.refs import Doubt, constant

__all__ = ["Imports"]

IMPORT = builtins.__import__


class Imports:
    """Instructions that import. Python's own code may run meanwhile, which finds the modules loaded."""

    def op_IMPORT_NAME(self, f, i):
        names, level = f.stack.pop().value, f.stack.pop().value
        known = f.real.f_builtins
        if known.get("__import__") is not IMPORT:
            raise Doubt("imports with an __import__ of the program's own")
        self.guard("item", known, "__import__", IMPORT)
        full = self._absolute(f, i.argval, level)
        parts = full.split(".")
        loaded = [self._loaded_module(".".join(parts[:k + 1])) for k in range(len(parts))]
        module = loaded[-1] if names or level else loaded[0]
        if hasattr(module, "__path__") and any(name not in vars(module) for name in names or ()):
            raise Doubt(f"imports a part of {module.__name__} that is not there yet")
        f.waiting = ("make", None, [], {}, constant(module))

    def _absolute(self, f, name, level):
        """The full name of a module; of a relative one, seen from the package that the function's globals name."""
        if not level:
            return name
        space = f.real.f_globals
        package = space.get("__package__")
        if type(package) is not str or not name:
            raise Doubt("a relative import")
        self.guard("global", space, "__package__", package)
        return importlib.util.resolve_name("." * level + name, package)

    def _loaded_module(self, name):
        module = sys.modules.get(name)
        if type(module) is not types.ModuleType or getattr(module.__spec__, "_initializing", False):
            raise Doubt(f"imports {name}")
        self.guard("item", sys.modules, name, module)
        return module

    def op_IMPORT_FROM(self, f, i):
        self._load_attr(f, f.stack[-1], i.argval, method=False)
