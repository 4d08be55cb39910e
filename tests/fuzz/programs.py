"""A hypothesis strategy that writes training programs as source text.

A program defines ``make(trace)``, which builds a model, an optimizer and one traced function; the strategy also draws the calls to make. Values have a kind, which says
their shape: M (n, 4), T (4, n), V (4,), C (n, 1), S (), A a raw array (n, 4), P a Python float. ``n`` changes from call to call, never in the text.
Conditions compare with constants that no sum hits by chance, so that rounding decides no branch.
"""
import re
from dataclasses import dataclass

from hypothesis import strategies as st

__all__ = ["HEAD", "Call", "Program", "programs"]

EXPRESSIONS = {
    "M": """F.tanh({M}) | F.sigmoid({M}) | F.relu({M}) | F.exp(F.tanh({M})) | F.softplus({M}) | F.leaky_relu({M}, {c}) | F.elu({M}) | F.gelu({M}) | -{M}
        | abs({M}) | {M} * {c} | {c} - {M} | {M} + {P} | {M} * {P} | F.tanh({M}) ** 2 | F.sin({M}) | F.sqrt({M} * {M} + 1) | F.log(1 + {M} * {M})
        | {M} / (2 + F.tanh({M})) | {M} + {M} | {M} - {M} | {M} * F.tanh({M}) | F.maximum({M}, {M}) | F.minimum({M}, {c})
        | F.where({M}.array > {c}, {M}, {M}) | F.where({M} > {c}, {M}, -{M}) | {M} + {V} | {M} * {V} | {M} * F.tanh({C}) | {M} + {C} | {M} * F.tanh({S})
        | F.softmax({M}) | F.log_softmax({M}) | F.matmul({M}, net.W) | {M} @ net.W | F.linear({M}, net.W, net.p) | F.transpose({T}) | {T}.T
        | F.reshape(F.reshape({M}, (-1, 2, 2)), (-1, 4)) | {M}[::-1] | F.concat([{M}[:, :2], {M}[:, 2:]], axis=1) | F.broadcast_to({V}, {M}.shape)
        | F.concat(F.split_axis({M}, 2, 1)[::-1], 1) | net.l1({M}) | net.l2({M}) | net.bn({M}) | net.ln({M}) | F.dropout({M}, 0.3) | F.dropout({M}, {r})
        | F.normalize({M}) | F.flip({M}, 1) | F.cumsum(F.tanh({M}), 1) | hnn.Variable({A}) | {A} * {M} | {M} + {A} | F.tanh({A}) | {M}[:, [3, 1, 0, 2]]
        | F.clip({M}, -1.1, 1.5) | F.cast(F.cast({M}, 'float64'), 'float32') | helper({M}) | {F}({M}) | {F}({M}) | F.get_item(F.stack([{M}, {M}]), 1)
        | hnn.Variable({M}.array) | F.identity({M}) | F.copy({M}, -1) | F.swapaxes({T}, 0, 1) | sum([{M}, {M}]) | functools.reduce(F.add, [{M}, {M}, {M}])
        | F.matmul({M}, F.matmul({T}, {M})) * 0.05 | F.pad({M}[:, :3], ((0, 0), (0, 1)), 'constant') | {M} * net.scale | {M} * SCALE | {M} * rate
        | F.squeeze(F.expand_dims({M}, 0), 0) | F.average({M}, axis=1, keepdims=True) + {M} | F.huber_loss({M}, {M}, 1.0, reduce='no')[:, None] * {M}
        | F.gaussian({M}, {M} * 0.1) | F.fixed_batch_normalization({M}, net.p, net.p, net.mean, net.var) | F.tile({V}, ({M}.shape[0], 1)) | {M} * {M}.shape[0]""",
    "V": """F.sum({M}, axis=0) | F.mean({M}, axis=0) | {M}[0] | {M}[-1] | F.max({M}, axis=0) | {V} * {c} | F.tanh({V}) | {V} + {V} | net.p | {V} * {P}
        | hnn.Variable(net.buf) | net.buf * {V} | F.matmul(net.W, {V}) | net.W[1] | F.sum(net.W, axis=1) | {V}[::-1] | net.p * 2 | F.softmax({V}[None])[0]""",
    "S": """F.sum({M}) | F.mean({M}) | F.mean({M} * {M}) | F.mean_squared_error({M}, {M}) | F.softmax_cross_entropy({M}, t[:len({M})]) | F.sum({V}) | {S} * {c}
        | {S} + {S} | {V}[1] | F.max({M}) | F.logsumexp({M}) | F.tanh({S}) | F.sum({T}) | F.sum({C}) | {M}[0, 1] | F.sum(F.absolute({V})) * 0.1""",
    "C": """F.sum({M}, axis=1, keepdims=True) | F.mean({M}, axis=1, keepdims=True) | F.max({M}, axis=1, keepdims=True) | {M}[:, 1:2] | F.tanh({C})
        | F.expand_dims(F.logsumexp({M}, axis=1), 1) | {C} * {P} | {C} - {C}""",
    "T": "F.transpose({M}) | {M}.T | F.tanh({T}) | {T} * {c} | {T} + {T} | F.matmul(net.W, {T})",
    "A": "{M}.array | {M}.data * 0.5 | np.tanh({M}.array) | {A} + 1 | {A}[::-1] | np.asfortranarray({A}) | {M}.array.T.copy().T | {A}.copy()",
    "P": """float(F.tanh({S})) | SCALE | rate | net.scale | F.tanh({S}).item() | math.tanh({S}.array) | float(np.tanh({M}.array).mean()) | np.random.rand()
        | random.random() | k * 0.5 | net.count * 0.01 | len({M}) * 0.1 | max({P}, 0.3) | opt.hyperparam.__dict__.get('lr', 0.5) | -{P} | {P} * {P}""",
    "B": """float({S}) > {c} | {S} > {c} | {S}.array > {c} | F.max({M}) > {c} | F.sum({C}) < {c} | k % 2 == 0 | net.count % 3 == 1 | net.flag | flag | {M}.shape[0] > 3
        | SCALE > 1.6 | {P} > {c} | hnn.config.train | isinstance(x, hnn.Variable) | net.p.grad is not None | rate < 0.6 | not {S} > {c} | np.random.rand() > 0.4
        | y.requires_grad | int(F.argmax({V}).array) > 1 | len(net.kept) % 4 == 2 | bool({S} > {c}) and k > 0""",
}
TABLE = {kind: [re.sub(r"\s+", " ", e).strip() for e in text.split(" | ")] for kind, text in EXPRESSIONS.items()}
SIMPLE = {"M": "y", "V": "net.p", "S": "F.sum(y)", "C": "y[:, :1]", "T": "y.T", "A": "raw", "P": "rate", "B": "flag", "F": "inner"}
LITERALS = [0.5137, -0.7391, 1.2713, 0.1173, -1.6111, 2.3719]
OPTIMIZERS = ["SGD(0.03)", "MomentumSGD(0.02)", "Adam(0.02, eps=0.01)", "AdamW(0.02, eps=0.01)", "RMSprop(0.01, eps=0.01)", "NesterovAG(0.01)"]
EVENTS = ["", "", "", "", "rebind(SCALE=1.75)", "rebind(SCALE=2)", "world.rate(0.75)", "net.flag = not net.flag", "net.scale *= 1.25", "setattr(opt, 'alpha' if hasattr(opt, 'alpha') else 'lr', 0.005)",
          "net.cleargrads()", "net.p.array[1] += 0.1", "net.buf[2] = 0.3", "net.l1 = net.l2.copy()", "rebind(helper=F.relu)", "net.h = None", "net.kept.clear()",
          "net.buf = net.buf.copy()", "net.W.array = net.W.array * 0.9", "net.l1.disable_update()", "net.scale = 1", "net.p.data = net.p.data.copy()"]
MODES = ["", "", "", "", "hnn.no_backprop_mode()", "hnn.using_config('train', False)"]


@dataclass(frozen=True)
class Call:
    """One call: rows, seed of its values, Python arguments, what is done before, and the configuration around it."""
    n: int
    k: int
    flag: bool
    before: str
    around: str


@dataclass(frozen=True)
class Program:
    """Source text and calls; ``raw_x`` says that ``x`` is an array, ``outer`` that backward runs outside."""
    source: str
    calls: tuple
    raw_x: bool
    y_grad: bool
    outer: bool

    def __repr__(self):
        calls = "\n".join(f"#   {c}" for c in self.calls)
        return f"\n{self.source}\n# raw_x={self.raw_x}, y_grad={self.y_grad}, outer={self.outer}\n{calls}\n"


class Writer:
    """Writes the body of the traced function."""

    def __init__(self, draw, size):
        self.draw, self.budget = draw, size
        self.lines, self.scope, self.count, self.loops = [], {}, 0, 0

    def pick(self, options):
        return self.draw(st.sampled_from(options))

    def one_in(self, n):
        return self.draw(st.integers(0, n - 1)) == n - 1

    def line(self, text, depth):
        self.lines.append("    " * depth + text)

    def named(self, kind):
        return [name for name, k in self.scope.items() if k == kind]

    def operand(self, kind, depth):
        """A name if there is one, else an expression."""
        if kind in ("c", "r"):
            return str(self.pick(LITERALS if kind == "c" else [0.25, 0.5]))
        names = self.named(kind)
        if names and (depth > 1 or not self.one_in(4)):
            return self.pick(names[::-1])
        return self.expression(kind, depth + 1) if depth < 2 and kind in TABLE else SIMPLE[kind]

    def expression(self, kind, depth=0):
        text = self.pick(TABLE[kind])
        return re.sub(r"\{(\w)\}", lambda m: self._wrapped(self.operand(m[1], depth)), text)

    def _wrapped(self, text):
        return text if re.fullmatch(r"[\w.]+|[\w.]+\([^()]*\)", text) else f"({text})"

    # ---- statements

    def block(self, depth, most=3):
        """A few statements; names they introduce are gone afterwards."""
        before = dict(self.scope)
        start = len(self.lines)
        for _ in range(self.draw(st.integers(1, most))):
            self.statement(depth)
        if len(self.lines) == start:
            self.line("pass", depth)
        self.scope = before

    def statement(self, depth):
        if self.budget <= 0:
            return
        self.budget -= 1
        getattr(self, "_" + self.pick(STATEMENTS if depth < 4 else STRAIGHT))(depth)

    def _assign(self, depth):
        kind = self.pick(["M", "M", "M", "M", "V", "S", "C", "T", "P", "A"])
        text = self.expression(kind)
        name = f"{kind.lower()}{self.count}"
        if self.named(kind) and self.one_in(3):
            name = self.pick([n for n in self.named(kind) if n not in ("x", "y", "raw")] or [name])
        self.count += 1
        self.line(f"{name} = {text}", depth)
        self.scope[name] = kind

    def _augment(self, depth):
        names = [n for n in self.named("M") if n != "x"]
        self.line(f"{self.pick(names)} {self.pick(['+=', '*=', '-='])} {self.operand(self.pick('MVPc'), 0)}", depth)

    def _if(self, depth):
        self.line(f"if {self.expression('B')}:", depth)
        self.block(depth + 1)
        if self.one_in(2):
            self.line("else:", depth)
            self.block(depth + 1)

    def _for(self, depth):
        self.loops += 1
        times = self.pick(["2", "k", "3", "(1, 2)", f"int(abs({self.operand('P', 1)}) * 3) % 3", f"len({self.operand('M', 1)}) % 3"])
        self.line(f"for i{self.loops} in {times if times[0] == '(' and times[-1] == ')' else f'range({times})'}:", depth)
        self.block(depth + 1)

    def _while(self, depth):
        self.loops += 1
        name, w = self.pick(self.named("M")), f"w{self.loops}"
        self.line(f"{w} = 0", depth)
        self.line(f"while float(F.mean({name} * {name})) > {abs(float(self.operand('c', 0))) / 3:.4f} and {w} < 3:", depth)
        if name not in ("x", "y"):
            self.line(f"{name} = {name} * 0.7", depth + 1)
        self.line(f"{w} += 1", depth + 1)
        self.block(depth + 1, 2)

    def _try(self, depth):
        self.line("try:", depth)
        self.block(depth + 1, 2)
        self.line(self.pick(["F.matmul({0}, {0})", "F.reshape({0}, (3, 3))", "{0} + np.zeros((7, 3), 'f')", "raise_if({0})", "net.missing", "[][k]"]).format(self.pick(self.named("M"))),
                  depth + 1)
        self.block(depth + 1, 2)
        self.line("except (TypeError, ValueError, AttributeError, IndexError) as e:", depth)
        self.line("log(type(e).__name__)", depth + 1)
        if self.one_in(2):
            self.block(depth + 1, 1)
        if self.one_in(3):
            self.line("finally:", depth)
            self.line("net.count += 10", depth + 1)

    def _with(self, depth):
        self.line(f"with {self.pick(['hnn.no_backprop_mode()', 'hnn.using_config(' + chr(39) + 'train' + chr(39) + ', False)', 'hnn.force_backprop_mode()'])}:", depth)
        self.block(depth + 1)

    def _state(self, depth):
        m, s, p, a = (self._wrapped(self.operand(kind, 1)) for kind in "MSPA")
        self.line(self.pick([
            "net.count += 1", f"net.scale = {p}", "net.scale *= 1.125", f"log(float({s}))", f"net.kept.append({m})", f"log({m}.shape)", f"net.last = {m}",
            f"net.buf[k % 4] = {p}", f"net.buf += {p}", f"net.buf = net.buf * 0.5 + {p}", f"{a}[0] += 0.25", f"net.p.array[0] += 0.125 * {p}", "net.flag = not net.flag",
            f"np.copyto(net.mean, {m}.array.mean(axis=0))", f"net.kept.append({s}.array)", f"log({p})", "net.l2.W.array *= 0.875", f"log(repr({s} > 0.317))", "print(k)", "log(k)",
            f"raw[...] = {m}.array", f"{m}.array[0] = 0.25", "net.kept.pop() if len(net.kept) > 2 else None"]), depth)

    def _carry(self, depth):
        name = self.pick(self.named("M"))
        new = f"m{self.count}"
        self.count += 1
        self.line(f"{new} = {name}", depth)
        self.line(f"if net.h is not None and net.h.shape == {name}.shape:", depth)
        self.line(f"{new} = F.tanh({name} + {self.pick(['net.h', 'net.h * 0.5', 'net.l2(net.h)'])})", depth + 1)
        self.line(f"net.h = {self.pick([new, f'hnn.Variable({new}.array)', f'{new} * 0.5', f'F.identity({new})'])}", depth)
        if self.one_in(3):
            self.line("net.h.unchain_backward()", depth)
        self.scope[new] = "M"

    def _loss(self, depth):
        terms = " + ".join(f"F.mean(F.tanh({self.pick(self.named('M'))}) * {self._wrapped(self.operand('M', 1))})" for _ in range(self.draw(st.integers(1, 2))))
        return self.pick([f"{terms} + F.sum(net.p * net.p) * 0.1", terms, f"F.softmax_cross_entropy(net.l1({self.pick(self.named('M'))}), t[:len(y)])"])

    def _learn(self, depth):
        name = f"s{self.count}"
        self.count += 1
        self.line(f"{name} = {self._loss(depth)}", depth)
        clear = self.pick(["net.cleargrads()", "net.cleargrads()", "net.zerograds()", "net.p.cleargrad()", ""])
        if clear:
            self.line(clear, depth)
        self.line(f"{name}.backward({self.pick(['', '', '', 'retain_grad=True', 'enable_double_backprop=True', 'loss_scale=2.0'])})", depth)
        after = self.pick(["opt.update()", "opt.update()", "opt.update()", "", "net.p.grad *= 0.5" if "net.p" in self.lines[-1] else "", "log(net.p.grad is None)"])
        if after:
            self.line(after, depth)
        self.scope[name] = "S"

    def _grad(self, depth):
        name, g = f"s{self.count}", f"v{self.count + 1}"
        self.count += 2
        double = self.one_in(2)
        self.line(f"{name} = {self._loss(depth)} + F.sum(F.tanh(net.p))", depth)
        self.line(f"{g}, = hnn.grad([{name}], [net.p], enable_double_backprop={double})", depth)
        self.scope[name], self.scope[g] = "S", "V"
        if double and self.one_in(2):
            self.line(f"{name} = {name} + F.sum({g} * {g}) * 0.1", depth)

    def _function(self, depth):
        name = f"f{self.count}"
        self.count += 1
        self.line(f"def {name}(a, b=1.5):", depth)
        self.line(f"return {self.pick(['F.tanh(a * b)', 'a * rate + b', 'net.l2(a) * 0.5', 'F.dropout(a, 0.4)', 'a + y', 'helper(a) - b'])}", depth + 1)
        self.scope[name] = "F"

    def _names(self, depth):
        self.line(self.pick(["y.cleargrad()", "net.p.cleargrad()", "y.grad = np.full_like(y.array, 0.5)", "del net.kept[:1]", "log(y.grad is None)", "log(net.W.grad is None)"]), depth)

    def _return(self, depth):
        if depth > 1:
            self.line(f"return {self.result()}", depth)

    def result(self):
        items = [self.operand(self.pick(["M", "M", "S", "V", "P", "C", "A"]), 2) for _ in range(self.draw(st.integers(1, 3)))]
        return self.pick(["({},)", "[{}]", "{}, y", "dict(a=({},))"]).format(", ".join(items))


STRAIGHT = ["assign"] * 9 + ["augment", "state", "state", "learn", "carry", "function", "names"]
STATEMENTS = STRAIGHT + ["assign"] * 6 + ["if", "if", "for", "while", "try", "with", "grad", "learn", "return"]
HEAD = '''SCALE, LOG = 1.5, []
log = LOG.append

def helper(a):
    return F.tanh(a) * SCALE

def raise_if(a):
    if float(F.mean(a)) > 0.1173:
        raise ValueError("too large")

class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2, self.bn, self.ln = L.Linear(4, 4), L.Linear(4, 4), L.BatchNormalization(4), L.LayerNormalization(4)
            self.p, self.W = hnn.Parameter(np.linspace(0.3, 1.2, 4, dtype='f')), hnn.Parameter(hnn.initializers.Normal(0.4), (4, 4))
        self.count, self.scale, self.flag, self.kept, self.h, self.last = 0, 1.0, True, [], None, None
        self.buf, self.mean, self.var = np.linspace(-1, 1, 4, dtype='f'), np.zeros(4, 'f'), np.ones(4, 'f')
'''


@st.composite
def programs(draw, size=14):
    """A ``Program``: text of up to ``size`` statements and eight calls."""
    w = Writer(draw, draw(st.integers(3, size)))
    raw_x = draw(st.booleans())
    method = draw(st.booleans())
    w.scope = {"y": "M", "raw": "A", "x": "A" if raw_x else "M"}
    while w.budget > 0:
        w.statement(2)
    w.line(f"return {w.result()}", 2)
    body = "\n".join(w.lines)
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    head = f"def make(trace):\n    rate, opt = 0.5, hnn.optimizers.{optimizer}\n    inner = F.sin\n"
    if method:
        text = f"{head}    class Model(Net):\n        @trace\n        def step(net, x, y, t, raw, k, flag):\n" + "\n".join("    " + line for line in body.splitlines())
        text += "\n    net = Model()\n    opt.setup(net)\n    step = net.step\n"
    else:
        text = f"{head}    net = Net()\n    opt.setup(net)\n    @trace\n    def step(x, y, t, raw, k, flag):\n{body}\n"
    text += "    def set_rate(v):\n        nonlocal rate\n        rate = v\n    return net, opt, step, set_rate\n"
    return Program(HEAD + text, tuple(draw(schedules())), raw_x, draw(st.booleans()), draw(st.booleans()))


@st.composite
def schedules(draw):
    """Eight calls: five alike, then others, and back."""
    n, k, flag = draw(st.sampled_from([3, 4, 2])), draw(st.sampled_from([2, 1, 3])), draw(st.booleans())
    base, calls = Call(n, k, flag, "", ""), []
    for i in range(8):
        if i < 4 or i == 7 or draw(st.booleans()):
            before = draw(st.sampled_from(EVENTS)) if i > 1 else ""
            calls.append(Call(n, k, flag, before, ""))
        else:
            calls.append(Call(draw(st.sampled_from([n, n, 4, 5, 1])), draw(st.sampled_from([k, 0, 1, 3])), draw(st.booleans()), draw(st.sampled_from(EVENTS)),
                              draw(st.sampled_from(MODES))))
    assert calls[0] == base
    return calls
