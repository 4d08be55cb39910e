"""Small programs that reach many kinds of things: surroundings, and statements that each make a program of their own."""
import textwrap

__all__ = ["PROGRAMS"]

CLASSES = """
class Base:
    k, off = 2.0, 0.25
    table = {"a": 1.5, "b": 2}
    def __init__(self, v=1):
        self.v, self.items = v, [1, 2.5]
    gain = property(lambda self: self.k * self.v)
    @classmethod
    def make(cls, v=3):
        return cls(v)
    @staticmethod
    def twice(a, b=2):
        return a * b
    def act(self, x):
        return F.tanh(x) * self.gain
    def __call__(self, x, s=1.0):
        return self.act(x) * s
    def __len__(self):
        return 3
    def __getitem__(self, i):
        return self.items[i]
    def __add__(self, other):
        return self.v + other
class Mid(Base):
    off = 0.5
    def act(self, x):
        return super().act(x) + self.off
class Top(Mid):
    def __init__(self, v=1):
        super().__init__(v)
        self.w = arr(4)
o, other = Top(), Base(2)
"""
OF_CLASSES = ["y = o(x) + other.act(x)", "y = y * Top.twice(2) if isinstance(o, Mid) else y", "y = y + o[1] if len(o) == 3 else y", "y = y + o.table['a']",
              "y = y * 0 if o is other else y * o.w", "y = y + Mid.make().v", "y = y + (o + 1) * type(o).k", "y = y + hasattr(o, 'zz') + getattr(o, 'qq', 4)"]
CALLABLES = """
def outer(k):
    n = 1.5
    def inner(x, m=2, *, q=1.0):
        return F.sin(x) * k * n * m * q
    return inner
f1 = outer(2)
f2, f3 = functools.partial(f1, m=3), functools.partial(outer(0.5), q=2.0)
table, layers, pair = {"t": f1, "u": f2}, [F.tanh, F.relu], (F.sigmoid, 2)
def halved(f):
    @functools.wraps(f)
    def wrapper(*a, **kw):
        return f(*a, **kw) * 0.5
    return wrapper
@halved
def g(x, z=1):
    return F.cos(x) + z
def rows(x, n=2):
    for i in range(n):
        yield x * i
@contextlib.contextmanager
def more(v=1):
    yield v + 1
def total(*a, **k):
    return sum(a) + sum(k.values())
"""
OF_CALLABLES = ["y = f1(x) + f2(x) + f3(x) + table['t'](x, 1)", "for s in layers: y = s(y)", "y = pair[0](y) * pair[1] + g(x)", "for v in rows(x): y = y + v",
                "with more() as c: y = y * c", "y = y + total(1, 2, a=3)", "y = functools.reduce(lambda a, b: a + b, [y, x])",
                "y = y + sum(map(lambda q: q * 2, [1, 2])) + max(1, 2) + len('abc')"]
DATA = """
@dataclasses.dataclass
class C:
    a: float = 1.5
    b: list = dataclasses.field(default_factory=lambda: [1, 2])
class N(typing.NamedTuple):
    p: float = 1.5
    q: object = None
    both = property(lambda self: self.p * 2)
class E(enum.Enum):
    A, B = 1, 2
c, n, e, space = C(), N(q=[2, 3]), E.A, types.SimpleNamespace(k=2.0, act="relu")
d, od = {"x": {"y": [1, {"z": 2.5}]}, 3: (1, 2), None: 4}, collections.OrderedDict(a=1, b=2.0)
names, fixed, s, t, rows, none, flag, i, f = {"a", "b"}, frozenset([3]), "relu", (1, (2.5, "q")), [[1, 2], [3.0]], None, True, 7, 0.5
a, a0, mask, number = arr(4), np.full((), 2.0, "f"), np.array([True, False, True, True]), np.float32(1.5)
W, v = hnn.Parameter(arr(4, 4)), hnn.Variable(arr(4))
"""
OF_DATA = ["y = y * c.a + n.p + n.both", "for q in c.b: y = y * q", "for q in n.q: y = y + q", "y = -y if e is E.A else y",
           "y = y * d['x']['y'][1]['z'] + d[3][1] + d[None]",
           "for k, q in od.items(): y = y + q * len(k)", "y = y + 1 if 'a' in names and 3 in fixed else y", "for k in names: y = y + len(k)",
           "y = getattr(F, space.act)(y) * vars(space)['k']", "y = F.relu(y) if s == 'relu' else y + t[1][0]", "for r in rows: y = y + sum(r)",
           "y = y * i + f if none is None and flag else y", "y = y + a + a0 + number", "y = y + mask", "y = y @ W + v", "p, q = n\ny = y * p + len(q)"]
STATE = """
class S:
    def __init__(self):
        self.n, self.best, self.d, self.arr, self.f = 0, None, {}, np.zeros(4, "f"), 0.5
    def tick(self):
        self.n += 1
s, COUNT, log = S(), 0, []
w, buf, tau, slow = hnn.Parameter(arr(4, 4)), np.ones(4, "f"), 0.9, hnn.Parameter(arr(4, 4))
def counter():
    c = 0
    def f(k=1):
        nonlocal c
        c += k
        return c
    return f
count = counter()
def average(a, b, t=0.5):
    a.array[...] = a.array * t + b.array * (1 - t)
"""
OF_STATE = ["global COUNT\nCOUNT += 1", "s.tick()\ns.f *= 1.01\ny = y * s.f", "y = F.tanh(x @ w) * tau + buf",
            "w.cleargrad()\nF.sum(F.tanh(x @ w)).backward()\ny = w.grad * 1",
            "s.best = y\ns.d['y'] = y", "s.arr = s.arr * 0.9", "average(slow, w, tau)", "log.append(y)", "y = y * count()"]
OWN = """
scale, power = 2.0, 1
class Fn(hnn.FunctionNode):
    factor = 1.5
    def __init__(self, slope=0.1):
        self.slope = slope
    def forward(self, xs):
        self.retain_inputs((0,))
        self.mask = xs[0] > 0
        return np.where(self.mask, xs[0], xs[0] * np.float32(self.slope)) * np.float32(self.factor * scale),
    def backward(self, indexes, gs):
        x, = self.get_retained_inputs()
        return gs[0] * np.where(self.mask, 1, self.slope).astype("f") * (self.factor * scale) + x * 0
def fn(x, slope=0.2):
    return Fn(slope).apply((x,))[0]
w, opt, net = hnn.Parameter(arr(4, 4)), O.SGD(0.1), hnn.Chain()
with net.init_scope():
    net.w = w
opt.setup(net)
"""
OF_OWN = ["with hnn.no_backprop_mode(): y = fn(x)", "loss = F.sum(F.tanh(fn(x @ w)))\nnet.cleargrads()\nloss.backward()\nopt.update()\ny = loss"]
DISTRIBUTIONS = """
class Head(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l, self.s = L.Linear(4, 3, initialW=arr(3, 4)), hnn.Parameter(arr(3))
    def forward(self, x):
        m = self.l(x)
        return D.Normal(m, log_scale=F.broadcast_to(self.s, m.shape))
head, beta = Head(), 0.5
prior = D.Normal(np.zeros((3, 3), "f"), np.ones((3, 3), "f"))
class Double(D.Normal):
    def log_prob(self, x):
        return super().log_prob(x) * 2
wide = Double(np.zeros(4, "f"), np.full(4, 2, "f"))
"""
OF_DISTRIBUTIONS = ["y = head(x).entropy * beta", "y = hnn.kl_divergence(head(x), prior)", "y = wide.log_prob(x)", "y = head(x).sample()",
                    "y = D.Categorical(logit=head.l(x)).p"]
STREAMS = """
def shares(y):
    p = F.softmax(y).array[0].astype("d")
    return p / p.sum()
own, gen, eps = random.Random(3), np.random.default_rng(4), 0.5
choices = [1.0, 2.0]
"""
OF_STREAMS = ["y = y * own.uniform(0, 1) + random.random()", "y = y + gen.normal(size=4).astype('f')", "y = y * random.choice(choices)",
              "y = F.dropout(y, 0.3)", "y = y + int(np.random.choice(4, p=shares(y)))"]
TRAINING = """
class M(hnn.Chain):
    scale = 1.5
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l, self.bn, self.p = L.Linear(4, 4, True, arr(4, 4)), L.BatchNormalization(4), hnn.Parameter(arr(4))
        self.n, self.cfg = 0, {"r": 0.5}
    def forward(self, x):
        self.n += 1
        return F.dropout(self.bn(self.l(x)) * self.p * self.scale, self.cfg["r"])
m, t, best = M(), np.array([0, 1, 2], "i"), types.SimpleNamespace(loss=1e9, n=0)
"""
STEP = "loss = F.softmax_cross_entropy(m(x), t)\nm.cleargrads()\nloss.backward()\nopt.update()\ny = loss"
LINKS = {
    "Linear(4, 3)": "y = net.l(x)", "Bilinear(4, 4, 2)": "y = net.l(x, x)", "Maxout(4, 3, 2)": "y = net.l(x)",
    "Convolution1D(1, 2, 3, pad=1)": "y = net.l(x[:, None])",
    "Deconvolution1D(1, 2, 3)": "y = net.l(x[:, None])", "BatchNormalization(4)": "y = net.l(x)", "BatchRenormalization(4)": "y = net.l(x)",
    "LayerNormalization(4)": "y = net.l(x)", "GroupNormalization(2, 4)": "y = net.l(x)", "LSTM(4, 3)": "y = net.l(x)", "StatefulGRU(4, 3)": "y = net.l(x)",
    "StatelessLSTM(4, 3)": "c, y = net.l(None, None, x)", "PReLU()": "y = net.l(x)", "Swish((4,))": "y = net.l(x)", "Scale(W_shape=(4,))": "y = net.l(x)",
    "Bias(shape=(4,))": "y = net.l(x)", "Highway(4)": "y = net.l(x)", "EmbedID(6, 4, ignore_label=-1)": "y = net.l(ids)",
    "MLPConvolution2D(1, (2, 2), 1)": "y = net.l(x[:, None, None])", "SimplifiedDropconnect(4, 3)": "y = net.l(x)"}
OPTIMIZERS = ["SGD(0.1)", "MomentumSGD(0.1)", "Adam(0.01, eps=0.01)", "AdamW(0.01, eps=0.01)", "RMSprop(0.01, eps=0.01)", "AdaGrad(0.1, eps=0.01)",
              "AdaDelta(eps=0.01)",
              "NesterovAG(0.1)", "RMSpropGraves(0.01)", "CorrectedMomentumSGD(0.1)", "MSVAG(0.1)", "SMORMS3(0.01)"]
HOOKS = ["WeightDecay(0.1)", "GradientClipping(0.3)", "Lasso(0.05)", "GradientHardClipping(-.1, .1)"]


def step_of(statement, own=False):
    before = "" if own or statement.startswith("y = ") and "y" not in statement[4:] else "y = F.tanh(x)\n"
    return "def step(x):\n" + textwrap.indent(f"{before}{statement}\nreturn y\n", "    ")


def pieces(name, around, statements):
    return {f"{name}: {s.splitlines()[-1]}": around + step_of(s) for s in statements}


def linked(link, statement):
    return f"net = hnn.Chain()\nwith net.init_scope():\n    net.l = L.{link}\nids = np.array([1, 2, -1], 'i')\n" + step_of(statement, True)


def trained(optimizer, hook=None):
    around = f"{TRAINING}opt = O.{optimizer}.setup(m)\n" + (f"opt.add_hook(hnn.optimizer_hooks.{hook})\n" if hook else "")
    return around + step_of(STEP, True)


PROGRAMS = {
    **pieces("classes", CLASSES, OF_CLASSES), **pieces("callables", CALLABLES, OF_CALLABLES), **pieces("data", DATA, OF_DATA),
    **pieces("state", STATE, OF_STATE),
    **pieces("own functions", OWN, OF_OWN), **pieces("distributions", DISTRIBUTIONS, OF_DISTRIBUTIONS), **pieces("streams", STREAMS, OF_STREAMS),
    **{link: linked(link, s) for link, s in LINKS.items()}, **{o: trained(o) for o in OPTIMIZERS}, **{h: trained("SGD(0.1)", h) for h in HOOKS},
    "several updates": f"{TRAINING}opt = O.Adam(0.01, eps=0.01).setup(m)\n" + step_of(f"for _ in range(2):\n{textwrap.indent(STEP, '    ')}", True),
    "best loss": f"{TRAINING}opt = O.SGD(0.01).setup(m)\nm.forward = m.l\n"
                 + step_of(STEP + "\nv = float(loss.array)\nif v < best.loss: best.loss, best.n = v, opt.t", True)}
