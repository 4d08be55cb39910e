"""Imports only go down, found by reading the source: every import counts, wherever in a module it stands."""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from floors import FLOORS, KEEPERS, KNOTS, WALLS

ROOT = Path(__file__).parent.parent
PACKAGE = "hybridnn"


@dataclass(frozen=True)
class Import:
    importer: str
    target: str
    line: int

    def __str__(self):
        return f"{self.importer}:{self.line} imports {self.target}"


def within(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def read_sources(root: Path) -> dict[str, str]:
    """Text of every module under the package, by dotted name; a package goes by its own name."""
    sources = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        sources[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return sources


def packages_of(sources) -> set[str]:
    return {name.rpartition(".")[0] for name in sources} | {PACKAGE}


def base_of(node: ast.ImportFrom, importer: str, packages: set[str]) -> str:
    """The module after ``from``, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = importer if importer in packages else importer.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def literal_import(node: ast.Call) -> str | None:
    """The module of ``importlib.import_module("x")`` or ``__import__("x")``."""
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    argument = node.args[0] if node.args else None
    if name in ("import_module", "__import__") and isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        return argument.value
    return None


def targets_of(node: ast.AST, importer: str, names: set[str], packages: set[str]):
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = base_of(node, importer, packages)
        for alias in node.names:
            full = f"{base}.{alias.name}"
            yield full if full in names else base
    elif isinstance(node, ast.Call) and (target := literal_import(node)):
        yield target


def imports_of(sources: dict[str, str]) -> list[Import]:
    names, packages = set(sources), packages_of(sources)
    found = []
    for importer, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            found += [Import(importer, t, node.lineno) for t in targets_of(node, importer, names, packages)]
    return found


def floor_of(module: str) -> int | None:
    if not within(module, PACKAGE):
        return None
    inside = module.removeprefix(PACKAGE).removeprefix(".") or "__init__"
    matches = [(len(name), floor) for floor, names in enumerate(FLOORS) for name in names if within(inside, name)]
    return max(matches)[1] if matches else None


def upward(imports: list[Import]) -> list[str]:
    def goes_up(i):
        above, below = floor_of(i.importer), floor_of(i.target)
        return above is not None and below is not None and below > above
    return [str(i) for i in imports if goes_up(i)]


def through_walls(imports: list[Import]) -> list[str]:
    def broken(i):
        return any(within(i.importer, who) and within(i.target, what) and not any(within(i.target, e) for e in excepted)
                   for who, what, excepted in WALLS)

    def kept(i):
        return any(within(i.target, what) and not within(i.importer, keeper) for what, keeper in KEEPERS.items())
    return [str(i) for i in imports if broken(i) or kept(i)]


def knot_of(module: str) -> str:
    return next((knot for knot in KNOTS if within(module, knot)), module)


def circles(imports: list[Import]) -> list[str]:
    """Modules that reach themselves through imports; modules of one knot count as one."""
    edges: dict[str, set[str]] = {}
    for i in imports:
        a, b = knot_of(i.importer), knot_of(i.target)
        if within(b, PACKAGE) and a != b:
            edges.setdefault(a, set()).add(b)
    return sorted(m for m in edges if m in reachable(edges, m))


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += edges.get(module, ())
    return seen


@pytest.fixture(scope="module")
def sources():
    return read_sources(ROOT)


@pytest.fixture(scope="module")
def imports(sources):
    return imports_of(sources)


def test_every_module_has_a_floor(sources):
    assert len(sources) > 1
    assert [name for name in sources if floor_of(name) is None] == []


def test_no_floor_is_named_twice():
    names = [name for floor in FLOORS for name in floor]
    assert len(names) == len(set(names))


def test_imports_only_go_down(imports):
    assert upward(imports) == []


def test_walls_inside_the_floors_stand(imports):
    assert through_walls(imports) == []


def test_no_import_circles_outside_the_knot(imports):
    assert circles(imports) == []


def test_import_stays_light():
    """Compilers are loaded when they are first needed, not with the package; CuPy with it, where it is installed."""
    code = "import sys, hybridnn; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert PACKAGE in out
    assert {"numba", "llvmlite", "scipy", "h5py", "matplotlib", "sklearn"} & set(out) == set()


class TestTheCheckItself:
    """Arrows that must be found, planted in a made-up package."""

    SOURCES = {
        "hybridnn": "from .trace import api",
        "hybridnn.core": "from .variable import Variable",
        "hybridnn.core.variable": "from . import tape",
        "hybridnn.core.tape": "from .variable import Variable",
        "hybridnn.graph": "from .core.variable import Variable",
        "hybridnn.links": "",
        "hybridnn.jit.plan": "",
        "hybridnn.trace.api": "",
    }

    @pytest.mark.parametrize("module, text, target", [
        ("hybridnn.core.variable", "from ..links import Linear", "hybridnn.links"),
        ("hybridnn.core.variable", "def f():\n    import hybridnn.trace.api", "hybridnn.trace.api"),
        ("hybridnn.core", "from .. import links", "hybridnn.links"),
        ("hybridnn.graph", "from hybridnn.trace import api", "hybridnn.trace.api"),
        ("hybridnn.graph", "if TYPE_CHECKING:\n    from .jit.plan import Plan", "hybridnn.jit.plan"),
        ("hybridnn.graph", "importlib.import_module('hybridnn.jit.plan')", "hybridnn.jit.plan"),
        ("hybridnn.graph", "import hybridnn as hnn", "hybridnn"),
    ])
    def test_finds_an_arrow_that_goes_up(self, module, text, target):
        found = upward(imports_of(self.SOURCES | {module: text}))
        assert len(found) == 1 and found[0].startswith(module + ":") and found[0].endswith(" " + target)

    @pytest.mark.parametrize("module, text", [
        ("hybridnn.trace.api", "from numba.core import types"),
        ("hybridnn.trace.api", "def f():\n    import llvmlite"),
        ("hybridnn.jit.plan", "from ..core.variable import Variable"),
        ("hybridnn.jit.plan", "from ..core import Variable"),
        ("hybridnn.graph", "import cupy"),
    ])
    def test_finds_a_broken_wall(self, module, text):
        assert len(through_walls(imports_of(self.SOURCES | {module: text}))) == 1

    def test_finds_a_circle(self):
        planted = {"hybridnn.links.a": "from . import b", "hybridnn.links.b": "def f():\n    from .a import g"}
        assert circles(imports_of(self.SOURCES | planted)) == ["hybridnn.links.a", "hybridnn.links.b"]

    def test_is_content_with_what_is_allowed(self):
        imports = imports_of(self.SOURCES)
        assert (upward(imports), through_walls(imports), circles(imports)) == ([], [], [])

    def test_finds_a_module_without_a_floor(self):
        assert floor_of("hybridnn.attic.box") is None


def test_names_of_test_files_are_unique():
    """Two files of one name cannot be collected in one run, as their folders are no packages."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert not {n for n in names if names.count(n) > 1}


def test_packages_that_few_programs_need_load_when_they_are_named():
    code = """
import sys
import hybridnn as hnn
print(sorted(n for n in hnn._ON_DEMAND if f"hybridnn.{n}" in sys.modules), "multiprocessing" in sys.modules)
print(hnn.datasets.TupleDataset.__name__, hnn.training.extensions.LogReport.__name__, "datasets" in vars(hnn))
print(set(hnn.__all__) <= set(dir(hnn)), all(hasattr(hnn, n) for n in hnn.__all__), hasattr(hnn, "nothing"))
print(callable(hnn.profile))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:4] == ["[] False", "TupleDataset LogReport True", "True True False", "True"]
