"""Training steps as users write them: language, vision, representations, ensembles, updates and statistics by hand. Each is ``make(wrap)``, see ``worlds``."""
import contextlib
import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from idioms_learning import MLP, labels
from worlds import arr

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

__all__ = ["IDIOMS"]


def seq2seq(wrap):
    class Seq2seq(hnn.Chain):
        def __init__(self, n_vocab=7, n_units=4):
            super().__init__()
            with self.init_scope():
                self.embed_x, self.embed_y = L.EmbedID(n_vocab, n_units), L.EmbedID(n_vocab, n_units)
                self.encoder, self.decoder = L.NStepLSTM(1, n_units, n_units, 0.0), L.NStepLSTM(1, n_units, n_units, 0.0)
                self.W = L.Linear(2 * n_units, n_vocab)

        def forward(self, xs, ys):
            xs = [x[::-1] for x in xs]
            eos = self.xp.array([0], np.int32)
            ys_in = [F.concat([eos, y], axis=0) for y in ys]
            ys_out = [F.concat([y, eos], axis=0) for y in ys]
            exs, eys = self.sequence_embed(self.embed_x, xs), self.sequence_embed(self.embed_y, ys_in)
            hx, cx, states = self.encoder(None, None, exs)
            _, _, os = self.decoder(hx, cx, eys)
            contexts = [self.attend(o, s) for o, s in zip(os, states)]
            concat_os, concat_ys = F.concat([F.concat([o, c]) for o, c in zip(os, contexts)], axis=0), F.concat(ys_out, axis=0)
            loss = F.sum(F.softmax_cross_entropy(self.W(concat_os), concat_ys, reduce="no")) / len(xs)
            hnn.report({"loss": loss, "words": concat_ys.shape[0]}, self)
            return loss

        def attend(self, queries, keys):
            return F.matmul(F.softmax(F.matmul(queries, keys, transb=True)), keys)

        @staticmethod
        def sequence_embed(embed, xs):
            x_len = [len(x) for x in xs]
            x_section = np.cumsum(x_len[:-1])
            return F.split_axis(embed(F.concat(xs, axis=0)), x_section, 0)
    net = Seq2seq()
    opt = optimizers.Adam().setup(net)
    opt.add_hook(hnn.optimizer_hooks.GradientClipping(5))

    @wrap
    def step(xs, ys):
        loss = net(xs, ys)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss

    def run(*lengths):
        return step([labels(n, 7, n) for n in lengths], [labels(n + 1, 7, n) for n in lengths])
    return [net], [lambda: run(3, 2), lambda: run(2, 4), lambda: run(3)]


def tree_lstm(wrap):
    class Tree(hnn.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.embed, self.lstm, self.out = L.EmbedID(5, 4), L.ChildSumTreeLSTM(4, 4), L.Linear(4, 3)

        def leaf(self, word):
            return self.lstm(self.embed(np.array([word], np.int32)))

        def forward(self, tree):
            if isinstance(tree, tuple):
                (lc, lh), (rc, rh) = [self(t) for t in tree]
                return self.lstm(lc, rc, lh, rh, None)
            return self.leaf(tree)
    net = Tree()
    opt = optimizers.AdaGrad(0.1).setup(net)

    @wrap
    def step(tree, t):
        _, h = net(tree)
        loss = F.softmax_cross_entropy(net.out(h), t)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss.array
    return [net], [lambda: step(((1, 2), 3), labels(1)), lambda: step((1, (2, 3)), labels(1)), lambda: step(((1, 2), 4), labels(1))]


def language_model(wrap):
    class RNNLM(hnn.Chain):
        def __init__(self, n_vocab=6, n_units=4):
            super().__init__()
            with self.init_scope():
                self.embed, self.l1, self.l2 = L.EmbedID(n_vocab, n_units), L.LSTM(n_units, n_units), L.LSTM(n_units, n_units)
                self.l3 = L.Linear(n_units, n_vocab)
            for param in self.params():
                param.array[...] = np.random.uniform(-0.1, 0.1, param.shape)

        def reset_state(self):
            self.l1.reset_state()
            self.l2.reset_state()

        def forward(self, x):
            h0 = self.embed(x)
            h1 = self.l1(F.dropout(h0))
            h2 = self.l2(F.dropout(h1))
            return self.l3(F.dropout(h2))
    model = L.Classifier(RNNLM())
    model.compute_accuracy = False
    opt = optimizers.SGD(1.0).setup(model)

    @wrap
    def step(xs, ts):
        loss = 0
        for x, t in zip(xs, ts):
            loss += model(x, t)
        model.cleargrads()
        loss.backward()
        loss.unchain_backward()
        opt.update()
        return float(loss.array) / len(xs)

    def run(n):
        return step([labels(3, 6, k) for k in range(n)], [labels(3, 6, k + 1) for k in range(n)])

    def fresh():
        model.predictor.reset_state()
        return run(2)
    return [model], [lambda: run(2), fresh, lambda: run(3)]


def distillation(wrap):
    student, teacher = MLP(3, 4, 3), MLP(3, 8, 3)
    opt = optimizers.Adam().setup(student)

    @wrap
    def step(x, t, temperature=4.0, alpha=0.5):
        with hnn.no_backprop_mode(), hnn.using_config("train", False):
            soft = F.softmax(teacher(x) / temperature)
        y = student(x)
        hard_loss = F.softmax_cross_entropy(y, t)
        soft_loss = -F.mean(F.sum(soft.array * F.log_softmax(y / temperature), axis=1)) * temperature ** 2
        loss = alpha * hard_loss + (1 - alpha) * soft_loss
        student.cleargrads()
        loss.backward()
        opt.update()
        return loss

    def run(**kw):
        return step(arr(4, 3), labels(4, 3), **kw)
    return [student, teacher], [run, lambda: run(temperature=2.0), lambda: run(alpha=0.1)]


def mixup(wrap):
    net = MLP(3, 8, 2)
    opt = optimizers.MomentumSGD(0.1).setup(net)

    @wrap
    def step(x, t, lam):
        index = np.random.permutation(len(x))
        mixed = lam * x + (1 - lam) * x[index]
        y = net(mixed)
        loss = lam * F.softmax_cross_entropy(y, t) + (1 - lam) * F.softmax_cross_entropy(y, t[index])
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss.array
    return [net], [lambda: step(arr(4, 3), labels(4), 0.3), lambda: step(arr(4, 3), labels(4), 0.6), lambda: step(arr(3, 3), labels(3), 0.6)]


def label_smoothing(wrap):
    net = MLP(3, 8, 4)
    opt = optimizers.Adam().setup(net)
    opt.add_hook(hnn.optimizer_hooks.WeightDecay(1e-4))

    @wrap
    def step(x, t, eps=0.1, n_class=4):
        onehot = np.eye(n_class, dtype=np.float32)[t]
        target = (1 - eps) * onehot + eps / n_class
        log_p = F.log_softmax(net(x))
        loss = -F.sum(target * log_p) / len(x)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss, F.accuracy(log_p, t)
    return [net], [lambda: step(arr(4, 3), labels(4, 4)), lambda: step(arr(4, 3), labels(4, 4, 1), eps=0.2), lambda: step(arr(3, 3), labels(3, 4))]


def simclr(wrap):
    encoder, head = MLP(4, 8, 6), MLP(6, 6, 3)
    model = hnn.ChainList(encoder, head)
    opt = optimizers.Adam().setup(model)

    def nt_xent(z1, z2, temperature):
        n = z1.shape[0]
        z = F.normalize(F.concat([z1, z2], axis=0), axis=1)
        logits = F.matmul(z, z, transb=True) / temperature
        mask = np.eye(2 * n, dtype=bool)
        logits = F.where(mask, np.full(logits.shape, -1e9, logits.dtype), logits)
        target = np.concatenate([np.arange(n, 2 * n), np.arange(n)]).astype(np.int32)
        return F.softmax_cross_entropy(logits, target)

    @wrap
    def step(x1, x2, temperature=0.5):
        loss = nt_xent(head(encoder(x1)), head(encoder(x2)), temperature)
        model.cleargrads()
        loss.backward()
        opt.update()
        return loss.item()

    def run(n, **kw):
        return step(arr(n, 4), arr(n, 4, seed=1), **kw)
    return [model], [lambda: run(3), lambda: run(4), lambda: run(3, temperature=0.1)]


def deep_sets(wrap):
    phi, rho = MLP(2, 6, 6), MLP(6, 6, 1)
    model = hnn.Chain(phi=phi, rho=rho)
    opt = optimizers.Adam().setup(model)

    @wrap
    def step(sets, ys):
        lengths = [len(s) for s in sets]
        ends = np.cumsum(lengths)
        h = model.phi(np.concatenate(sets))
        pooled = F.stack([F.sum(h[end - n:end], axis=0) for end, n in zip(ends, lengths)])
        loss = F.mean_squared_error(model.rho(pooled), ys)
        model.cleargrads()
        loss.backward()
        opt.update()
        return loss.array

    def run(*lengths):
        return step([arr(n, 2, seed=n) for n in lengths], arr(len(lengths), 1))
    return [model], [lambda: run(2, 3), lambda: run(3, 2), lambda: run(4)]


def tied_autoencoder(wrap):
    class Tied(hnn.Chain):
        def __init__(self, n_in, n_hidden):
            super().__init__()
            with self.init_scope():
                self.encoder = L.Linear(n_in, n_hidden)
                self.bias = hnn.Parameter(0, (n_in,))

        @property
        def W(self):
            return self.encoder.W

        def forward(self, x):
            noisy = F.dropout(x, 0.2)
            h = F.sigmoid(self.encoder(noisy))
            return F.sigmoid(F.linear(h, self.W.T, self.bias)), h
    net = Tied(4, 3)
    opt = optimizers.AdaDelta().setup(net)

    @wrap
    def step(x, rho=0.05, weight=0.1):
        y, h = net(x)
        rho_hat = F.mean(h, axis=0)
        sparse = F.sum(rho * F.log(rho / rho_hat) + (1 - rho) * F.log((1 - rho) / (1 - rho_hat)))
        loss = F.mean_squared_error(y, x) + weight * sparse
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return [net], [lambda: step(np.abs(arr(3, 4))), lambda: step(np.abs(arr(2, 4))), lambda: step(np.abs(arr(3, 4)), weight=0.2)]


def ensemble(wrap):
    class Ensemble(hnn.ChainList):
        def __init__(self, n):
            super().__init__(*(MLP(3, 5, 2) for _ in range(n)))

        def forward(self, x):
            return [net(x) for net in self]
    models = Ensemble(3)
    opts = [optimizers.SGD(0.1 * (k + 1)).setup(m) for k, m in enumerate(models)]

    @wrap
    def step(x, t):
        losses = []
        for k, (y, opt) in enumerate(zip(models(x), opts)):
            loss = F.softmax_cross_entropy(y, t)
            models[k].cleargrads()
            loss.backward()
            opt.update()
            losses.append(loss)
        probs = sum(F.softmax(net(x)) for net in models) / len(models)
        return [float(v.array) for v in losses], F.accuracy(probs, t).item()
    return [models], [lambda: step(arr(4, 3), labels(4)), lambda: step(arr(3, 3), labels(3))]


def multi_task(wrap):
    class MultiTask(hnn.Chain):
        tasks = ("color", "size")

        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.trunk = L.Linear(3, 6)
                for k, name in enumerate(self.tasks):
                    self.add_link(f"head_{name}", L.Linear(6, 2 + k))
                self.log_vars = hnn.Parameter(np.zeros(2, "f"))

        def forward(self, x):
            h = F.relu(self.trunk(x))
            return {name: self["head_" + name](h) for name in self.tasks}
    net = MultiTask()
    opt = optimizers.Adam().setup(net)

    @wrap
    def step(x, targets):
        ys = net(x)
        losses = {name: F.softmax_cross_entropy(ys[name], targets[name]) for name in net.tasks}
        total = 0
        for i, loss in enumerate(losses.values()):
            total += F.exp(-net.log_vars[i]) * loss + net.log_vars[i]
        net.cleargrads()
        total.backward()
        opt.update()
        hnn.report({f"{name}/loss": loss for name, loss in losses.items()}, net)
        hnn.report({f"{name}/accuracy": F.accuracy(ys[name], targets[name]) for name in ys}, net)
        return total

    def run(n):
        return step(arr(n, 3), {"color": labels(n), "size": labels(n, 3)})
    return [net], [lambda: run(4), lambda: run(3)]


def ema_teacher(wrap):
    class MeanTeacher:
        def __init__(self):
            self.student, self.teacher = MLP(3, 6, 2), MLP(3, 6, 2)
            self.teacher.copyparams(self.student)
            self.opt = optimizers.Adam().setup(self.student)
            self.step = 0

        def update_teacher(self, alpha=0.9):
            alpha = min(1 - 1 / (self.step + 1), alpha)
            for p, q in zip(self.student.params(), self.teacher.params()):
                q.data *= alpha
                q.data += (1 - alpha) * p.data

        @wrap
        def __call__(self, x, t, unlabeled):
            with hnn.no_backprop_mode():
                soft = F.softmax(self.teacher(unlabeled))
            loss = F.softmax_cross_entropy(self.student(x), t) + F.mean_squared_error(F.softmax(self.student(unlabeled)), soft)
            self.student.cleargrads()
            loss.backward()
            self.opt.update()
            self.step += 1
            self.update_teacher()
            return loss.array
    teacher = MeanTeacher()
    return [teacher], [lambda: teacher(arr(4, 3), labels(4), arr(5, 3)), lambda: teacher(arr(3, 3), labels(3), arr(5, 3))]


def weight_decay(wrap):
    """A penalty and a gradient clipping by hand."""
    net = MLP(3, 6, 2)
    opt = optimizers.SGD(0.1).setup(net)

    @wrap
    def step(x, t, decay=1e-3, threshold=1.0):
        loss = F.softmax_cross_entropy(net(x), t)
        loss += decay * sum(F.sum(p * p) for p in net.params() if p.ndim > 1)
        net.cleargrads()
        loss.backward()
        norm = np.sqrt(sum(np.sum(p.grad ** 2) for p in net.params()))
        if norm > threshold:
            for p in net.params():
                p.grad *= threshold / norm
        opt.update()
        return loss.array, norm
    return [net], [lambda: step(arr(4, 3), labels(4)), lambda: step(arr(3, 3), labels(3)), lambda: step(arr(4, 3) * 10, labels(4))]


def by_hand(wrap):
    """Gradient descent with momentum, without an optimizer."""
    net = MLP(3, 6, 1)
    velocity = {name: np.zeros_like(p.array) for name, p in net.namedparams()}

    @wrap
    def step(x, t, lr=0.05, momentum=0.9):
        loss = F.mean_squared_error(net(x), t)
        net.cleargrads()
        loss.backward()
        for name, p in net.namedparams():
            v = velocity[name]
            v *= momentum
            v -= lr * p.grad
            p.array += v
        return loss.array
    return [net, velocity], [lambda: step(arr(4, 3), arr(4, 1)), lambda: step(arr(4, 3), arr(4, 1), lr=0.01), lambda: step(arr(3, 3), arr(3, 1))]


def schedule(wrap):
    """A learning rate that is computed from a counter; options in a dataclass."""
    @dataclass
    class Options:
        base: float = 0.1
        warmup: int = 20
        decay: float = 0.99

    class Learner:
        def __init__(self, options):
            self.options, self.net, self.t = options, MLP(3, 6, 2), 0
            self.opt = optimizers.MomentumSGD(options.base).setup(self.net)

        @property
        def rate(self):
            o = self.options
            return o.base * min(1.0, (self.t + 1) / o.warmup) * o.decay ** self.t

        @wrap
        def learn(self, x, t):
            self.opt.lr = self.rate
            loss = F.softmax_cross_entropy(self.net(x), t)
            self.net.cleargrads()
            loss.backward()
            self.opt.update()
            self.t += 1
            return loss.array
    learner = Learner(Options())
    return [learner, learner.opt.hyperparam], [lambda: learner.learn(arr(4, 3), labels(4)), lambda: learner.learn(arr(3, 3), labels(3))]


class Batch(NamedTuple):
    x: np.ndarray
    t: np.ndarray


def accumulation(wrap):
    """Gradients of several small batches, NamedTuples, an assertion on shapes, ``functools.partial``, a ``with`` block of the user's."""
    net = L.Classifier(MLP(3, 6, 2), lossfun=functools.partial(F.softmax_cross_entropy, normalize=True))
    opt = optimizers.Adam().setup(net)

    @contextlib.contextmanager
    def evaluating(on):
        old = net.compute_accuracy
        net.compute_accuracy = not on
        try:
            yield net
        finally:
            net.compute_accuracy = old

    @wrap
    def step(batches):
        net.cleargrads()
        total = 0.0
        with evaluating(True) as model:
            for batch in batches:
                x, t = batch
                assert x.ndim == 2 and x.shape[0] == t.shape[0], f"{x.shape} against {t.shape}"
                loss = model(x, t) / len(batches)
                loss.backward()
                total += float(loss.array)
        opt.update()
        return total

    def run(n, rows):
        return step([Batch(arr(rows, 3, seed=k), labels(rows, 2, k)) for k in range(n)])
    return [net], [lambda: run(2, 3), lambda: run(3, 3), lambda: run(2, 4)]


def convnet(wrap):
    """Layers by formatted names, a residual block with ``super().forward``, modes by ``match``."""
    class Block(hnn.Chain):
        def __init__(self, c):
            super().__init__()
            with self.init_scope():
                self.conv, self.bn = L.Convolution2D(c, c, 3, pad=1), L.BatchNormalization(c)

        def forward(self, x):
            return self.bn(self.conv(x))

    class Residual(Block):
        def forward(self, x):
            return F.relu(super().forward(x) + x)

    class Net(hnn.Chain):
        def __init__(self, n=2, pool="max"):
            super().__init__()
            self.n, self.pool = n, pool
            with self.init_scope():
                self.stem, self.fc = L.Convolution2D(1, 3, 3, pad=1), L.Linear(3, 2)
                for i in range(n):
                    setattr(self, "block%d" % i, Residual(3))      # noqa: UP031

        def forward(self, x):
            h = F.relu(self.stem(x))
            for i in range(self.n):
                h = self["block%d" % i](h)      # noqa: UP031
                h = F.max_pooling_2d(h, 2) if i == 0 else h
            match self.pool:
                case "max":
                    h = F.max(h, axis=(2, 3))
                case "mean":
                    h = F.mean(h, axis=(2, 3))
            return self.fc(h)
    model = L.Classifier(Net())
    opt = optimizers.NesterovAG(0.01).setup(model)

    @wrap
    def step(x, t):
        loss = model(x, t)
        model.cleargrads()
        loss.backward()
        opt.update()
        return loss.array, model.accuracy.array

    def other():
        model.predictor.pool = "mean"
        result = step(arr(3, 1, 4, 4), labels(3))
        model.predictor.pool = "max"
        return result
    return [model], [lambda: step(arr(3, 1, 4, 4), labels(3)), lambda: step(arr(2, 1, 4, 4), labels(2)), other]


def transformer(wrap):
    class Block(hnn.Chain):
        def __init__(self, d, heads):
            super().__init__()
            self.heads = heads
            with self.init_scope():
                self.qkv, self.out = L.Linear(d, 3 * d), L.Linear(d, d)
                self.ln1, self.ln2 = L.LayerNormalization(d), L.LayerNormalization(d)
                self.ff = hnn.Sequential(L.Linear(d, 2 * d), F.gelu, L.Linear(2 * d, d))

        def attention(self, x, mask):
            b, t, d = x.shape
            qkv = F.reshape(self.qkv(x, n_batch_axes=2), (b, t, 3, self.heads, d // self.heads))
            q, k, v = [F.transpose(qkv[:, :, i], (0, 2, 1, 3)) for i in range(3)]
            scores = F.matmul(q, k, transb=True) / (d // self.heads) ** 0.5
            scores = F.where(F.broadcast_to(mask, scores.shape), scores, self.xp.full(scores.shape, -1e9, scores.dtype))
            y = F.transpose(F.matmul(F.softmax(scores, axis=-1), v), (0, 2, 1, 3))
            return self.out(F.reshape(y, (b, t, d)), n_batch_axes=2)

        def forward(self, x, mask):
            b, t, d = x.shape
            x = x + self.attention(F.reshape(self.ln1(F.reshape(x, (-1, d))), (b, t, d)), mask)
            return x + F.reshape(self.ff(self.ln2(F.reshape(x, (-1, d)))), (b, t, d))

    class Model(hnn.Chain):
        def __init__(self, vocab=6, d=4, n=2):
            super().__init__()
            with self.init_scope():
                self.embed, self.pos = L.EmbedID(vocab, d), L.EmbedID(8, d)
                self.blocks = hnn.ChainList(*[Block(d, 2) for _ in range(n)])
                self.head = L.Linear(d, vocab)

        def forward(self, ids):
            b, t = ids.shape
            mask = np.tril(np.ones((t, t), bool))[None, None]
            h = self.embed(ids) + self.pos(np.arange(t, dtype="i"))
            for block in self.blocks:
                h = block(h, mask)
            return self.head(h, n_batch_axes=2)
    model = Model()
    opt = optimizers.Adam(alpha=1e-3, weight_decay_rate=1e-2).setup(model)

    @wrap
    def step(ids):
        logits = model(ids[:, :-1])
        loss = F.softmax_cross_entropy(F.reshape(logits, (-1, logits.shape[-1])), ids[:, 1:].reshape(-1))
        model.cleargrads()
        loss.backward()
        opt.update()
        return float(loss.array)

    def ids(b, t):
        return np.random.RandomState(0).randint(0, 6, (b, t)).astype("i")
    return [model], [lambda: step(ids(2, 4)), lambda: step(ids(2, 5)), lambda: step(ids(3, 4))]


def counted(wrap):
    """Counters that are globals and cells, a timer as a ``with`` block, a decorator, a log with f-strings every few calls."""
    net = L.Classifier(MLP(3, 5, 2))
    opt = optimizers.Adam().setup(net)
    seen = 0
    log = {"calls": 0, "losses": [0.0, 0.0]}

    class Phase:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            log["phase"] = self.name
            return self

        def __exit__(self, *exc):
            log["phase"] = None

    def checked(fn):
        @functools.wraps(fn)
        def inner(*args, **kwargs):
            assert len(args) == 2, f"{fn.__name__} takes 2 arguments, got {len(args)}"
            return fn(*args, **kwargs)
        return inner

    @checked
    def compute(x, t):
        return net(x, t)

    @wrap
    def step(x, t):
        nonlocal seen
        with Phase("train"):
            loss = compute(x, t)
            net.cleargrads()
            loss.backward()
            opt.update()
        seen += len(x)
        log["calls"] += 1
        log["losses"][0] = float(loss.array)
        return loss.array, seen
    return [net, log], [lambda: step(arr(4, 3), labels(4)), lambda: step(arr(3, 3), labels(3))]


def siamese(wrap):
    """Triplets, distances, star-arguments, a generator, a walrus."""
    net = MLP(4, 6, 3)
    opt = optimizers.Adam().setup(net)

    def embedded(*xs):
        for x in xs:
            yield F.normalize(net(x))

    @wrap
    def step(anchor, positive, negative, margin=0.2):
        a, p, n = embedded(anchor, positive, negative)
        near, far = (F.sum((a - b) ** 2, axis=1) for b in (p, n))
        if (size := len(near)) > 0:
            loss = F.sum(F.relu(near - far + margin)) / size
        net.cleargrads()
        loss.backward()
        opt.update()
        return {"loss": loss.array, "accuracy": float((near.array < far.array).mean())}

    def run(n, **kw):
        return step(*[arr(n, 4, seed=k) for k in range(3)], **kw)
    return [net], [lambda: run(3), lambda: run(4), lambda: run(3, margin=0.5)]


def byol(wrap):
    """A network that predicts a moving average of itself."""
    class BYOL:
        def __init__(self):
            self.online, self.target, self.head = MLP(4, 6, 3), MLP(4, 6, 3), MLP(3, 4, 3)
            self.target.copyparams(self.online)
            self.params = hnn.ChainList(self.online, self.head)
            self.opt = optimizers.MomentumSGD(0.05).setup(self.params)
            self.rate = lambda t: 1 - (1 - 0.9) * (np.cos(np.pi * t / 100) + 1) / 2
            self.t = 0

        def loss(self, x1, x2):
            with hnn.no_backprop_mode():
                z = F.normalize(self.target(x2))
            return 2 - 2 * F.mean(F.sum(F.normalize(self.head(self.online(x1))) * z, axis=1))

        @wrap
        def step(self, x1, x2):
            loss = self.loss(x1, x2) + self.loss(x2, x1)
            self.params.cleargrads()
            loss.backward()
            self.opt.update()
            m = self.rate(self.t)
            for p, q in zip(self.online.params(), self.target.params()):
                q.array = m * q.array + (1 - m) * p.array
            self.t += 1
            return loss.array
    net = BYOL()
    return [net], [lambda: net.step(arr(3, 4), arr(3, 4, seed=1)), lambda: net.step(arr(4, 4), arr(4, 4, seed=1))]


def user_function(wrap):
    """A function of the user's with a gradient of its own."""
    class StraightThrough(hnn.FunctionNode):
        def forward(self, inputs):
            x, = inputs
            return np.sign(x),

        def backward(self, indexes, grads):
            return grads[0],

    def binarize(x):
        return StraightThrough().apply((x,))[0]
    net = hnn.ChainList(L.Linear(3, 6), L.Linear(6, 2))
    opt = optimizers.Adam().setup(net)

    @wrap
    def step(x, t):
        h = binarize(net[0](x))
        loss = F.softmax_cross_entropy(net[1](h), t)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss.array
    return [net], [lambda: step(arr(4, 3), labels(4)), lambda: step(arr(3, 3), labels(3))]


def norms(wrap):
    """Statistics of all parameters, by name, after each step."""
    class Trainer:
        def __init__(self, net):
            self.net, self.best, self.seen = net, float("inf"), []
            self.opt = optimizers.Adam().setup(net)

        @wrap
        def train(self, x, t):
            loss = F.softmax_cross_entropy(self.net(x), t)
            self.net.cleargrads()
            loss.backward()
            stats = {f"grad{name}": float(np.linalg.norm(p.grad)) for name, p in self.net.namedparams()}
            self.opt.update()
            stats.update({f"size{name}": float(np.abs(p.array).max()) for name, p in sorted(self.net.namedparams())})
            stats["n"] = sum(p.size for p in self.net.params())
            return loss.item(), stats
    trainer = Trainer(MLP(3, 5, 2))
    return [trainer], [lambda: trainer.train(arr(4, 3), labels(4)), lambda: trainer.train(arr(3, 3), labels(3))]


IDIOMS = {f.__name__: f for f in (seq2seq, tree_lstm, language_model, distillation, mixup, label_smoothing, simclr, deep_sets, tied_autoencoder, ensemble,
                                  multi_task, ema_teacher, weight_decay, by_hand, schedule, accumulation, convnet, transformer, counted, siamese, byol,
                                  user_function, norms)}
