"""Random programs, plain against traced: 200 in the suite; ``python -m pytest -m nightly tests/fuzz`` runs 2,000 new ones, some of them compiled.

What the programs found stands below as tests of its own, each as small as it could be made.
"""
import collections
import textwrap

import pytest
from comparing import compare
from hypothesis import HealthCheck, given, settings
from programs import HEAD, Call, Program, programs

import hybridnn as hnn
from hybridnn.trace import segment

QUIET = dict(deadline=None, database=None, suppress_health_check=list(HealthCheck))
totals = collections.Counter()


def run(program):
    for mode in ("auto", "verify"):
        totals.update(runs=1, **vars(compare(program, mode)))


@pytest.fixture
def interpreted(monkeypatch):
    """Segments run node by node: nothing is compiled."""
    monkeypatch.setattr(segment, "jit_compile", segment.Interpreted)


@settings(max_examples=200, derandomize=True, **QUIET)
@given(programs())
def test_random_programs(interpreted, program):
    run(program)


def test_programs_reach_all_tiers(interpreted):
    """The strategy is no good if its programs are never replayed."""
    @settings(max_examples=20, derandomize=True, **QUIET)
    @given(programs())
    def some(program):
        run(program)
    totals.clear()
    some()
    assert totals["hits"] > 60 and totals["skipped"] > 0 and totals["recordings"] > 40, totals


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=1800, derandomize=False, print_blob=True, **QUIET)
@given(programs())
def test_many_random_programs(interpreted, program):
    run(program)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=200, derandomize=False, print_blob=True, **QUIET)
@given(programs(size=8))
def test_compiled_random_programs(program):
    with hnn.using_config("trace_compile", "sync"):
        run(program)


# ---------------------------------------------------------------------------------------------------------------- what they found

FOUND = {}


def found(body, before=(), optimizer="SGD(0.03)", raw_x=False, y_grad=False, outer=False):
    """A program of ``body``; ``before`` says what is done before which call."""
    events = dict(before)
    calls = tuple(Call(3, 2, True, events.get(i, ""), "") for i in range(8))
    source = f"{HEAD}def make(trace):\n    rate, opt = 0.5, hnn.optimizers.{optimizer}\n    net = Net()\n    opt.setup(net)\n    @trace\n"
    source += "    def step(x, y, t, raw, k, flag):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "        ")
    return Program(source + "\n    return net, opt, step, None\n", calls, raw_x, y_grad, outer)


FOUND["a loss keeps its graph when the path is left after its backward"] = found("""
    s = F.mean(F.tanh(y) * x)
    s.backward(enable_double_backprop=True)
    v = F.softmax(F.max(y, axis=0)[None])[0]
    m = x
    if net.h is not None:
        m = F.tanh(x + net.h * 0.5)
    net.h = m * 0.5
    return [s]
    """)
FOUND["a loss scale on a loss without dimensions"] = found("""
    s = F.mean(F.tanh(x) * x) + F.sum(net.p * net.p) * 0.1
    s.backward(loss_scale=2.0)
    return [s]
    """)
FOUND["a Variable over the array of another"] = found("""
    c = F.expand_dims(F.logsumexp(hnn.Variable(x.array), axis=1), 1)
    return (F.mean(F.tanh(x) * y) + F.mean(F.tanh(x) * x) + F.sum(F.tanh(net.p)), c)
    """, outer=True)
FOUND["a value from before an update that changes course"] = found("""
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    opt.update()
    return (s, x, y)
    """, {2: "net.l1.disable_update()", 5: "net.l1.enable_update()"}, "RMSprop(0.01, eps=0.01)", raw_x=True)
FOUND["values that two backward passes use, with an update in between"] = found("""
    m = y * 0.7
    s = F.mean(F.tanh(y) * y) + F.mean(F.tanh(m) * y)
    s.backward()
    opt.update()
    s = F.mean(F.tanh(m) * net.l1(y))
    s.backward(enable_double_backprop=True)
    s = F.mean(F.tanh(y) * y) + F.mean(F.tanh(m) * F.maximum(y, m))
    s.backward()
    return (F.max(F.matmul(y, net.W), axis=0), s, y)
    """, {3: "net.l1 = net.l2.copy()"}, y_grad=True)
FOUND["an operation that fails after an update, on a value from before it"] = found("""
    m = F.elu(y * SCALE)
    try:
        net.cleargrads()
        opt.update()
        m = F.elu(m)
        m + np.zeros((7, 3), 'f')
    except ValueError as e:
        log(type(e).__name__)
    return (m,)
    """)
FOUND["a loop that stops elsewhere after an update"] = found("""
    m = F.tanh(y * rate)
    net.zerograds()
    opt.update()
    n = 0
    while float(F.mean(m * m)) > 0.0391 and n < 3:
        m, n = m * 0.7, n + 1
    return dict(a=(y, m))
    """, optimizer="AdamW(0.02, eps=0.01)", raw_x=True, y_grad=True)
FOUND["the gradient at which backward began, where Python is skipped"] = found("""
    s = F.mean(F.tanh(y) * x)
    s.backward(enable_double_backprop=True)
    return [s]
    """)
FOUND["zeros that an update gives to parameters without a gradient, where Python is skipped"] = found("""
    net.cleargrads()
    F.sum(F.tanh(net.l1(y))).backward()
    opt.update()
    return (net.l2.W.grad,)
    """)
FOUND["the same without clearing"] = found("""
    opt.update()
    return (y,)
    """, {k: "net.cleargrads()" for k in (1, 2, 3, 4, 6)})
FOUND["a loss scale, where Python is skipped"] = found("""
    s = F.mean(F.tanh(y) * x)
    s.backward(loss_scale=2.0)
    return [s]
    """)
FOUND["an update that changes course after gradients of the call were scaled in place"] = found("""
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    net.cleargrads()
    s.backward()
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    net.cleargrads()
    s.backward(loss_scale=2.0)
    opt.update()
    return (y,)
    """, {7: "net.l1.disable_update()"}, raw_x=True)
FOUND["retained gradients of values that have been computed before backward"] = found("""
    m = F.tanh(F.tanh(x))
    log(float(F.sum(m)))
    F.sum(m * m).backward(retain_grad=True)
    return (m,)
    """)
FOUND["retained gradients with arrays of their own"] = found("""
    m = F.tanh(F.tanh(x))
    v = F.mean(m)
    s = v + 0.5 * F.sum(net.p)
    s.backward(retain_grad=True)
    m.grad[0] += 1
    return (m, v, s)
    """)
FOUND["unchaining a Variable over the array of another, which keeps its graph"] = found("""
    m = F.tanh(y + net.l2(x))
    net.h = hnn.Variable(m.array)
    net.h.unchain_backward()
    F.sum(m * 0.5).backward()
    return (m, net.l2.W.grad)
    """)
FOUND["the graph of a value that an updated parameter is in"] = found("""
    s = F.sum(net.p * net.p) * 0.1
    net.p.cleargrad()
    s.backward()
    opt.update()
    m = y * net.p
    log(float(F.mean(m)) > 100)
    return (m,)
    """, outer=True)
FOUND["the same, where Python is skipped"] = found("""
    s = F.sum(net.p * net.p) * 0.1
    net.p.cleargrad()
    s.backward()
    opt.update()
    return (y * net.p,)
    """, outer=True)
FOUND["a gradient that was cleared before the path was left"] = found("""
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    net.cleargrads()
    s.backward(enable_double_backprop=True)
    s = F.softmax_cross_entropy(net.l1(y), t[:len(y)])
    net.cleargrads()
    s.backward()
    opt.update()
    return (net.p,)
    """, {3: "net.l1 = net.l2.copy()"})
FOUND["a gradient that is a broadcast value"] = found("""
    v = F.broadcast_to(F.sum(net.W, axis=1), x.shape)
    net.cleargrads()
    F.sum(v * 2).backward(enable_double_backprop=True)
    return (v,)
    """)
FOUND["labels that have the number of another branch's value"] = found("""
    if int(F.argmax(F.mean(y, axis=0) + F.tanh(net.p)).array) > 1:
        y.array + 1
    else:
        for i in range(2):
            log(float(F.softmax_cross_entropy(y, t[:len(y)])))
    return (F.dropout(y, 0.5) @ net.W,)
    """, y_grad=True)
FOUND["a value without creator, kept when the path is left behind an update"] = found("""
    m = F.tanh(x + net.p)
    net.h = m
    net.h.unchain_backward()
    F.mean(F.tanh(y) * net.p).backward()
    opt.update()
    if net.scale > 1:
        m = m * 2
    return (F.sum(m),)
    """, {4: "net.scale *= 2"})
FOUND["two gradients of one value, when the path is left before they are computed"] = found("""
    y = y + 0.5
    s = F.mean(F.tanh(y))
    net.cleargrads()
    s.backward(retain_grad=True)
    opt.update()
    return (y,)
    """, {3: "net.l1 = net.l2.copy()"}, y_grad=True)
FOUND["retained gradients, when the path is left before they are computed"] = found("""
    m = F.tanh(F.tile(hnn.Variable(net.buf), (y.shape[0], 1)))
    z = F.tanh(y + rate)
    s = F.mean(F.tanh(z) * m)
    net.cleargrads()
    s.backward(retain_grad=True)
    opt.update()
    return (net.p, z)
    """, {3: "net.l1 = net.l2.copy()"}, y_grad=True)
FOUND["gradients retained by two passes, the first of which were cleared"] = found("""
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    net.cleargrads()
    s.backward(retain_grad=True)
    s = F.mean(F.tanh(y) * y) + F.sum(net.p * net.p) * 0.1
    net.cleargrads()
    s.backward(retain_grad=True)
    opt.update()
    return (F.tanh(y), s)
    """, {7: "net.l1 = net.l2.copy()"}, raw_x=True)


@pytest.mark.parametrize("mode", ["auto", "verify"])
@pytest.mark.parametrize("name", FOUND)
def test_found(interpreted, name, mode):
    compare(FOUND[name], mode)
