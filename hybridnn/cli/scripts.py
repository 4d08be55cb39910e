"""``profile SCRIPT`` and ``explain SCRIPT``: run a script as Python would, and look at the traced functions that it called."""
import sys
import types
from dataclasses import dataclass
from pathlib import Path

from hybridnn.profile.asked import TOLERANCE
from hybridnn.profile.measure import profile_call
from hybridnn.trace.report import Explanation
from hybridnn.trace.watch import on_call, watching

__all__ = ["Called", "explain_script", "profile_script", "run_script"]


@dataclass
class Called:
    """A traced function, and its latest call."""
    memory: object
    traced: object
    fn: object
    args: tuple
    kwargs: dict


def explain_script(script, arguments=()):
    """Print what each traced function has learned; the script's exit code."""
    code, called = run_script(script, arguments)
    for c in called:
        print(f"\n{Explanation.of(c.memory)}")
    return code or _none_called(script, called)


def profile_script(script, arguments=(), repeat=50, html=None):
    """Profile the latest call of each traced function and print the reports; the script's exit code, or 1 if results differed."""
    code, called = run_script(script, arguments)
    agree = True
    for number, c in enumerate(called):
        report = profile_call(c.memory, c.traced, c.fn, c.args, c.kwargs, repeat, TOLERANCE)
        print(f"\n{report}")
        agree = agree and report.agrees
        if html is not None:
            Path(html).mkdir(parents=True, exist_ok=True)
            page = Path(html) / f"{number}.html"
            report.save(page)
            print(f"written to {page}")
    return code or _none_called(script, called) or (0 if agree else 1)


def _none_called(script, called):
    if called:
        return 0
    print(f"{script} called no traced function", file=sys.stderr)
    return 1


def run_script(script, arguments=()):
    """Run a file as ``__main__``; its exit code, and what traced functions it called, in the order of their first calls."""
    try:
        source = Path(script).read_bytes()
    except OSError as error:
        print(f"{script}: {error.strerror}", file=sys.stderr)
        return 2, []
    called = {}

    def note(memory, traced, fn, args, kwargs):
        called.setdefault(id(memory), Called(memory, traced, fn, args, kwargs))
        called[id(memory)].args, called[id(memory)].kwargs = args, kwargs
    module = types.ModuleType("__main__")
    module.__file__ = str(script)
    with _as_main(module, [str(script), *arguments]), watching(on_call, note):
        code = _execute(compile(source, str(script), "exec"), module)
    return code, list(called.values())


def _execute(code, module):
    try:
        exec(code, module.__dict__)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else _complain(stop.code)
    return 0


def _complain(text):
    print(text, file=sys.stderr)
    return 1


class _as_main:
    """A block in which a module is the running program."""

    def __init__(self, module, argv):
        self.module, self.argv = module, argv

    def __enter__(self):
        self.before = sys.modules.get("__main__"), sys.argv, sys.path[0]
        sys.modules["__main__"], sys.argv = self.module, self.argv
        sys.path[0] = str(Path(self.module.__file__).resolve().parent)

    def __exit__(self, *_):
        sys.modules["__main__"], sys.argv, sys.path[0] = self.before
