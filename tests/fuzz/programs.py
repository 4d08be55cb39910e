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
        | F.gaussian({M}, {M} * 0.1) | F.fixed_batch_normalization({M}, net.p, net.p, net.mean, net.var) | F.tile({V}, ({M}.shape[0], 1)) | {M} * {M}.shape[0]
        | F.reshape(net.conv(F.reshape({M}, (-1, 1, 2, 2))), (-1, 4)) | F.reshape(F.max_pooling_2d(F.reshape({M}, (-1, 1, 2, 2)), 2, 1, 1)[:, :, 1:, 1:], (-1, 4))
        | F.reshape(F.average_pooling_2d(F.reshape({M}, (-1, 1, 2, 2)), 2, 1, 1)[:, :, :2, :2], (-1, 4)) | net.emb(t[:len({M})]) | net.emb({I}) | net.lstm({M})
        | net.gru({M}) | F.matmul(F.softmax(F.matmul({M}, {M}, transb=True)), {M}) | F.scatter_add({M}, ({I} % len({M}),), {M}) | {M}[{I} % len({M})]
        | F.get_item({M}, np.arange(len({M}))[::-1]) | F.cast({D}, 'float32') | {M} * hold.gain | hold.act({M}) | hold.twice({M}) | sub({M}) | sub({M}) * net2.p
        | net2.l1({M}) | F.linear({M}, net.l2.W) | F.where(net.mask, {M}, -{M}) | F.where({A} > 0, {M}, {M} * 0.5) | {M} ** hold.power | F.absolute({M}) ** (hold.bias + 2)
        | net.lstm.h if net.lstm.h is not None and net.lstm.h.shape == {M}.shape else {M} | F.forget(helper, {M}) | next(gen({M})) | F.concat(list(gen({M})), 0)[:len({M})]
        | ({M} if {B} else {M}) | sum([F.tanh({M} * i) for i in (1, 2)]) | {i: {M} * i for i in (1, 2)}[2] | repeated({M}, k) | Pair({M}, {P}).product()
        | Pair(b={P}, a={M}).a | functools.partial(helper)({M}) | inner(*[{M}]) | (lambda v, w=rate: v * w)({M}) | getattr(F, "tanh")({M}) | hold.other({M})
        | F.tanh({M}) * getattr(hold, "none", 0.5) | F.relu(net.seq({M})) | Smooth(0.2).apply(({M},))[0] | Smooth().apply((net.l1({M}),))[0] | Split().apply(({M}, {A}))[k % 2] | {M} * cfg.scale
        | hnn.distributions.Normal({M}, log_scale={M} * 0.1).log_prob({M}) | hnn.distributions.Normal({M}, F.exp({M} * 0.1)).sample() | {M} * cfg.twice
        | hnn.distributions.Categorical(logit={M}).log_prob(t[:len({M})])[:, None] * {M} | {M} * OWN.uniform(0.5, 1.5) | net[net.which]({M}) | max([{M}, {M}], key=lambda v: v.ndim) | F.tanh(z := {M}) + z""",
    "D": "F.cast({M}, 'float64') | {D} * 1.5 | F.tanh({D}) | {D} + {D} | hnn.Variable(np.asarray({A}, 'float64')) | {D} * {D} | F.sum({D}, axis=1, keepdims=True) * {D}",
    "I": """t[:len({M})] | np.argmax({M}.array, axis=1) | F.argmax({M}, axis=1).array | np.argsort({A}[:, 0]) % 4 | np.arange(len({M})) % 3 | (t[:len({M})] + k) % 4
        | np.full(len({M}), net.count % 4)""",
    "V": """F.sum({M}, axis=0) | F.mean({M}, axis=0) | {M}[0] | {M}[-1] | F.max({M}, axis=0) | {V} * {c} | F.tanh({V}) | {V} + {V} | net.p | {V} * {P}
        | hnn.Variable(net.buf) | net.buf * {V} | F.matmul(net.W, {V}) | net.W[1] | F.sum(net.W, axis=1) | {V}[::-1] | net.p * 2 | F.softmax({V}[None])[0] | {V} * {S}[None] | F.dropout({S}[None], {r}) + {V}""",
    "S": """F.sum({M}) | F.mean({M}) | F.mean({M} * {M}) | F.mean_squared_error({M}, {M}) | F.softmax_cross_entropy({M}, t[:len({M})]) | F.sum({V}) | {S} * {c}
        | {S} + {S} | {V}[1] | F.max({M}) | F.logsumexp({M}) | F.tanh({S}) | F.sum({T}) | F.sum({C}) | {M}[0, 1] | F.sum(F.absolute({V})) * 0.1""",
    "C": """F.sum({M}, axis=1, keepdims=True) | F.mean({M}, axis=1, keepdims=True) | F.max({M}, axis=1, keepdims=True) | {M}[:, 1:2] | F.tanh({C})
        | F.expand_dims(F.logsumexp({M}, axis=1), 1) | {C} * {P} | {C} - {C}""",
    "T": "F.transpose({M}) | {M}.T | F.tanh({T}) | {T} * {c} | {T} + {T} | F.matmul(net.W, {T})",
    "A": """{M}.array | {M}.data * 0.5 | np.tanh({M}.array) | {A} + 1 | {A}[::-1] | np.asfortranarray({A}) | {M}.array.T.copy().T | {A}.copy() | np.where({A} > 0, {A}, 0.5) | np.clip({A}, -1, 1)
        | np.concatenate([{A}, {A}])[:len({A})] | ({A} - {A}.mean(0)).astype("f")""",
    "P": """cfg.scale | KEYS[1] | SPACE["bias"] | OWN.random() | random.choice([0.5, 1.5]) | opt.t * 0.1 | net.best | math.sqrt(abs({P})) | {P} / (1.5 + abs({P})) | hold.bias | hold.gain | hold.K * 0.25 | COUNT[0] * 0.125 | hold.calls * 0.1 | opt2.lr * 10 | float(F.tanh({S})) | SCALE | rate | net.scale | F.tanh({S}).item() | math.tanh({S}.array) | float(np.tanh({M}.array).mean()) | np.random.rand()
        | float(format({P}, ".3f")) | [{P}, {P}][k % 2] | sorted([{P}, 0.4])[0] | dict(a={P}).get("a", 1.0) | opt2.lr | (0.2 if {B} else {P}) | Pair(1, {P}).b | random.random() | k * 0.5 | net.count * 0.01 | len({M}) * 0.1 | max({P}, 0.3) | opt.hyperparam.__dict__.get('lr', 0.5) | -{P} | {P} * {P}""",
    "B": """float({S}) < net.best | {P} < net.best | not math.isnan({P}) | np.isfinite({S}.array) | OWN.random() < 0.5 | cfg.act == "tanh" | float({S}) > {c} | {S} > {c} | {S}.array > {c} | F.max({M}) > {c} | F.sum({C}) < {c} | k % 2 == 0 | net.count % 3 == 1 | net.flag | flag | {M}.shape[0] > 3
        | SCALE > 1.6 | {P} > {c} | hnn.config.train | isinstance(x, hnn.Variable) | net.p.grad is not None | rate < 0.6 | not {S} > {c} | np.random.rand() > 0.4
        | hold.K > 2 | hold.on | net2.l1.W.grad is None | "w" in net.table | isinstance(hold, Child) | y.requires_grad | int(F.argmax({V}).array) > 1 | len(net.kept) % 4 == 2 | bool({S} > {c}) and k > 0
        | isinstance(hold, Holder) | 0.1 < rate < {P} | k in (1, 3) | any(v > {c} for v in (rate, k)) | hasattr(hold, "extra") | Pair(1, 2) == Pair(1, k) | opt.t % 2 == 1 | net.l1.W.update_rule.enabled""",
}
TABLE = {kind: [re.sub(r"\s+", " ", e).strip() for e in text.split(" | ")] for kind, text in EXPRESSIONS.items()}
SIMPLE = {"D": "F.cast(y, 'float64')", "I": "t[:len(y)]", "M": "y", "V": "net.p", "S": "F.sum(y)", "C": "y[:, :1]", "T": "y.T", "A": "raw", "P": "rate", "B": "flag", "F": "inner"}
LITERALS = [0.5137, -0.7391, 1.2713, 0.1173, -1.6111, 2.3719]
OPTIMIZERS = ["SGD(0.03)", "MomentumSGD(0.02)", "Adam(0.02, eps=0.01)", "AdamW(0.02, eps=0.01)", "RMSprop(0.01, eps=0.01)", "NesterovAG(0.01)"]
EVENTS = ["", "", "", "", "rebind(cfg=Settings(0.75))", "setattr(Smooth, 'gain', 0.5)", "setattr(Smooth, 'forward', Smooth.forward_other)", "setattr(net, 'best', 0.1)",
          "OWN.seed(5)", "setattr(opt, 't', 3)", "rebind(SCALE=1.75)", "rebind(SCALE=2)", "world.rate(0.75)", "net.flag = not net.flag", "net.scale *= 1.25", "setattr(opt, 'alpha' if hasattr(opt, 'alpha') else 'lr', 0.005)",
          "net.cleargrads()", "net.p.array[1] += 0.1", "net.buf[2] = 0.3", "net.l1 = net.l2.copy()", "rebind(helper=F.relu)", "net.h = None", "net.kept.clear()",
          "setattr(Child, 'K', 3)", "setattr(Child, 'act', F.sin)", "setattr(hold, 'bias', 0.75)", "setattr(hold, '__class__', Holder)", "hold.__dict__.update(act=F.cos)",
          "setattr(hold, 'on', not hold.on)", "net.table.update(w=0.5)", "net.table.pop('w', None)", "net.lstm.reset_state()", "setattr(net2.l1, 'W', net.l1.W)",
          "opt._hooks or opt.add_hook(hnn.optimizer_hooks.WeightDecay(0.01), 'd')", "setattr(opt2, 'lr', 0.02)", "net.emb.W.array[...] *= 0.9",
          "np.logical_not(net.mask, out=net.mask)", "setattr(hold, 'power', 3)", "setattr(hold, 'power', 2.0)", "COUNT.append(COUNT.pop() + 1)",
          "net.buf = net.buf.copy()", "net.W.array = net.W.array * 0.9", "net.l1.disable_update()", "net.scale = 1", "net.p.data = net.p.data.copy()",
          "net.l1.enable_update()", "net.W.update_rule.__dict__.update(update_core=lambda p: None)", "net.W.update_rule.__dict__.pop('update_core', None)",
          "helper.__defaults__ and setattr(helper, '__defaults__', (0.5,))", "helper is F.relu or setattr(helper, '__code__', other.__code__)",
          "net.W.array.setflags(write=False)",
          "net.W.array.setflags(write=True)", "net.mean.setflags(write=False)", "net.mean.setflags(write=True)", "setattr(net.bn, 'decay', 0.5)", "setattr(opt, 't', 0)",
          "setattr(Child, '__bases__', (Sibling,))", "setattr(Child, '__bases__', (Holder,))", "setattr(hold, 'extra', 1)", "setattr(net, 'which', 'ln')",
          "net.seq.append(F.sin)", "setattr(net.W, 'grad', np.ones_like(net.W.array))", "opt2.setup(net2)", "np.random.seed(3)", "setattr(hold, '__class__', Sibling)"]
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
        kind = self.pick(["M", "M", "M", "M", "M", "V", "S", "C", "T", "P", "A", "D", "I"])
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
            "COUNT[0] += 1", "hold.calls += 1", f"hold.bias = {p}", f"hold.last = {m}", f"net.table['w'] = {p}", "net.lstm.reset_state()", f"{a}.sort(axis=1)",
            "net.buf[::2] = 0.25", "np.multiply(net.mean, 0.5, out=net.mean)", "net.emb.W.array[1] = 0.5", "log(list(net.table))", "np.logical_not(net.mask, out=net.mask)",
            "for q, v in ((net2.p, net.p), (net2.l1.W, net.l1.W)): q.array[...] = q.array * 0.9 + v.array * 0.1", f"log({m}.array.dtype.name)",
            f"raw[...] = {m}.array", f"{m}.array[0] = 0.25", "net.kept.pop() if len(net.kept) > 2 else None", "opt2.lr *= 0.9", f"log((lambda w: f'{{w:.2f}}')({p}))", "hold.extra = k", "net.which = 'l1' if k % 2 else 'l2'",
            "net2.l1.copyparams(net.l1) if net.count % 3 == 0 else None", "x, y = (x, y) if flag else (y, x)" if "x" in self.scope and self.scope["x"] == "M" else "k += 0",
            f"net.table.update({{'w': {p}, **net.table}})", "opt2.hyperparam.lr = 0.05 * 0.9 ** (net.count % 5)", "opt2.hyperparam.momentum *= 0.98",
            "setattr(opt2.hyperparam, 'lr', rate * 0.1)", f"SPACE['bias'] = {p}", f"vars(net)['scale'] = {p}", "KEYS[True] = KEYS[1] * 0.75",
            "opt.hyperparam.__dict__.update(lr=0.02) if hasattr(opt, 'lr') else None", "decay.rate = 0.01 * (net.count % 3)"]), depth)

    def _other(self, depth):
        """A step of the second model."""
        name = f"s{self.count}"
        self.count += 1
        self.line(f"{name} = F.mean(F.tanh(net2.l1({self.pick(self.named('M'))}) * {self._wrapped(self.operand('M', 1))}))", depth)
        self.line("net2.cleargrads()", depth)
        self.line(f"{name}.backward()", depth)
        self.line("opt2.update()", depth)
        self.scope[name] = "S"

    def _scoped(self, depth):
        name = self.pick(self.named("M"))
        self.line(f"with scope({self.pick(['', 'ValueError'])}):", depth)
        self.block(depth + 1, 2)
        self.line(self.pick(["log(len(y))", f"log(sub({name}).shape)", f"raising({name})", f"{name} + np.zeros((7, 3), 'f')"]), depth + 1)

    def _generated(self, depth):
        self.loops += 1
        item = f"m{self.count}"
        self.count += 1
        self.line(f"for {item} in gen({self.pick(self.named('M'))}):", depth)
        before = dict(self.scope)
        self.scope[item] = "M"
        self.block(depth + 1, 2)
        self.scope = before

    def _match(self, depth):
        self.line(f"match {self.pick(['k', '(k, flag)', 'net.table', 'hold', 'list(range(k))'])}:", depth)
        for case in self.pick([("0 | 1", "2"), ("(1, True)", "(n, False) if n > 1"), ("{'w': w}",), ("Holder(on=True)",), ("[]", "[_, *more]")]):
            self.line(f"case {case}:", depth + 1)
            self.block(depth + 2, 2)
        self.line("case _:", depth + 1)
        self.block(depth + 2, 1)

    def _accumulate(self, depth):
        """Gradients are added up over several calls before an update."""
        name = f"s{self.count}"
        self.count += 1
        self.line(f"{name} = {self._loss(depth)}", depth)
        self.line(f"{name}.backward()", depth)
        self.line("net.count += 1", depth)
        self.line(f"if net.count % {self.pick('234')} == 0:", depth)
        self.line("opt.update()", depth + 1)
        self.line("net.cleargrads()", depth + 1)
        self.scope[name] = "S"

    def _closing(self, depth):
        """A block that is left early, over a ``finally``."""
        self.loops += 1
        self.line(f"for j{self.loops} in range(3):", depth)
        self.line("try:", depth + 1)
        self.block(depth + 2, 2)
        self.line(f"if j{self.loops} == {self.pick(['k', '1', 'net.count % 3'])}:", depth + 2)
        self.line(self.pick(["break", "continue"]), depth + 3)
        self.line("finally:", depth + 1)
        self.line(f"net.count += {self.pick('12')}", depth + 2)

    def _third(self, depth):
        name, g = f"v{self.count}", f"v{self.count + 1}"
        self.count += 2
        self.line(f"{name}, = hnn.grad([{self._loss(depth)} + F.sum(F.tanh(net.p) ** 3)], [net.p], enable_double_backprop=True)", depth)
        self.line(f"{g}, = hnn.grad([F.sum({name} * {name}) + F.sum(net.p ** 3)], [net.p], enable_double_backprop={self.one_in(2)})", depth)
        self.scope[name] = self.scope[g] = "V"

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
        if self.one_in(3):
            self.line(f"if float({name}.array) < net.best: net.best = float({name}.array)", depth)
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
        self.line(self.pick(["y.cleargrad()", "net.p.cleargrad()", "y.grad = np.full_like(y.array, 0.5)", "del net.kept[:1]", "log(y.grad is None)", "log(net.W.grad is None)", "y.unchain_backward()",
                             "net2.cleargrads()", "hold.last = None"]), depth)

    def _return(self, depth):
        if depth > 1:
            self.line(f"return {self.result()}", depth)

    def result(self):
        items = [self.operand(self.pick(["M", "M", "S", "V", "P", "C", "A"]), 2) for _ in range(self.draw(st.integers(1, 3)))]
        return self.pick(["({},)", "[{}]", "{}, y", "dict(a=({},))"]).format(", ".join(items))


STRAIGHT = ["assign"] * 9 + ["augment", "state", "state", "learn", "carry", "function", "names"]
STATEMENTS = STRAIGHT + ["assign"] * 6 + ["if", "if", "for", "while", "try", "with", "grad", "learn", "return", "other", "scoped", "generated", "third", "match", "accumulate", "closing"]
HEAD = '''SCALE, LOG = 1.5, []
log = LOG.append

def helper(a):
    return F.tanh(a) * SCALE

def other(a):
    return F.sin(a) + SCALE

def repeated(a, n):
    return a if n == 0 else F.tanh(repeated(a, n - 1))

@dataclasses.dataclass
class Pair:
    a: object
    b: object = 0.5

    def product(self):
        return self.a * self.b

def raise_if(a):
    if float(F.mean(a)) > 0.1173:
        raise ValueError("too large")

@traced
def sub(a):
    return F.tanh(a * hold.gain) + 0.25

@traced
def raising(a):
    if float(F.mean(F.tanh(a))) > 0.0513:
        raise ValueError("too much")
    return a * 2

@contextlib.contextmanager
def scope(*swallowed):
    log("in")
    try:
        yield
    except swallowed as e:
        log(type(e).__name__)
    finally:
        log("out")

def gen(a):
    for i in (1, 2):
        yield F.tanh(a * i)

class Holder:
    K, power = 2, 2

    def __init__(self):
        self.bias, self.calls, self.on, self.last = 0.5, 0, True, None

    @property
    def gain(self):
        return self.K * 0.5 + self.bias

    def act(self, a):
        return F.tanh(a * self.gain)

    def twice(self, a):
        return self.act(self.act(a))

    def other(self, a):
        return self.act(a) + 1

class Sibling(Holder):
    def other(self, a):
        return a * self.K

class Child(Holder):
    def act(self, a):
        return F.sigmoid(a) + self.bias

    def other(self, a):
        return super().other(a) * 0.5

class Settings(typing.NamedTuple):
    scale: float = 1.25
    act: str = "tanh"
    twice = property(lambda self: self.scale * 2)

class Smooth(hnn.FunctionNode):
    gain = 1.5

    def __init__(self, slope=0.1):
        self.slope = slope

    def forward(self, inputs):
        x, = inputs
        self.retain_inputs((0,))
        self.above = x > 0
        return np.where(self.above, x, x * self.slope).astype(x.dtype) * x.dtype.type(self.gain),

    def forward_other(self, inputs):
        return inputs[0] * inputs[0].dtype.type(SCALE),

    def backward(self, indexes, gs):
        return gs[0] * np.where(self.above, self.gain, self.slope * self.gain).astype(gs[0].dtype)

class Split(hnn.FunctionNode):
    def forward(self, inputs):
        self.retain_outputs((0,))
        a, b = inputs
        return np.tanh(a), np.abs(b) + 1

    def backward(self, indexes, gs):
        y, = self.get_retained_outputs()
        return tuple([None if gs[i] is None else gs[0] * (1 - y * y) if i == 0 else gs[1] * 0.5 for i in indexes])

cfg, OWN = Settings(), random.Random(3)

def weights(*shape):
    return np.sin(np.arange(np.prod(shape), dtype="f")).reshape(shape) * 0.5

class Other(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.p = L.Linear(4, 4, initialW=weights(4, 4)), hnn.Parameter(weights(4))

COUNT, hold, net2 = [0], Child(), Other()
opt2 = hnn.optimizers.MomentumSGD(0.05).setup(net2)
SPACE, KEYS, decay = vars(hold), {1: 0.5}, hnn.optimizer_hooks.WeightDecay(0.01)
opt2.add_hook(decay)

class Net(hnn.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.l1, self.l2, self.bn, self.ln = L.Linear(4, 4), L.Linear(4, 4), L.BatchNormalization(4), L.LayerNormalization(4)
            self.conv, self.emb = L.Convolution2D(1, 1, 3, pad=1, initialW=weights(1, 1, 3, 3)), L.EmbedID(4, 4, initialW=weights(4, 4))
            self.lstm, self.gru = L.LSTM(4, 4, lateral_init=0.2, upward_init=0.3), L.StatefulGRU(4, 4, init=0.25, inner_init=-0.2)
            self.p, self.W = hnn.Parameter(np.linspace(0.3, 1.2, 4, dtype='f')), hnn.Parameter(hnn.initializers.Normal(0.4), (4, 4))
            self.seq = hnn.Sequential(L.Linear(4, 4, initialW=weights(4, 4)), F.tanh)
        self.which = "l1"
        self.best = 5.0
        self.count, self.scale, self.flag, self.kept, self.h, self.last = 0, 1.0, True, [], None, None
        self.buf, self.mean, self.var = np.linspace(-1, 1, 4, dtype='f'), np.zeros(4, 'f'), np.ones(4, 'f')
        self.mask, self.table = np.array([True, False, True, True]), {"w": 1.5, "u": None}
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
            calls.append(Call(draw(st.sampled_from([n, n, 4, 5, 1, 0])), draw(st.sampled_from([k, 0, 1, 3])), draw(st.booleans()), draw(st.sampled_from(EVENTS)),
                              draw(st.sampled_from(MODES))))
    assert calls[0] == base
    return calls
