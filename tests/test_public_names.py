"""The public names of a module are what its ``__all__`` says, no more and no less."""

import ast
import functools
import importlib
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import hybridnn
from hybridnn._other_names import OTHER_NAMES

# Who offers names to users declares them.
MUST_DECLARE = ("hybridnn", "hybridnn.functions", "hybridnn.links", "hybridnn.optimizers", "hybridnn.initializers",
                "hybridnn.serializers", "hybridnn.errors", "hybridnn.config", "hybridnn.backend", "hybridnn.graph")

# Inside these, modules share names with their neighbours; what users see is the package's.
INTERNAL = ("hybridnn.core.", "hybridnn.ops.", "hybridnn.jit.", "hybridnn.trace.", "hybridnn.profile.")


def walk(module: ModuleType) -> list[str]:
    """Names of the package's public modules; ``__main__`` is for running, not for importing."""
    found = [module.__name__]
    for info in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
        if not any(part.startswith("_") for part in info.name.split(".")):
            found.append(info.name)
    return found


def declared(name: str) -> list[str] | None:
    return getattr(importlib.import_module(name), "__all__", None)


def names_bound_by(node: ast.AST) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.If, ast.Try, ast.ExceptHandler, ast.With, ast.For)):
        return set().union(*(names_bound_by(child) for child in ast.iter_child_nodes(node)))
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()


def defined_in(source: str) -> set[str]:
    """Public names that a module defines itself, at its top level."""
    names = set().union(*(names_bound_by(node) for node in ast.parse(source).body))
    return {name for name in names if not name.startswith("_")}


MODULES = walk(hybridnn)
DECLARING = [name for name in MODULES if declared(name) is not None]
FOR_USERS = [name for name in DECLARING if not name.startswith(INTERNAL)]


@pytest.mark.parametrize("name", DECLARING)
def test_every_declared_name_exists_once(name):
    module, names = importlib.import_module(name), declared(name)
    assert [n for n in names if not hasattr(module, n)] == []
    assert sorted(set(names)) == sorted(names)
    assert [n for n in names if n.startswith("_") and n != "__version__"] == []


@pytest.mark.parametrize("name", FOR_USERS)
def test_every_public_name_defined_here_is_declared(name):
    module = importlib.import_module(name)
    own = defined_in(Path(module.__file__).read_text(encoding="utf-8"))
    assert sorted(own - set(declared(name))) == []


@pytest.mark.parametrize("name", [n for n in FOR_USERS if hasattr(importlib.import_module(n), "__path__")])
def test_a_package_shows_nothing_else(name):
    """``dir`` of a package lists its declared names and its modules."""
    module = importlib.import_module(name)
    shown = {n for n, value in vars(module).items() if not n.startswith("_") and not isinstance(value, ModuleType)}
    assert sorted(shown - set(declared(name))) == []


@pytest.mark.parametrize("name", [n for n in MUST_DECLARE if n in MODULES])
def test_modules_for_users_declare_their_names(name):
    assert declared(name)


def test_definitions_are_found_wherever_they_stand():
    source = ("import os\na, (b, _c) = 1, (2, 3)\nd: int = 4\n"
              "try:\n    def e(): x = 1\nexcept ImportError:\n    f = 1\nclass G:\n    y = 2\nos.z = 5")
    assert defined_in(source) == {"a", "b", "d", "e", "f", "G"}


OWNERS = {"Variable": hybridnn.Variable, "Link": hybridnn.Chain, "Optimizer": hybridnn.optimizers.Adam}
HINTS = [(owner, name, hint) for owner, hints in OTHER_NAMES.items() for name, hint in hints.items()]


def owner_of(name):
    """An object of the class, or the module."""
    if name == "Variable":
        return hybridnn.Variable(np.ones(3))
    return OWNERS[name]() if name in OWNERS else importlib.import_module(name)


@pytest.mark.parametrize("owner, name, hint", HINTS)
def test_a_name_from_elsewhere_is_answered_with_one_of_here(owner, name, hint):
    there = owner_of(owner)
    assert not hasattr(there, name) and getattr(there, name, 7) == 7 and name not in dir(there)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'\n  hint: ") as info:
        getattr(there, name)
    assert str(info.value).endswith(hint)


def test_hints_name_what_is_there():
    param = hybridnn.Parameter(0, (3,))
    names = {"F": hybridnn.functions, "L": hybridnn.links, "hnn": hybridnn, "numpy": np, "param": param, "x": param, "y": param,
             "model": hybridnn.Chain(), "optimizer": hybridnn.optimizers.SGD().setup(hybridnn.Chain())}
    param.update_rule = names["optimizer"].create_update_rule()
    for _, _, hint in HINTS:
        for found in re.findall(r"\b(?:F|L|hnn|numpy|x|y|param|model|optimizer)(?:\.[A-Za-z]\w*)+", hint):
            first, *path = found.split(".")
            functools.reduce(getattr, path, names[first])


@pytest.mark.parametrize("owner", [*OWNERS.values(), hybridnn.functions])
def test_names_that_are_nowhere(owner):
    with pytest.raises(AttributeError, match="has no attribute 'nowhere'") as info:
        owner.nowhere
    assert "hint" not in str(info.value) and info.value.name == "nowhere"


def test_classes_have_names_from_elsewhere_if_they_define_them():
    class Behind:
        cuda = 3

        @property
        def train(self):
            return self.mode

        @train.setter
        def train(self, value):
            self.mode = value

    class Model(hybridnn.Chain, Behind):
        def eval(self):
            return self.cuda

    model = Model()
    model.train = 5
    model.fit = 6
    assert (model.eval(), model.mode, model.train, model.fit, Model.cuda) == (3, 5, 5, 6, 3)
    assert {"cuda", "eval", "fit", "train"} < set(dir(model)) and "compile" not in dir(model)
