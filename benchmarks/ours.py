"""The ten workloads in hybridnn: a call is one full step as a user would write it.

usage: ours.py {eager,trace} [workload ...]
"""

import sys
from functools import partial

from common import BLOCK, CHAIN, CNN, LNGELU, LSTM, MLPS, PINN, labels, names_from, normal, pairs, report

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L


def training_step(model, loss_of, optimizer, trace):
    """Zero the gradients, loss, backward, update: traced as a whole."""
    optimizer.setup(model)

    def step(*batch):
        loss = loss_of(*batch)
        model.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    return trace(step)


def perceptron(widths, activation):
    layers = [layer for a, b in pairs(widths) for layer in (L.Linear(a, b), activation)]
    return hnn.Sequential(*layers[:-1])


def mlp(name, trace):
    widths, batch = MLPS[name]
    net = perceptron(widths, F.relu)
    x, t = normal(batch, widths[0]), labels(widths[-1], batch).astype("i")
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net(x), t), hnn.optimizers.Adam(), trace)
    return lambda: step(x, t)


def elementwise(x):
    return F.tanh(1.5 * x + 0.5) * F.sigmoid(x) + F.relu(x) - F.exp(-x * x)


def chain(trace):
    x, f = hnn.Variable(normal(CHAIN)), trace(elementwise)

    def forward():
        with hnn.no_backprop_mode():
            return f(x).array
    return forward


def chain_grad(trace):
    x = hnn.Variable(normal(CHAIN))

    @trace
    def value_and_grad(x):
        loss = F.sum(elementwise(x))
        x.cleargrad()
        loss.backward()
        return loss, x.grad_var
    return lambda: value_and_grad(x)[1].array


def lngelu(trace):
    width = LNGELU["width"]
    net = hnn.Sequential(L.LayerNormalization(width), L.Linear(width, 4 * width), F.gelu, L.Linear(4 * width, width))
    x = normal(LNGELU["batch"], width)
    step = training_step(net, lambda x: F.mean((x + net(x)) ** 2), hnn.optimizers.SGD(0.01), trace)
    return lambda: step(x)


class LanguageModel(hnn.Chain):
    """Embedding, one LSTM cell unrolled by a Python loop, output layer; summed cross entropy."""

    def __init__(self, vocabulary, hidden):
        super().__init__()
        with self.init_scope():
            self.embed = L.EmbedID(vocabulary, hidden)
            self.cell = L.StatelessLSTM(hidden, hidden)
            self.out = L.Linear(hidden, vocabulary)

    def forward(self, xs, ts):
        c = h = None
        loss = 0
        for x, t in zip(xs, ts):
            c, h = self.cell(c, h, self.embed(x))
            loss += F.softmax_cross_entropy(self.out(h), t)
        return loss


def lstm(trace):
    net = LanguageModel(LSTM["vocabulary"], LSTM["hidden"])
    xs, ts = (labels(LSTM["vocabulary"], LSTM["steps"], LSTM["batch"]).astype("i") for _ in range(2))
    step = training_step(net, net, hnn.optimizers.SGD(0.01), trace)
    return lambda: step(xs, ts)


def cnn(trace):
    def conv(i, o):
        return L.Convolution2D(i, o, 3, pad=1), L.BatchNormalization(o), F.relu

    def pool(h):
        return F.max_pooling_2d(h, 2)

    def flat(h):
        return F.reshape(h, (h.shape[0], -1))
    (a, b, c, d), side = CNN["channels"], CNN["size"]
    net = hnn.Sequential(*conv(a, b), *conv(b, c), pool, *conv(c, d), pool, flat, L.Linear(d * (side // 4) ** 2, CNN["classes"]))
    x, t = normal(CNN["batch"], a, side, side), labels(CNN["classes"], CNN["batch"]).astype("i")
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net(x), t), hnn.optimizers.MomentumSGD(0.01), trace)
    return lambda: step(x, t)


class Block(hnn.Chain):
    """A pre-norm transformer block."""

    def __init__(self, width, heads, activation=F.gelu):
        super().__init__()
        self.heads, self.activation = heads, activation
        with self.init_scope():
            self.norm1, self.norm2 = L.LayerNormalization(width), L.LayerNormalization(width)
            self.qkv, self.out = L.Linear(width, 3 * width), L.Linear(width, width)
            self.up, self.down = L.Linear(width, 4 * width), L.Linear(4 * width, width)

    def attend(self, h, batch, steps, width):
        heads = F.reshape(self.qkv(h), (batch, steps, 3, self.heads, width // self.heads))
        q, k, v = F.separate(F.transpose(heads, (2, 0, 3, 1, 4)))
        weights = F.softmax(F.matmul(q, k, transb=True) / (width // self.heads) ** 0.5, axis=-1)
        return self.out(F.reshape(F.transpose(F.matmul(weights, v), (0, 2, 1, 3)), (batch * steps, width)))

    def forward(self, x):
        h = F.reshape(x, (-1, x.shape[-1]))
        h = h + self.attend(self.norm1(h), *x.shape)
        h = h + self.down(self.activation(self.up(self.norm2(h))))
        return F.reshape(h, x.shape)


def block(trace):
    net = Block(BLOCK["width"], BLOCK["heads"])
    x = hnn.Variable(normal(BLOCK["batch"], BLOCK["steps"], BLOCK["width"]))
    step = training_step(net, lambda x: F.mean(net(x) ** 2), hnn.optimizers.Adam(), trace)
    return lambda: step(x)


def pinn(trace):
    """Residual of Burgers' equation: second derivatives inside the loss."""
    net = perceptron(PINN["widths"], F.tanh)
    x = hnn.Variable(normal(PINN["batch"], 2))

    def residual(x):
        u = net(x)
        g, = hnn.grad([F.sum(u)], [x], enable_double_backprop=True)
        gg, = hnn.grad([F.sum(g[:, 0])], [x], enable_double_backprop=True)
        return F.mean((g[:, 1] + u[:, 0] * g[:, 0] - 0.01 * gg[:, 0]) ** 2)
    step = training_step(net, residual, hnn.optimizers.Adam(), trace)
    return lambda: step(x)


def builders(trace):
    plain = {f.__name__: partial(f, trace) for f in (chain, chain_grad, lngelu, lstm, cnn, block, pinn)}
    return plain | {name: partial(mlp, name, trace) for name in MLPS}


if __name__ == "__main__":
    mode, names = sys.argv[1], names_from(sys.argv[2:])
    trace = {"trace": hnn.trace, "eager": lambda f: f}[mode]
    with hnn.using_config("trace_compile", "sync"):     # nothing compiles in the background of a measurement
        failures = report(mode, builders(trace), names)
    sys.exit(failures > 0)
