"""NumPy's floating-point warnings, errstate and callbacks are as eager; natively compiled."""
import contextlib
import io
import math
import sys
import types
import warnings

import numpy as np
import pytest
from worlds import MODES, arr, check

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn.errors import TraceWarning

NATIVE = True
pytestmark = pytest.mark.parametrize("mode", MODES)
CASES = {
    "log of zero": (lambda x: F.log(x) * 2, [1, 0]),
    "log of negative": (lambda x: F.log(x), [1, -1]),
    "division": (lambda x: 1 / x, [2, 0]),
    "zero by zero": (lambda x: x / x, [2, 0]),
    "overflow": (lambda x: F.exp(x) + 1, [1, 200]),
    "square root": (lambda x: F.sqrt(x), [1, -1]),
    "product": (lambda x: x * 3e38, [0.1, 9]),
    "infinities": (lambda x: x - x, [1, np.inf]),
    "power": (lambda x: x ** 0.5, [1, -1]),
    "power of zero": (lambda x: x ** -1.5, [1, 0]),
    "power, finite": (lambda x: (x - 2) ** 3.0, [1, 0]),
    "underflow": (lambda x: F.exp(x), [1, -100]),
    "sum": (lambda x: F.sum(x), [1, np.inf]),
    "a result that nobody uses": (lambda x: (F.log(x), x * 2)[1], [1, 0]),
}


@pytest.mark.parametrize("case", CASES)
def test_warnings(mode, case):
    fn, values = CASES[case]

    def make(wrap):
        f = wrap(lambda x: fn(x))
        good, bad = hnn.Variable(np.full(3, values[0], "float32")), hnn.Variable(np.array(values, "float32"))

        def under(x, **how):
            def call():
                with np.errstate(**how):
                    return f(x)
            return call
        return [], [lambda: f(good), lambda: f(bad), under(bad, all="raise"), under(bad, all="ignore"), under(good, all="raise")]
    check(make, mode, steps=[*[0] * 7, 1, 2, 3, 4, 1, 0, *[1] * 4, *[3] * 2, 2, 4, 0])


def test_errstate_inside(mode):
    def make(wrap):
        @wrap
        def f(x):
            with np.errstate(all="ignore"):
                y = F.log(x)
            z = (x - 2) * 3
            return y, z

        def seen(x):
            kinds = []
            with np.errstate(all="call", call=lambda kind, flag: kinds.append(kind)):
                f(x)
            return sorted(set(kinds))
        good, bad = hnn.Variable(np.ones(3, "float32")), hnn.Variable(np.zeros(3, "float32"))
        return [], [lambda: f(good), lambda: f(bad), lambda: seen(bad)]
    check(make, mode)


def test_step_that_overflows(mode):
    def make(wrap):
        w = hnn.Parameter(np.ones(3, "float32"))
        link = hnn.Chain()
        with link.init_scope():
            link.w = w
        opt = hnn.optimizers.SGD(1e30).setup(link)

        @wrap
        def step(x):
            link.cleargrads()
            loss = F.sum(w * w * x)
            loss.backward()
            opt.update()
            return loss
        x = np.ones(3, "float32")
        return [link], [lambda: step(x), lambda: (w.array.fill(1), step(x))[1]]
    check(make, mode, steps=[*[1] * 7, 0, 0, 0, 1, 0, 0])


def as_error(f, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return f(*args)


def test_warnings_turned_into_errors(mode):
    """Where Python is skipped, the program raises them where they belong, before anything has changed."""
    def make(wrap):
        link = L.Linear(3, 2)
        opt = hnn.optimizers.Adam().setup(link)
        f = wrap(lambda x: F.sum(F.sqrt(x) * 2))

        @wrap
        def step(x):
            link.cleargrads()
            y = F.sum(F.exp(link(x)))
            y.backward()
            opt.update()
            return y
        good, bad = hnn.Variable(np.ones(3, "float32")), hnn.Variable(-np.ones(3, "float32"))
        x = arr(4, 3)
        return [link, opt], [lambda: as_error(f, good), lambda: as_error(f, bad), lambda: as_error(step, x), lambda: as_error(step, x * 1e4)]
    if mode == "auto":
        check(make, mode, steps=[*[0] * 7, 1, 0, 1, *[2] * 7, 3, 2, 3])
    f = hnn.trace(lambda x: F.sum(F.sqrt(x) * 2), mode=mode)
    for value in (1, 1, 1, -1, 1, -1):
        x = hnn.Variable(np.full(3, value, "float32"))
        if value > 0:
            as_error(f, x)
            continue
        with pytest.raises(RuntimeWarning, match="invalid value encountered in sqrt"):
            as_error(f, x)


@pytest.mark.parametrize("body", [
    lambda x, n, y: [np.log(x), y][1],
    lambda x, n, y: [np.sqrt(y.array - 100.0), y][1],
    lambda x, n, y: [1 / n, y][1],
    lambda x, n, y: [n % 1.0 ** n, n // n, y][2],
    lambda x, n, y: [x[0] / n, y][1],
    lambda x, n, y: [10.0 ** (n * 100), y][1],
    lambda x, n, y: [n * 1.5, y][1],
    lambda x, n, y: [math.sqrt(n - 1), y][1],
    lambda x, n, y: [np.log(np.zeros(2)), y][1],
])
def test_what_nobody_uses_may_fail(mode, body):
    """Results that are dropped, but not their warnings and exceptions."""
    def make(wrap):
        box = type("Box", (), {})()
        box.n = 1

        @wrap
        def f(x):
            return body(x, box.n, F.sum(F.exp(x * 0.1)))

        def put(n):
            box.n = n
            return f(np.abs(arr(3)))
        return [box], [lambda: f(np.abs(arr(3))), lambda: f(-arr(3)), lambda: put(0), lambda: put(2.0), lambda: put(10 ** 400), lambda: put(1)]
    check(make, mode)


WARNING = {"batch_normalization": lambda x: F.batch_normalization(x, np.ones(3, "f"), np.zeros(3, "f")),
           "batch_matmul": lambda x: F.batch_matmul(F.reshape(x, (1, 1, 3)), F.reshape(x, (1, 3, 1)))}


@pytest.mark.parametrize("action", ["always", "error"])
@pytest.mark.parametrize("name", WARNING)
def test_warnings_of_the_library(mode, name, action):
    """They come on every call, also after many that were ignored."""
    def make(wrap):
        f = wrap(lambda x: F.tanh(WARNING[name](x)))

        def filtered(action):
            with warnings.catch_warnings():
                warnings.simplefilter(action)
                return f(arr(1, 3))
        return None, [lambda: filtered("ignore"), lambda: f(arr(1, 3)), lambda: filtered(action)]
    reason = check(make, mode)[0].explain().paths[0].reason
    assert mode != "auto" or "the library warns" in reason and "test_warnings.py:" in reason


@pytest.mark.parametrize("expression", ["np.nanmean(x)", "np.nanmax(x, axis=0)", "np.nanvar(x)", "x.std(ddof=3)", "np.var(x, ddof=4)", "np.std(x, 0, ddof=1)",
                                        "np.cov(x)", "np.cov(x[:1])", "np.cross(x[:2], x[1:])", "x.std(axis=0, ddof=2)",
                                        "float((x * 1j).sum())", "(x * 1j).astype('f')", "np.asarray(x * 1j, 'f')", "np.float32(x * 1j)",
                                        "(1j * x).sum(dtype='f')",
                                        "np.array([(x * 1j).sum(), 1], float)", "math.sqrt((x * 1j).sum())", "np.fill_diagonal(np.eye(2), x[:2] * 1j)"])
def test_warnings_of_numpy_are_counted(mode, expression):
    def make(wrap):
        f = wrap(eval(f"lambda x: (F.exp(hnn.Variable(x)), {expression})", {"F": F, "np": np, "math": math, "hnn": hnn}))

        def count(x):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = f(x)
            return found, [str(w.message) for w in caught if w.category is not TraceWarning]

        def refuse():
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return f(arr(3) * np.float32("nan"))
        return [], [lambda: count(arr(3) * np.float32("nan")), lambda: count(arr(3)), lambda: count(arr(1)), refuse]
    check(make, mode)


@pytest.mark.parametrize("body", [
    "F.sqrt(x * x)", "F.sqrt(F.square(x)) * 2", "1 / F.sqrt(x * x + z * z)", "[y := x * 2.0 + z, y * 1e-10]", "[y := x * 2.0 - z, F.tanh(y) / 3]"])
def test_very_small_and_very_large_numbers_side_by_side(mode, body):
    """Only update rules compute very small numbers in float64."""
    def make(wrap):
        f = wrap(eval(f"lambda x, z: {body}", {"F": F}))
        x = hnn.Variable(np.array([3e38, 1e-30, 1e-44, 2, -3, 1e-22, 0], "f"))

        def quietly():
            with np.errstate(all="ignore"):
                return f(x, hnn.Variable(np.zeros(7, "f")))
        return [], [lambda: f(x, hnn.Variable(np.zeros(7, "f"))), quietly]
    check(make, mode)


@pytest.mark.parametrize("error", ["error", "ignore"])
def test_filters_change_for_good(mode, error):
    """Without a block."""
    def make(wrap):
        @wrap
        def f(x, z):
            y = F.log(x)
            warnings.simplefilter(error)
            try:
                y = y * F.sqrt(z)
            except RuntimeWarning as told:
                return y, str(told)
            finally:
                warnings.simplefilter("always")
            return y
        good, zero, bad = [hnn.Variable(np.full(3, v, "float32")) for v in (1, 0, -1)]
        return [], [lambda: f(good, good), lambda: f(zero, good), lambda: f(good, bad), lambda: f(zero, bad)]
    check(make, mode)


@contextlib.contextmanager
def filters(action):
    """Put where they are, not into another list."""
    before = warnings.filters[:]
    warnings.simplefilter(action)
    yield
    warnings.filters[:] = before


@contextlib.contextmanager
def shown_by(told):
    before = warnings.showwarning
    warnings.showwarning = lambda *args: told.append(args[1].__name__)
    yield
    warnings.showwarning = before


OTHER_WAYS = {"error": lambda told: filters("error"), "ignore": lambda told: filters("ignore"), "showwarning": shown_by,
              "stderr": lambda told: contextlib.redirect_stderr(types.SimpleNamespace(write=told.append))}


@pytest.mark.parametrize("ways", OTHER_WAYS)
@pytest.mark.parametrize("where", [0, 1, 2])
def test_only_some_calls_warn_in_other_ways(mode, ways, where):
    """With the same operations; the filters are put back before the values are needed. Warnings go into the list, or to the stream, of their time."""
    def make(wrap):
        box = type("Box", (), {})()
        box.told, box.other = [], False

        @wrap
        def f(xs):
            found = ()
            for k, fn in enumerate((F.exp, F.log, F.sqrt)):
                with OTHER_WAYS[ways](box.told) if box.other and k == where else contextlib.nullcontext():
                    try:
                        found += fn(xs[k]),
                    except RuntimeWarning as error:
                        found += str(error),
            return found

        def call(value, other):
            def run():
                box.told.clear()
                box.other = other
                stream = io.StringIO()
                with warnings.catch_warnings(), contextlib.redirect_stderr(stream):
                    warnings.showwarning = lambda message, *rest: print(message, file=sys.stderr)
                    warnings.simplefilter("always")
                    warnings.simplefilter("ignore", TraceWarning)
                    found = f([hnn.Variable(np.full(3, value, "float32")) for _ in range(3)])
                return found, sorted({text for text in KINDS if text in "".join(box.told)}), sorted({text for text in KINDS if text in stream.getvalue()})
            return run
        return [], [call(1, False), call(0, False), call(-1, False), call(0, True), call(-1, True)]
    check(make, mode, steps=[*[0] * 7, 1, 2, 3, 4, 0, 4, 3, 1, 4])


KINDS = ("overflow", "divide", "invalid", "RuntimeWarning")      # what texts of warnings say


INSIDE = {"an operation": (lambda x: None, lambda x, y: F.log(x) * 2), "a look": (lambda x: F.log(x) * 2, lambda x, y: y.array.sum()),
          "backward": (lambda x: F.sum(F.sqrt(x)), lambda x, y: y.backward())}      # what comes before the block, and in it


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("what", INSIDE)
@pytest.mark.parametrize("record", [False, True])
def test_filters_change_inside(mode, what, record, ends):
    """What is in the block is recorded there, or raises there; what is before the block is not. It may be that only some calls have a block."""
    before, inside = INSIDE[what]

    def make(wrap):
        box = type("Box", (), {})()

        @wrap
        def f(x):
            x.cleargrad()
            y = before(x)
            with warnings.catch_warnings(record=record) if box.block else contextlib.nullcontext() as caught:
                if box.block:
                    warnings.simplefilter("always" if record else "error")
                try:
                    z = inside(x, y)
                except RuntimeWarning as error:
                    z = str(error)
                kinds = [w.category.__name__ for w in caught or ()]
                if ends:
                    return y, z, kinds
            return y, z, kinds, F.sqrt(x)

        def call(value, block):
            def run():
                box.block = block
                return f(hnn.Variable(np.full(3, value, "float32")))
            return run
        return [box], [call(1, True), call(0, True), call(1, False), call(-1, False)]
    check(make, mode)
    check(make, mode, steps=[*[2] * 8, 3, 0, 1, 2, 3, 1, 1, 0, 2, 3, 1, 2])
