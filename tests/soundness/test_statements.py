"""Statements of every kind, each in a function of its own, with what they rest on changed between calls.

A scenario is text: what defines the names that ``step`` uses, ``step``'s body, changes as pairs (what to do before a call, what undoes it), and other calls.
``x`` is a Variable of shape (3, 4). The functions are small, so that Python is skipped wherever that can be proved.
"""
import collections
import contextlib
import dataclasses
import functools
import math
import types

import numpy as np
import pytest
from worlds import MODES, arr, check, var

import hybridnn as hnn
import hybridnn.functions as F

MODULES = dict(F=F, collections=collections, contextlib=contextlib, dataclasses=dataclasses, functools=functools, hnn=hnn, math=math, np=np)
BOX = """
class Box:
    n = 3

    def __init__(self, v, k=1):
        self.v, self.k = v, k

    def __call__(self, x):
        return x * self.k

    @property
    def dbl(self):
        return self.v * 2

    def get(self):
        return self.v

class Sub(Box):
    def __init__(self, v):
        super().__init__(v, 2)
        self.z = 5

    def get(self):
        return super().get() + 1

init = Box.__init__

def rm(cls, name):
    if name in cls.__dict__:
        delattr(cls, name)
"""


class State:
    """The names of a scenario that hold something."""

    def __init__(self, space):
        self.space = space

    @property
    def __dict__(self):
        held = (list, dict, set, int, float, np.ndarray, hnn.Variable, collections.deque)
        return {k: v for k, v in self.space.items() if not k.startswith("__") and (isinstance(v, held) or type(v).__name__ == "S")}


def scenario(before, body, changes, args, calls):
    """What ``check`` takes."""
    def make(wrap):
        space = dict(MODULES, again=None, arr=arr, log=[], var=var, x=var(3, 4), __name__="scenario")
        space["again"] = space.update
        exec(before, space)
        exec(f"def step({args}):\n{body}", space)
        space["step"] = wrap(space["step"])
        exec(BACKWARD, space)

        def run(code):
            return eval(calls[0], space) if code is None else (exec(code, space), eval(calls[0], space))[1]

        def plain():
            for _, undo in changes:
                exec(undo, space)
            return run(None)
        state = State({})
        state.space = space
        return types.SimpleNamespace(state=state), [plain, *[lambda do=do: run(do) for do, _ in changes], *[lambda c=c: eval(c, space) for c in calls[1:]]]
    return make


BACKWARD = """
def backward(x):
    y = step(x)
    y = y[0] if isinstance(y, tuple) else y
    x.cleargrad()
    (y if y.ndim == 0 else F.sum(y)).backward()
    return y, x.grad
"""
SCENARIOS = {}


def add(name, before="", body="", changes=(), args="x", calls=("step(x)",)):
    assert name not in SCENARIOS, name
    SCENARIOS[name] = before, body, changes, args, calls


def add_object(name, result, changes=(), define="", cls="Box"):
    """A scenario about the object ``b`` that holds a result; ``define`` is run after the definition of its class."""
    add(name, BOX + define, f"\n    b = {cls}(F.tanh(x))\n    return {result}\n", changes)


add_object("obj isinstance", "(b.v, isinstance(b, Box), isinstance(b, Sub), isinstance(b, int))", cls="Sub")
add_object("obj type", "(b.v, type(b) is Sub, type(b) is Box)", cls="Sub")
add_object("obj bool", "b.v if b else x",
           changes=[("Box.__bool__ = lambda s: False", "rm(Box, '__bool__')"), ("Box.__len__ = lambda s: 0", "rm(Box, '__len__')")])
add_object("obj not", "(b.v, not b)",
           changes=[("Box.__bool__ = lambda s: False", "rm(Box, '__bool__')"), ("Box.__len__ = lambda s: 0", "rm(Box, '__len__')")])
add("obj and",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    c = b and b.v
    return c
""",
    changes=[("Box.__bool__ = lambda s: False", "rm(Box, '__bool__')")])
add("obj eq",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    c = Box(1)
    return (b.v, b == c, b != b, b is c, b is not None)
""",
    changes=[("Box.__eq__ = lambda s, o: True", "rm(Box, '__eq__')")])
add_object("obj in", "(b.v, b in [b], b in (1, 2))", changes=[("Box.__eq__ = lambda s, o: False", "rm(Box, '__eq__')")])
add_object("obj hasattr", "(b.v, hasattr(b, 'v'), hasattr(b, 'q'), getattr(b, 'k'), getattr(b, 'zz', 3))", changes=[("Box.q = 1", "rm(Box, 'q')")])
add("obj setattr",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    setattr(b, 'k', 5)
    return b.v * b.k
""",
    changes=[("Box.__setattr__ = lambda s, n, v: object.__setattr__(s, n, 2 if n == 'k' else v)", "rm(Box, '__setattr__')")])
add_object("obj classattr", "b.v * b.n",
           changes=[("Box.n = 4", "Box.n = 3"), ("Box.n = 1.5", "Box.n = 3"), ("Box.n = property(lambda s: 8)", "Box.n = 3")])
add("obj iter",
    before=BOX,
    body="""
    b = Box([F.tanh(x), x])
    return [v * 2 for v in b.v]
""")
add_object("obj dict", "(b.__dict__['v'], vars(b)['k'])")
add_object("obj class", "(b.v, b.__class__ is Sub, b.__class__.__name__)", cls="Sub")
add("obj delattr",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    v = b.v
    del b.v
    return (v, hasattr(b, 'v'))
""")
add("obj returned", before=BOX, body="    return Box(F.tanh(x))")
add("obj stored",
    before=BOX + "st = {}",
    body="""
    b = Box(F.tanh(x))
    st['b'] = b
    return b.v
""")
add("obj in list",
    before=BOX,
    body="""
    bs = [Box(F.tanh(x)), Box(x)]
    return (sum([b.v for b in bs]), len(bs), bs[0] is bs[0], bs.index(bs[1]))
""")
add("obj passed",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    f = lambda q: q.v * 2
    return f(b)
""")
add("obj defaultarg",
    before=BOX,
    body="""
    b = Box(F.tanh(x))
    f = lambda q=b: q.v * 2
    return f()
""")
add_object("obj len", "b.v * len(b)", define="Box.__len__ = lambda s: 4", changes=[("Box.__len__ = lambda s: 5", "Box.__len__ = lambda s: 4")])
add_object("obj getitem", "b[3]", define="Box.__getitem__ = lambda s, k: s.v * k",
           changes=[("Box.__getitem__ = lambda s, k: s.v + k", "Box.__getitem__ = lambda s, k: s.v * k")])
add_object("obj add", "b + 3", define="Box.__add__ = lambda s, o: s.v + o",
           changes=[("Box.__add__ = lambda s, o: s.v - o", "Box.__add__ = lambda s, o: s.v + o")])
add_object("obj radd", "3 + b", define="Box.__radd__ = lambda s, o: s.v + o")
add("obj meta",
    before="""
class M(type):

    def __call__(c, *a):
        r = type.__call__(c, *a)
        r.k = 9
        return r

class A(metaclass=M):

    def __init__(s, k):
        s.k = k
""",
    body="""
    a = A(2)
    return F.tanh(x) * a.k
""")
add("obj slots",
    before="""
class A:
    __slots__ = ('k',)

    def __init__(s, k):
        s.k = k
""",
    body="""
    a = A(2)
    return F.tanh(x) * a.k
""")
add("obj slots base",
    before="""
class P:
    __slots__ = ('k',)

class A(P):

    def __init__(s, k):
        s.k = k
""",
    body="""
    a = A(2)
    return F.tanh(x) * a.k
""")
add("obj subint",
    before="""
class I(int):
    pass
""",
    body="""
    i = I(3)
    return F.tanh(x) * int(i)
""")
add("obj exc",
    before="""
class E(Exception):
    pass
""",
    body="""
    e = E(3)
    return F.tanh(x) * e.args[0]
""")
add("dc eq",
    before="""
@dataclasses.dataclass
class C:
    k: int = 2
""",
    body="    return (F.tanh(x), C(2) == C(2), C(1) == C(2))")
add("nt",
    before="P = collections.namedtuple('P', 'a b')",
    body="""
    p = P(F.tanh(x), b=2)
    a, b = p
    return (p, a * b, p[0], p.b, len(p), p == (p[0], 2))
""")
add("nt defaults", before="P = collections.namedtuple('P', 'a b', defaults=[7])", body="    return P(F.tanh(x))")
add("typed nt",
    before="""
import typing

class P(typing.NamedTuple):
    a: int
    b: int = 4
""",
    body="""
    p = P(F.tanh(x))
    return (p.a * p.b, p)
""")
add("ctx gen",
    before="""
st = {'k': 2}

@contextlib.contextmanager
def cm(v):
    st['k'] = v
    yield v
    st['k'] = 2
""",
    body="""
    with cm(4) as v:
        y = F.tanh(x) * st['k'] * v
    return y * st['k']
""")
add("ctx gen ret",
    before="""
st = []

@contextlib.contextmanager
def cm(v):
    try:
        yield v
    finally:
        st.append(v)
""",
    body="""
    with cm(4) as v:
        if v > 3:
            return F.tanh(x) * v
    return x
""")
add("ctx swallow",
    before="""
@contextlib.contextmanager
def cm():
    try:
        yield
    except ValueError:
        pass
""",
    body="""
    y = x
    with cm():
        y = F.tanh(x)
        raise ValueError
    return y
""")
add("ctx suppress",
    body="""
    y = x
    with contextlib.suppress(KeyError):
        y = F.tanh(x)
        {}['a']
    return y
""")
add("ctx null",
    body="""
    with contextlib.nullcontext(3) as k:
        y = F.tanh(x) * k
    return y
""")
add("ctx lock",
    before="""
import threading
lk = threading.Lock()
""",
    body="""
    with lk:
        y = F.tanh(x) * 2
    return (y, lk.locked())
""")
add("ctx errstate",
    body="""
    with np.errstate(all='ignore'):
        y = F.log(x)
    return y
""")
add("ctx nested",
    body="""
    with hnn.using_config('train', False):
        with hnn.using_config('user_a', 2):
            y = F.dropout(x) * hnn.config.user_a
    return (y, hnn.config.train)
""")
add("dict new key",
    before="d = {}",
    body="""
    y = F.tanh(x)
    d['k'] = 2
    return (y * d['k'], len(d), 'k' in d, list(d))
""",
    changes=[("d.clear()", "pass"), ("d.update(q=1)", "d.clear()")])
add("dict branch",
    before="d = {}",
    body="""
    y = F.tanh(x)
    if 'k' in d:
        y = y * d['k']
    d['k'] = 2.5
    return y
""",
    changes=[("d.clear()", "pass"), ("d.update(k=7)", "pass"), ("d.update(k=7.0)", "pass")])
add("dict get",
    before="d = {'a': 1}",
    body="    return F.tanh(x) * d.get('a', 5) + d.get('b', 2)",
    changes=[("d.update(b=3)", "d.pop('b', None)"), ("d.pop('a')", "d.update(a=1)"), ("d.update(b=None) or d.pop('b')", "pass")])
add("dict setdefault",
    before="d = {}",
    body="    return F.tanh(x) * d.setdefault('a', 5)",
    changes=[("d.clear()", "pass"), ("d.update(a=2)", "pass")])
add("dict pop",
    before="d = {'a': 3}",
    body="""
    k = d.pop('a')
    d['a'] = k + 1
    return F.tanh(x) * k
""")
add("dict iter after",
    before="d = {'a': 1, 'b': 2}",
    body="""
    d['a'] = 3
    return (F.tanh(x) * sum(d.values()), list(d.items()))
""",
    changes=[("d.update(c=5)", "d.pop('c')"), ("d.update(b=4)", "d.update(b=2)")])
add("dict del",
    before="d = {'a': 1}",
    body="""
    d['t'] = 5
    k = d['t']
    del d['t']
    return (F.tanh(x) * k, len(d))
""")
add("dict counter",
    before="c = collections.Counter()",
    body="""
    c['n'] += 1
    return F.tanh(x) * c['n']
""")
add("dict default",
    before="c = collections.defaultdict(int)",
    body="""
    c['n'] += 1
    return F.tanh(x) * c['n']
""")
add("dict ordered",
    before="c = collections.OrderedDict(a=1, b=2)",
    body="    return (F.tanh(x) * c['a'], list(c))",
    changes=[("c.move_to_end('a')", "c.move_to_end('b')"), ("c.update(a=5)", "c.update(a=1)")])
add("list store",
    before="l = [1, 2, 3]",
    body="""
    l[0] = l[0] + 1
    l[-1] = l[0]
    return (F.tanh(x) * l[2], sum(l), len(l))
""",
    changes=[("l.append(4)", "l.pop()"), ("l.insert(0, 9)", "l.pop(0)"), ("l.__setitem__(0, 0.5)", "l.__setitem__(0, 1)")])
add("list append",
    before="l = []",
    body="""
    l.append(F.tanh(x))
    return l[-1] * 2
""",
    changes=[("l.clear()", "pass")])
add("list append len",
    before="l = []",
    body="""
    l.append(1)
    return F.tanh(x) * len(l)
""",
    changes=[("l.clear()", "pass")])
add("list append only",
    before="l = []",
    body="""
    y = F.tanh(x)
    l.append(y)
    return y
""",
    changes=[("l.clear()", "pass")])
add("list append two",
    before="l = []",
    body="""
    y = F.tanh(x)
    l.append(y)
    l.append(2)
    l.append([y])
    return y
""",
    changes=[("l.clear()", "pass")])
add("list append alias",
    before="""
l = []
k = l
""",
    body="""
    y = F.tanh(x)
    l.append(1)
    return (y, k)
""",
    changes=[("l.clear()", "pass")])
add("list append alias2",
    before="""
l = [5]
k = l
""",
    body="""
    y = F.tanh(x)
    l.append(1)
    return y * len(k) + k[-1]
""",
    changes=[("l.__delitem__(slice(1, None))", "pass")])
add("list append iter",
    before="l = [1]",
    body="""
    t = 0
    for v in l:
        t += v
    l.append(2)
    return F.tanh(x) * t
""",
    changes=[("l.__delitem__(slice(1, None))", "pass")])
add("list store alias",
    before="""
l = [1, 2]
k = l
""",
    body="""
    l[0] = 5
    return F.tanh(x) * k[0]
""",
    changes=[("k.__setitem__(0, 1)", "pass")])
add("list slice store",
    before="l = [1, 2, 3]",
    body="""
    l[:2] = [4, 5, 6]
    return (F.tanh(x) * l[0], len(l))
""",
    changes=[("l.__setitem__(slice(None), [1, 2, 3])", "pass")])
add("list iadd",
    before="l = [1]",
    body="""
    global l
    l += [2]
    return F.tanh(x) * len(l)
""")
add("list pop",
    before="l = [1, 2, 3]",
    body="""
    k = l.pop()
    l.append(k)
    return F.tanh(x) * k
""",
    changes=[("l.append(7)", "l.pop()")])
add("list sort",
    before="l = [3, 1, 2]",
    body="""
    l.sort()
    return F.tanh(x) * l[0]
""",
    changes=[("l.__setitem__(slice(None), [5, 4])", "pass")])
add("set add",
    before="s = set()",
    body="""
    n = len(s)
    s.add(n)
    return F.tanh(x) * n
""",
    changes=[("s.clear()", "pass")])
add("deque",
    before="q = collections.deque(maxlen=3)",
    body="""
    y = F.tanh(x)
    q.append(y)
    return (y, len(q), q[0])
""")
add("global store",
    before="G = 1",
    body="""
    global G
    G = G + 1
    return F.tanh(x) * G
""",
    changes=[("again(G=5)", "pass"), ("again(G=0.5)", "pass"), ("globals().pop('G')", "again(G=1)")])
add("global float",
    before="G = 0.5",
    body="""
    global G
    G = G * 0.5 + 0.25
    return F.tanh(x) * G
""",
    changes=[("again(G=2)", "pass"), ("again(G=np.float32(2))", "again(G=0.5)")])
add("global swap",
    before="""
A = 1.5
B = 2
""",
    body="""
    global A, B
    A, B = (B, A)
    return F.tanh(x) * A
""",
    changes=[("again(A=7)", "pass")])
add("global del",
    before="G = 1",
    body="""
    global T
    T = 3
    k = T
    del T
    return F.tanh(x) * k
""")
add("arr store",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    y = F.tanh(x)
    b[...] = y.array
    return y
""",
    changes=[("b.fill(3)", "pass"), ("b.flags.__setattr__('writeable', False)", "b.flags.__setattr__('writeable', True)")])
add("arr iadd",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    global b
    y = F.tanh(x) * 2
    b += y.array
    return y
""",
    changes=[("again(b=np.ones((3, 4), 'f'))", "pass"),
             ("again(b=np.ones((3, 4), 'd'))", "again(b=np.ones((3, 4), 'f'))"),
             ("again(b=np.ones((6, 4), 'f')[::2])", "again(b=np.ones((3, 4), 'f'))")])
add("arr ema",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    y = F.tanh(x)
    b[...] = b * 0.9 + y.array * 0.1
    return (y, b)
""",
    changes=[("b.fill(3)", "pass")])
add("arr ema read",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    y = F.tanh(x) * b
    c = b.copy()
    b[...] = b * 0.9 + y.array * 0.1 + 0.1
    d = b.copy()
    return (y, c, d, b.sum(), float(b.mean()))
""",
    changes=[("b.fill(3)", "pass")])
add("arr row",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    y = F.tanh(x)
    b[0] = y.array[1]
    b[1:, 2] = 5
    return (y, b[0])
""",
    changes=[("b.fill(3)", "pass")])
add("arr view alias",
    before="""
b = np.zeros((3, 4), 'f')
v = b[1]
""",
    body="""
    y = F.tanh(x)
    b[...] = y.array
    return (y, v)
""",
    changes=[("b.fill(3)", "pass"), ("v.fill(5)", "pass")])
add("arr view op",
    before="""
b = np.zeros((3, 4), 'f')
v = b[1]
""",
    body="""
    y = F.tanh(x) * v
    b[...] = y.array + 1
    return y
""",
    changes=[("b.fill(3)", "pass"), ("v.fill(5)", "pass")])
add("arr result alias",
    before="b = np.zeros((3, 4), 'f')",
    body="""
    y = F.tanh(x)
    r = hnn.Variable(b)
    b[...] = y.array
    return (y, r, r.array is b)
""")
add("arr grad",
    before="b = np.ones((3, 4), 'f')",
    body="""
    y = F.sum(F.tanh(x) * b)
    b[0] = 2
    return y
""",
    changes=[("b.fill(3)", "pass")],
    calls=["step(x)", "backward(x)"])
add("param sgd",
    before="p = hnn.Parameter(np.linspace(0, 1, 4).astype('f'))",
    body="""
    y = F.sum(F.tanh(x) * p)
    p.cleargrad()
    y.backward()
    p.array -= 0.1 * p.grad
    return y
""",
    changes=[("p.array.fill(0.5)", "pass"), ("setattr(p, 'array', p.array * 2)", "pass")])
add("param data",
    before="p = hnn.Parameter(np.linspace(0, 1, 4).astype('f'))",
    body="""
    y = F.tanh(x) * p
    p.array[...] *= 0.9
    return y
""",
    changes=[("p.array.fill(0.5)", "pass"), ("setattr(p, 'array', p.array * 2)", "pass")],
    calls=["step(x)", "backward(x)"])
add("attr np",
    before="""
class S:
    pass
s = S()
s.m = np.zeros(4, 'f')
""",
    body="""
    h = F.tanh(x)
    s.m = s.m * 0.9 + h.array.mean(0) * 0.1
    return h * s.m
""",
    changes=[("setattr(s, 'm', np.ones(4, 'f'))", "pass"), ("s.m.fill(2)", "pass"), ("setattr(s, 'm', np.ones(4, 'd'))", "setattr(s, 'm', np.ones(4, 'f'))")])
add("attr np in",
    before="""
class S:
    pass
s = S()
s.m = np.zeros(4, 'f')
""",
    body="""
    h = F.tanh(x)
    s.m *= 0.9
    s.m += h.array.mean(0)
    return h
""",
    changes=[("setattr(s, 'm', np.ones(4, 'f'))", "pass"),
             ("s.m.fill(2)", "pass"),
             ("setattr(s, 'm', np.ones(4, 'd'))", "setattr(s, 'm', np.ones(4, 'f'))"),
             ("setattr(S, 'm', 5)", "del S.m")])
add("gen",
    before="""
ks = [1, 2]

def g(x):
    for k in ks:
        yield (F.tanh(x) * k)
""",
    body="    return (list(g(x)), sum(g(x)))",
    changes=[("ks.append(3)", "ks.pop()"), ("ks.reverse()", "ks.reverse()")])
add("gen send",
    before="""
def g(x):
    r = (yield x)
    yield (x * r)
""",
    body="""
    it = g(F.tanh(x))
    next(it)
    return it.send(3)
""")
add("gen ret",
    before="""
def g(x):
    yield x
    return 5
""",
    body="""

    def h():
        r = (yield from g(F.tanh(x)))
        yield (x * r)
    return list(h())
""")
add("gen escape", body="    return (F.tanh(x) * k for k in (1, 2))", calls=["step(x)", "list(step(x))"])
add("gen close",
    before="""
log = []

def g(x):
    try:
        yield F.tanh(x)
    finally:
        log.append(1)
""",
    body="""
    for y in g(x):
        break
    return (y, len(log))
""")
add("lambda default",
    before="k = 2",
    body="    return [f(x) for f in [lambda v, k=k, j=j: F.tanh(v) * k * j for j in (1, 2)]]",
    changes=[("again(k=3)", "again(k=2)")])
add("reduce", before="fs = [F.tanh, F.sin]", body="    return functools.reduce(lambda a, f: f(a), fs, x)", changes=[("fs.reverse()", "fs.reverse()")])
add("map", before="ks = [1, 2]", body="    return list(map(lambda k: F.tanh(x) * k, ks))", changes=[("ks.append(3)", "ks.pop()")])
add("zip",
    before="""
ks = [1, 2]
ws = [3, 4]
""",
    body="    return [F.tanh(x) * a * b for a, b in zip(ks, ws)]",
    changes=[("ks.append(3)", "ks.pop()"), ("ws.__setitem__(0, 7)", "ws.__setitem__(0, 3)")])
add("partial",
    before="""
def h(x, k, w=1):
    return F.tanh(x) * k + w
p = functools.partial(h, k=2)
""",
    body="    return (p(x), p(x, w=3))",
    changes=[("p.keywords.update(k=4)", "p.keywords.update(k=2)"),
             ("h.__defaults__ = (5,)", "h.__defaults__ = (1,)"),
             ("p.__setstate__((h, (), {'k': 7}, {}))", "p.__setstate__((h, (), {'k': 2}, {}))")])
add("partial attr",
    before="""
def h(x, k):
    return F.tanh(x) * k
p = functools.partial(h, k=2)
""",
    body="    return p.func(x, p.keywords['k'])",
    changes=[("p.keywords.update(k=4)", "p.keywords.update(k=2)")])
add("strfmt",
    before="k = 2",
    body="""
    n = f'a{k}'
    return (F.tanh(x) * len(n), n, '%d' % k, '{}'.format(k))
""",
    changes=[("again(k=33)", "again(k=2)")])
add("walrus", body="    return ((y := F.tanh(x)) * 2, y)")
add("star",
    before="a = [1, 2]",
    body="""
    b, *c = a
    return (F.tanh(x) * b, c, [*a, 3], {**{'k': b}})
""",
    changes=[("a.append(3)", "a.pop()")])
add("chain cmp",
    before="k = 2",
    body="    return F.tanh(x) if 1 < k < 3 else x",
    changes=[("again(k=5)", "again(k=2)"), ("again(k=2.5)", "again(k=2)")])
add("ternary none", before="k = None", body="    return F.tanh(x) if k is None else x * k", changes=[("again(k=5)", "again(k=None)")])
add("int div", before="k = 7", body="    return F.tanh(x) * (k // 2) * (k % 4) * -k * ~k * (k << 1)", changes=[("again(k=9)", "again(k=7)")])
add("float ops",
    before="k = 0.7",
    body="""
    return (F.tanh(x) * (k * 2 + 1) / (k - 3) ** 2, abs(k), round(k, 1), max(k, 0.5), math.sqrt(k), int(k * 10))
""",
    changes=[("again(k=0.9)", "again(k=0.7)")])
add("shape ops",
    body="""
    n = x.shape[0]
    return (F.tanh(x) * n, x.size // n, x.ndim, len(x), [i for i in range(n)])
""",
    calls=["step(x)", "step(var(2, 4))", "step(var(3, 4))", "step(var(1, 4))"])
add("try ok",
    body="""
    try:
        y = F.tanh(x)
    except ValueError:
        y = x
    else:
        y = y + 1
    finally:
        y = y * 2
    return y
""")
add("sort key",
    before="ks = [3, 1, 2]",
    body="    return (F.tanh(x) * sorted(ks)[0], sorted(ks, key=lambda k: -k), min(ks), max(ks))",
    changes=[("ks.append(0)", "ks.pop()")])
add("any all", before="ks = [1, 2]", body="    return F.tanh(x) * any((k > 1 for k in ks)) * all(ks)", changes=[("ks.append(0)", "ks.pop()")])
add("enumerate",
    before="fs = [F.tanh, F.sin]",
    body="""
    y = x
    for i, f in enumerate(fs, 1):
        y = f(y) * i
    return y
""",
    changes=[("fs.reverse()", "fs.reverse()"), ("fs.append(F.cos)", "fs.pop()")])
add("isinst arg",
    body="    return F.tanh(x) if isinstance(x, hnn.Variable) else F.sin(x)",
    calls=["step(x)", "step(arr(3, 4))", "step(hnn.Parameter(arr(3, 4)))"])
add("type arg",
    body="    return (F.tanh(x), type(x) is hnn.Variable, type(x).__name__)",
    calls=["step(x)", "step(arr(3, 4))", "step(hnn.Parameter(arr(3, 4)))"])
add("var attrs",
    body="    return (F.tanh(x), x.requires_grad, x.name, x.dtype, x.ndim, x.grad is None)",
    calls=["step(x)", "step(hnn.Variable(arr(3, 4), requires_grad=False))", "step(hnn.Variable(arr(3, 4), name='q'))"])
add("ident", body="    return (x is x, F.tanh(x), hnn.as_variable(x) is x, F.identity(x) is x)", calls=["step(x)", "step(arr(3, 4))"])
add("two args",
    body="    return (F.tanh(x) * a, x is a, x == a if not isinstance(x, hnn.Variable) else 0)",
    args="x,a",
    calls=["step(x, 3.5)", "step(x, x)", "step(x, var(3, 4))", "step(x, 2.0)", "step(x, 2)", "step(x, x.array)"])
add("ident2",
    before="w = np.ones(4, 'f')",
    body="    return (F.tanh(x) * a, x is a, a is w, hnn.as_variable(a) is a, hnn.as_variable(a).array is a)",
    args="x,a",
    calls=["step(x, 3.5)", "step(x, x)", "step(x, w)", "step(x, arr(4))", "step(x, var(4))"])
add("ident4",
    body="""
    a = x.array
    return (F.tanh(x), a is x.array, a is x.data, np.asarray(a) is a)
""")
add("ident5",
    body="""
    v = hnn.Variable(a)
    return (v * x, v.array is a, v is hnn.as_variable(v))
""",
    args="x,a",
    calls=['step(x, np.ones((3, 4), "f"))', "step(x, arr(3, 4))"])
add("drop0", body="    return (F.dropout(x, 0.0), F.dropout(x, 0.0) is x)")
add("drop test",
    body="""
    with hnn.using_config('train', False):
        y = F.dropout(x, 0.5)
    return (y, y is x)
""")
add("sum start", body="    return (sum([x, x]), sum([F.tanh(x)], x), sum([], x))")
add("bool arr", body="    return (F.tanh(x), (x.array > 0).any(), bool((x.array > 5).all()), int(x.array.sum() > 0))")
add("if arr",
    body="    return F.tanh(x) if (a > 0).all() else F.sin(x)",
    args="x,a",
    calls=['step(x, np.ones((3, 4), "f"))', "step(x, np.ones(3))", "step(x, -np.ones(3))", "step(x, np.ones(0))", "step(x, np.bool_(True))"])
add("if npscalar",
    body="    return F.tanh(x) if a else F.sin(x)",
    args="x,a",
    calls=["step(x, 3.5)",
           "step(x, np.float32(0))",
           "step(x, np.float32(2))",
           "step(x, np.int64(0))",
           "step(x, np.int64(2))",
           "step(x, np.array(0))",
           "step(x, np.array(3))",
           "step(x, 0.0)",
           "step(x, -0.0)",
           "step(x, float('nan'))",
           "step(x, '')",
           "step(x, [])",
           "step(x, [0])",
           "step(x, None)"])
add("npscalar ops",
    body="""
    return (F.tanh(x) * a, a + 1, a * 2.0, -a, a > 0, float(a), int(a), round(float(a), 2), abs(a), a.dtype, a.item())
""",
    args="x,a",
    calls=["step(x, 3.5)",
           "step(x, np.float32(1.5))",
           "step(x, np.float32(-2.5))",
           "step(x, np.int64(2))",
           "step(x, np.int8(-3))",
           "step(x, np.float64('nan'))",
           "step(x, np.float64('inf'))",
           "step(x, np.array(2.5, 'f'))"])
add("pyfloat ops",
    body="""
    return (F.tanh(x) * a, a + 1, a * 2.0, -a, a > 0, int(a), round(a, 2), abs(a), a // 1, a % 1, a ** 2, str(a))
""",
    args="x,a",
    calls=["step(x, 3.5)", "step(x, 1.5)", "step(x, -2.5)", "step(x, 2)", "step(x, 0.0)", "step(x, -0.0)", "step(x, True)", "step(x, 1e+300)"])
add("pyint shape",
    body="    return (F.reshape(x, (a, -1)), x[:a], F.tanh(x) * a, range(a), [0] * a)",
    args="x,a",
    calls=["step(x, 2)", "step(x, 2)", "step(x, 3)", "step(x, 4)", "step(x, True)", "step(x, 5)", "step(x, np.int64(3))"])
add("slices",
    body="    return (x[a:b], x[::-1][a], x[..., a], x[None, a], x[a, b])",
    args="x,a=0,b=2",
    calls=["step(x)", "step(x, 1, 3)", "step(x, -1, 3)", "step(x, 0, 1)", "step(x, 2, 5)", "step(x, np.int64(1), 2)", "step(x, True, 2)"])
add("arr ret", body="    return (x.array, F.tanh(x).array, x.array * 2, x.array.T, x.array[0], x.array.sum())")
add("arr ret nd",
    body="    return (a, a * 2, a.T, a[0], a.sum(), F.tanh(x), a.reshape(-1), a[...], a[:], np.asarray(a))",
    args="x,a",
    calls=['step(x, np.ones((3, 4), "f"))', "step(x, arr(3, 4))",
           "step(x, arr(3, 4, dtype='f8'))",
           "step(x, arr(3, 4).T)",
           "step(x, np.arange(4))",
           "step(x, arr(3, 4).astype('>f4'))"])
add("wr out",
    body="""
    y = F.tanh(x)
    return (y, y.array)
""",
    calls=["step(x)", "(lambda r: (r[1].fill(3), r))(step(x))"])
add("recur",
    before="""
def fac(n):
    return 1 if n < 2 else n * fac(n - 1)
""",
    body="    return F.tanh(x) * fac(a)",
    args="x,a",
    calls=["step(x, 3)", "step(x, 4)", "step(x, 5)", "step(x, 1.0)"])
add("closure counter",
    before="""
def mk():
    c = [0]

    def f(v):
        c[0] += 1
        return v * c[0]
    return f
f = mk()
""",
    body="    return f(F.tanh(x))")
add("nonlocal",
    before="""
def mk():
    n = 0

    def f(v):
        nonlocal n
        n += 1
        return (v * n, n)
    return f
f = mk()
""",
    body="    return f(F.tanh(x))")
add("cached prop",
    before="""
class S:

    @functools.cached_property
    def v(s):
        log.append(1)
        return 3
s = S()
""",
    body="    return F.tanh(x) * s.v",
    changes=[("s.__dict__.pop('v', None)", "pass"), ("s.__dict__.update(v=5)", "pass")])
add("getattr dyn",
    before="""
class S:

    def __getattr__(s, n):
        return {'q': 4}[n]
s = S()
""",
    body="    return F.tanh(x) * s.q",
    changes=[("s.q = 5", "s.__dict__.pop('q', None)")])
add("setitem cls",
    before="""
class S:

    def __init__(s):
        s.d = {}

    def __setitem__(s, k, v):
        s.d[k] = v

    def __getitem__(s, k):
        return s.d[k]
s = S()
""",
    body="""
    y = F.tanh(x)
    s['k'] = y
    return s['k'] * 2
""")
add("gen arg",
    body="    return [F.tanh(x) * k for k in a]",
    args="x,a=(1,)",
    calls=["step(x)",
           "step(x, (k for k in (1, 2)))",
           "step(x, iter([3]))",
           "step(x, range(2))",
           "step(x, {1: 2})",
           "step(x, {1, 2})",
           "step(x, '')",
           "step(x, np.arange(2))",
           "step(x, map(abs, [-1]))",
           "step(x, zip())"])
add("kwonly",
    before="""
def h(v, *, k=2, **o):
    return v * k * o.get('z', 1)
""",
    body="    return h(F.tanh(x)) + h(x, k=3, z=2)",
    changes=[("h.__kwdefaults__.update(k=5)", "h.__kwdefaults__.update(k=2)"),
             ("setattr(h, '__kwdefaults__', {'k': 9})", "setattr(h, '__kwdefaults__', {'k': 2})")])
add("code swap",
    before="""
def h(v):
    return F.tanh(v)

def h2(v):
    return F.sin(v)
c1 = h.__code__
""",
    body="    return h(x)",
    changes=[("setattr(h, '__code__', h2.__code__)", "setattr(h, '__code__', c1)")])
add("defaults arr",
    before="""
def h(v, w=np.ones(4, 'f')):
    return v * w
""",
    body="    return h(F.tanh(x))",
    changes=[("h.__defaults__[0].fill(2)", "h.__defaults__[0].fill(1)"),
             ("setattr(h, '__defaults__', (np.zeros(4, 'f'),))", "setattr(h, '__defaults__', (np.ones(4, 'f'),))")])
add("assertx",
    before="k = 1",
    body="""
    assert k > 0, 'k'
    return F.tanh(x)
""",
    changes=[("again(k=-1)", "again(k=1)")])
add("nanconst",
    before="k = float('nan')",
    body="    return (F.tanh(x) * (1 if k == k else 2), x * k)",
    changes=[("again(k=1.0)", "again(k=float('nan'))"), ("again(k=-0.0)", "pass")])
add("tuplekey",
    before="d = {(1, 2): 3, 'a': 4}",
    body="    return F.tanh(x) * d[1, 2] * d['a']",
    changes=[("d.update({(1, 2): 5})", "d.update({(1, 2): 3})")])
add("cmpvar",
    body="    return F.tanh(x) if F.sum(x) > a else F.sin(x)",
    args="x,a=0.0",
    calls=["step(x)", "step(x, 100.0)", "step(x, -100.0)", "step(x, float('nan'))", "step(x, 100)", "step(x, np.float32(1000000000.0))", "step(x, F.sum(x))"])
add("loopwhile",
    body="""
    i = 0
    while i < a:
        x = F.tanh(x)
        i += 1
    return (x, i)
""",
    args="x,a=2",
    calls=["step(x)", "step(x, 3)", "step(x, 0)", "step(x, 2.5)", "step(x, True)"])
add("breakcont",
    before="ks = [1, 0, 3, 9]",
    body="""
    y = x
    for k in ks:
        if not k:
            continue
        if k > 5:
            break
        y = F.tanh(y) * k
    else:
        y = y + 100
    return y
""",
    changes=[("ks.__setitem__(1, 2)", "ks.__setitem__(1, 0)"), ("ks.pop()", "ks.append(9)")])
add("unbound",
    body="""
    if a:
        y = F.tanh(x)
    return y
""",
    args="x,a=1",
    calls=["step(x)", "step(x, 0)", "step(x, 1)"])
add("sliceobj", before="s = slice(0, 2)", body="    return (F.tanh(x)[s], [1, 2, 3][s])", changes=[("again(s=slice(1, 3))", "again(s=slice(0, 2))")])
add("mat",
    before="W = hnn.Parameter(np.eye(4, dtype='f'))",
    body="    return (x @ W, x @ W.array, F.matmul(x, W), np.eye(4, dtype='f') @ W)",
    changes=[("W.array.fill(2)", "W.array.fill(1)"), ("setattr(W, 'array', W.array * 2)", "pass")],
    calls=["step(x)", "backward(x)"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", SCENARIOS)
def test_statements(name, mode):
    check(scenario(*SCENARIOS[name]), mode)


def test_python_is_skipped_in_many():
    """The scenarios are no good if Python always runs."""
    some = list(SCENARIOS.values())[::4]
    skipped = [parts for parts in some if check(scenario(*parts), "auto", steps=[0] * 8).total("python_skipped")]
    assert len(skipped) > len(some) / 4
