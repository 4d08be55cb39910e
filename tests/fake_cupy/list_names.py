"""Lists what CuPy has, for the stand-in: functions with the names of their arguments, ufuncs, methods. Needs CuPy, but no driver.

usage: python tests/fake_cupy/list_names.py      (with the real CuPy; writes cupy/names.json)
"""
import inspect
import json
import sys
from pathlib import Path

import numpy

FOLDER = Path(__file__).resolve().parent
sys.path[:] = [p for p in sys.path if Path(p).resolve() != FOLDER]      # where this script lies, the stand-in does
STARS = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def arguments(function):
    """Names of the arguments, with their stars; None where nothing tells."""
    try:
        return [STARS.get(p.kind, "") + p.name for p in inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return None


def functions(module):
    names = [n for n in dir(module) if not n.startswith("_") and callable(getattr(module, n)) and not isinstance(getattr(module, n), type)]
    return {n: arguments(getattr(module, n)) for n in names}


def listed():
    import cupy
    import cupyx.scipy.special
    ufuncs = [n for n in dir(cupy) if isinstance(getattr(cupy, n), cupy.ufunc) and hasattr(numpy, n)]
    own = {n: a for n, a in functions(cupy).items() if hasattr(numpy, n) and n not in ufuncs}
    return {"version": cupy.__version__, "functions": own, "ufuncs": ufuncs, "linalg": functions(cupy.linalg), "fft": functions(cupy.fft),
            "methods": [n for n in dir(cupy.ndarray) if not n.startswith("_")], "special": [n for n in dir(cupyx.scipy.special) if not n.startswith("_")]}


def lines(table):
    """A line per name."""
    rows = [f' "{k}": ' + ("{\n" + ",\n".join(f'  "{a}": {json.dumps(b)}' for a, b in v.items()) + "\n }" if isinstance(v, dict) else json.dumps(v))
            for k, v in table.items()]
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    (FOLDER / "cupy" / "names.json").write_text(lines(listed()), encoding="utf-8")
