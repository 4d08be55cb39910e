"""More workloads in hybridnn, of the kinds that people prototype: a call is one full step as a user would write it. `more_jax.py` has the same in JAX.

usage: more_ours.py {eager,trace} [workload ...]
"""

import sys

import numpy as np
from common import labels, normal, report
from ours import Block, perceptron, training_step

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

adam, sgd = hnn.optimizers.Adam, hnn.optimizers.SGD


class Model(hnn.Chain):
    """Links and parameters by name."""

    def __init__(self, **members):
        super().__init__()
        with self.init_scope():
            for name, member in members.items():
                setattr(self, name, member)


def integers(high, *shape):
    return labels(high, *shape).astype("i")


def inference(net, trace, *xs):
    f = trace(lambda *xs: net(*xs))

    def forward():
        with hnn.no_backprop_mode(), hnn.using_config("train", False):
            return f(*xs)
    return forward


# ---------------------------------------------------------------------------------------------------------------- reinforcement learning

def dqn(trace):
    """Double Q-learning with a target network, batch 64."""
    q, target = (perceptron((8, 128, 128, 4), F.relu) for _ in range(2))

    def loss_of(s, after, action, reward, done):
        with hnn.no_backprop_mode():
            best = F.argmax(q(after), axis=1)
            y = reward + 0.99 * (1 - done) * F.select_item(target(after), best)
        return F.mean(F.huber_loss(F.select_item(q(s), action), y, 1.0, reduce="no"))
    step = training_step(q, loss_of, adam(), trace)
    batch = normal(64, 8), normal(64, 8), integers(4, 64), normal(64), np.zeros(64, "f")
    return lambda: step(*batch)


def a2c(trace):
    """Advantage actor-critic, 40 steps."""
    net = Model(body=perceptron((4, 64, 64), F.tanh), policy=L.Linear(64, 2), value=L.Linear(64, 1))

    def loss_of(x, action, reward):
        h = F.tanh(net.body(x))
        log_p, v = F.log_softmax(net.policy(h)), net.value(h)[:, 0]
        entropy = -F.sum(F.exp(log_p) * log_p, axis=1)
        return F.mean(0.5 * (reward - v) ** 2 - F.select_item(log_p, action) * (reward - v.array) - 0.01 * entropy)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(40, 4), integers(2, 40), normal(40)
    return lambda: step(*batch)


def ppo(trace):
    """Clipped objective of a Gaussian policy, batch 64."""
    net = Model(body=perceptron((17, 64, 64), F.tanh), mean=L.Linear(64, 6), log_std=hnn.Parameter(np.zeros(6, "f")), value=L.Linear(64, 1))

    def loss_of(x, action, old, advantage, target):
        h = F.tanh(net.body(x))
        mean = net.mean(h)
        log_std = F.broadcast_to(net.log_std, mean.shape)
        log_p = F.sum(-0.5 * ((action - mean) / F.exp(log_std)) ** 2 - log_std - 0.919, axis=1)
        ratio = F.exp(log_p - old)
        gain = F.mean(F.minimum(ratio * advantage, F.clip(ratio, 0.8, 1.2) * advantage))
        return 0.5 * F.mean((net.value(h)[:, 0] - target) ** 2) - gain - 0.01 * F.sum(net.log_std)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(64, 17), normal(64, 6), normal(64), normal(64), normal(64)
    return lambda: step(*batch)


def lstm_policy(trace):
    """One step of a recurrent policy, without gradients, batch 1."""
    net = Model(cell=L.LSTM(32, 128), out=L.Linear(128, 6))
    return inference(lambda x: net.out(net.cell(x)), trace, normal(1, 32))


def soft_actor_critic(trace):
    """Two critics with target networks, a squashed Gaussian policy and its temperature, batch 128."""
    policy, log_alpha = perceptron((17, 128, 128, 12), F.relu), hnn.Parameter(np.zeros((), "f"))
    critics, targets = (hnn.ChainList(*[perceptron((23, 128, 128, 1), F.relu) for _ in range(2)]) for _ in range(2))
    temperature = Model(log_alpha=log_alpha)
    optimizers = [(net, adam(3e-4).setup(net)) for net in (critics, policy, temperature)]

    def sample(s):
        mean, log_std = F.split_axis(policy(s), 2, axis=1)
        noise = np.random.standard_normal(mean.shape).astype("f")
        a = F.tanh(mean + F.exp(log_std) * noise)
        return a, F.sum(-0.5 * noise ** 2 - log_std - F.log(1.001 - a * a), axis=1)

    def least(nets, s, a):
        first, second = (net(F.concat([s, a], axis=1))[:, 0] for net in nets)
        return F.minimum(first, second)

    def descend(loss, net, optimizer):
        net.cleargrads()
        loss.backward()
        optimizer.update()

    @trace
    def step(s, a, reward, after):
        with hnn.no_backprop_mode():
            alpha = F.exp(log_alpha)
            a_after, log_p = sample(after)
            y = reward + 0.99 * (least(targets, after, a_after) - alpha * log_p)
        loss = sum(F.mean((q(F.concat([s, a], axis=1))[:, 0] - y) ** 2) for q in critics)
        descend(loss, *optimizers[0])
        chosen, log_p = sample(s)
        descend(F.mean(alpha * log_p - least(critics, s, chosen)), *optimizers[1])
        descend(-F.mean(log_alpha * (log_p.array - 6)), *optimizers[2])
        for p, q in zip(targets.params(), critics.params()):
            p.array[...] = 0.995 * p.array + 0.005 * q.array
        return loss
    batch = normal(128, 17), normal(128, 6), normal(128), normal(128, 17)
    return lambda: step(*batch)


# ------------------------------------------------------------------------------------------------------------------------------ sequences

def gru(trace):
    """A language model's GRU over 20 steps, batch 32, hidden 256."""
    net = Model(cell=L.StatefulGRU(128, 256), out=L.Linear(256, 50))

    def loss_of(x, t):
        net.cell.reset_state()
        return sum(F.softmax_cross_entropy(net.out(net.cell(x[k])), t[k]) for k in range(20))
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(20, 32, 128), integers(50, 20, 32)
    return lambda: step(*batch)


def seq2seq(trace):
    """Encoder and decoder, 12 steps each, batch 16."""
    net = Model(embed=L.EmbedID(50, 64), encoder=L.LSTM(64, 64), decoder=L.LSTM(64, 64), out=L.Linear(64, 50))

    def loss_of(x, t):
        net.encoder.reset_state()
        for k in range(12):
            net.encoder(net.embed(x[k]))
        net.decoder.set_state(net.encoder.c, net.encoder.h)
        return sum(F.softmax_cross_entropy(net.out(net.decoder(net.embed(t[k - 1]))), t[k]) for k in range(12))
    step = training_step(net, loss_of, adam(), trace)
    batch = integers(50, 12, 16), integers(50, 12, 16)
    return lambda: step(*batch)


def tcn(trace):
    """Causal dilated convolutions over 128 steps, batch 16."""
    net = Model(out=L.Linear(32, 1), **{f"conv{k}": L.Convolution1D(32 if k else 8, 32, 3, dilate=2**k) for k in range(4)})

    def loss_of(x, t):
        for k in range(4):
            x = F.relu(net[f"conv{k}"](F.pad(x, ((0, 0), (0, 0), (2 * 2**k, 0)), "constant")))
        return F.mean_squared_error(net.out(x[:, :, -1]), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(16, 8, 128), normal(16, 1)
    return lambda: step(*batch)


def wavenet(trace):
    """Gated dilated convolutions with skip connections over 256 steps, batch 8."""
    def conv(i, o, width, dilate=1):
        return L.Convolution1D(i, o, width, dilate=dilate, nobias=True)
    net = Model(first=conv(16, 32, 1), last=conv(32, 32, 1), **{f"gate{k}": conv(32, 64, 2, 2**k) for k in range(6)},
                **{f"mix{k}": conv(32, 32, 1) for k in range(6)})

    def loss_of(x, t):
        h, skip = net.first(x), 0
        for k in range(6):
            a, b = F.split_axis(net[f"gate{k}"](F.pad(h, ((0, 0), (0, 0), (2**k, 0)), "constant")), 2, axis=1)
            g = net[f"mix{k}"](F.tanh(a) * F.sigmoid(b))
            h, skip = h + g, skip + g
        return F.softmax_cross_entropy(net.last(F.relu(skip)), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(8, 16, 256), integers(32, 8, 256)
    return lambda: step(*batch)


def crf(trace):
    """A linear-chain conditional random field with nine labels, 20 steps, batch 16."""
    net = Model(scores=L.Linear(9, 9, nobias=True), chain=L.CRF1d(9))

    def loss_of(x, t):
        scores = F.reshape(net.scores(x.reshape(320, 9)), (16, 20, 9))
        return net.chain([scores[:, k] for k in range(20)], [t[:, k] for k in range(20)])
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(16, 20, 9), integers(9, 16, 20)
    return lambda: step(*batch)


def kalman(trace):
    """The log likelihood of a Kalman filter with four states over 50 steps."""
    dynamics, noise, observe = normal(4, 4), np.eye(4, dtype="f") * 0.1, normal(2, 4)
    net = Model(change=hnn.Parameter(np.zeros((4, 4), "f")), log_r=hnn.Parameter(np.zeros((), "f")))
    two, four = np.eye(2, dtype="f"), np.eye(4, dtype="f")

    def loss_of(ys):
        x, p, loss = hnn.Variable(np.zeros((4, 1), "f")), hnn.Variable(four), 0
        f, r = dynamics + net.change, two * F.broadcast_to(F.exp(net.log_r), (2, 2))
        for k in range(50):
            x, p = f @ x, f @ p @ f.T + noise
            inverse, v = F.inv(observe @ p @ observe.T + r), ys[k][:, None] - observe @ x
            gain = p @ observe.T @ inverse
            x, p = x + gain @ v, p - gain @ (observe @ p)
            loss += F.sum(v.T @ inverse @ v) - F.log(F.det(inverse))
        return loss
    step = training_step(net, loss_of, adam(), trace)
    ys = normal(50, 2)
    return lambda: step(ys)


def attention(trace):
    """Two blocks of width 64 over 32 steps, batch 16."""
    net = Model(blocks=hnn.Sequential(Block(64, 4, F.relu), Block(64, 4, F.relu)), out=L.Linear(64, 10))
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net.out(F.mean(net.blocks(x), axis=1)), t), adam(), trace)
    batch = normal(16, 32, 64), integers(10, 16)
    return lambda: step(*batch)


def state_space(trace):
    """A selective state space layer (Mamba) of width 32 with eight states, 32 steps, batch 8."""
    net = Model(into=L.Linear(32, 64, nobias=True), select=L.Linear(32, 48), log_a=hnn.Parameter(np.log(np.tile(np.arange(1, 9, dtype="f"), (32, 1)))),
                skip=hnn.Parameter(np.ones(32, "f")), back=L.Linear(32, 32), out=L.Linear(32, 10))

    def loss_of(x, t):
        u, gate = F.split_axis(net.into(x.reshape(256, 32)), 2, axis=1)
        u = F.silu(u)
        rate, b, c = (F.reshape(v, (8, 32, -1)) for v in F.split_axis(net.select(u), (32, 40), axis=1))
        rate, us, a, h, ys = F.softplus(rate), F.reshape(u, (8, 32, 32)), -F.exp(net.log_a), np.zeros((8, 32, 8), "f"), []
        for k in range(32):
            wide = F.broadcast_to(rate[:, k, :, None], h.shape)
            h = F.exp(wide * a) * h + wide * us[:, k, :, None] * b[:, k, None]
            ys.append(F.sum(h * F.broadcast_to(c[:, k, None], h.shape), axis=2))
        y = (F.reshape(F.stack(ys, axis=1), (256, 32)) + u * net.skip) * F.silu(gate)
        return F.softmax_cross_entropy(net.out(F.mean(F.reshape(net.back(y), (8, 32, 32)), axis=1)), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(8, 32, 32), integers(10, 8)
    return lambda: step(*batch)


def decoder(trace):
    """A decoder block of width 64 as in language models of today (rotary positions, root mean squares, gated units), 32 steps, batch 8."""
    def plain(i, o):
        return L.Linear(i, o, nobias=True)
    net = Model(embed=L.EmbedID(100, 64), norm1=L.RMSNormalization(64), norm2=L.RMSNormalization(64), qkv=plain(64, 192), back=plain(64, 64),
                gate=plain(64, 160), up=plain(64, 160), down=plain(160, 64), out=plain(64, 100))
    angles = np.arange(32)[:, None] / 10000 ** (np.arange(8) / 8)
    cos, sin, future = np.cos(angles).astype("f"), np.sin(angles).astype("f"), np.triu(np.full((32, 32), -1e9, "f"), 1)

    def turned(x):
        a, b = x[..., :8], x[..., 8:]
        return F.concat([a * cos - b * sin, a * sin + b * cos], axis=-1)

    def loss_of(x, t):
        h = net.embed(x.reshape(-1))
        q, k, v = F.separate(F.transpose(F.reshape(net.qkv(net.norm1(h)), (8, 32, 3, 4, 16)), (2, 0, 3, 1, 4)))
        weights = F.softmax(F.matmul(turned(q), turned(k), transb=True) / 4 + future, axis=-1)
        h = h + net.back(F.reshape(F.transpose(F.matmul(weights, v), (0, 2, 1, 3)), (256, 64)))
        y = net.norm2(h)
        return F.softmax_cross_entropy(net.out(h + net.down(F.silu(net.gate(y)) * net.up(y))), t.reshape(-1))
    step = training_step(net, loss_of, adam(), trace)
    batch = integers(100, 8, 32), integers(100, 8, 32)
    return lambda: step(*batch)


def cached_keys(trace):
    """The next word of a language model with two blocks of width 64, whose keys and values of 64 steps are kept."""
    net = Model(embed=L.EmbedID(100, 64), blocks=hnn.ChainList(*[Block(64, 4) for _ in range(2)]), out=L.Linear(64, 100))
    kept, state = np.zeros((2, 2, 4, 64, 16), "f"), {"word": np.array([1], "i"), "at": 0}

    @trace
    def following(word, at):
        h = net.embed(word)
        for block, (keys, values) in zip(net.blocks, kept):
            q, k, v = F.separate(F.reshape(block.qkv(block.norm1(h)), (3, 4, 16)))
            keys[:, at], values[:, at] = k.array, v.array
            scores = F.matmul(keys, q[:, :, None])[:, :, 0] / 4 + np.where(np.arange(64) <= at, 0, -1e9).astype("f")
            h = h + block.out(F.reshape(F.matmul(F.softmax(scores)[:, None], values), (1, 64)))
            h = h + block.down(block.activation(block.up(block.norm2(h))))
        return F.argmax(net.out(h), axis=1).array

    def step():
        with hnn.no_backprop_mode():
            state["word"] = following(state["word"].astype("i"), state["at"])
        state["at"] = (state["at"] + 1) % 64
        return state["word"]
    return step


def warping(trace):
    """The soft distance of two sequences of 12 steps by dynamic programming over a table, behind a linear layer."""
    net = L.Linear(4, 4)

    def loss_of(x, y):
        away = F.sum((net(x)[:, None] - net(y)[None]) ** 2, axis=2)
        cost = {(0, 0): away[0, 0]}
        for i in range(12):
            for j in range(12):
                before = [cost[k] for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if k in cost]
                if before:
                    cost[i, j] = away[i, j] - F.logsumexp(-F.stack(before))
        return cost[11, 11]
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(12, 4), normal(12, 4)
    return lambda: step(*batch)


# --------------------------------------------------------------------------------------------------------------------------------- images

class Residual(hnn.Chain):
    def __init__(self, i, o, stride):
        super().__init__()
        with self.init_scope():
            self.conv1, self.norm1 = L.Convolution2D(i, o, 3, stride, 1, nobias=True), L.BatchNormalization(o)
            self.conv2, self.norm2 = L.Convolution2D(o, o, 3, 1, 1, nobias=True), L.BatchNormalization(o)
            self.short = L.Convolution2D(i, o, 1, stride, nobias=True) if i != o else F.identity

    def forward(self, x):
        return F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))) + self.short(x))


def resnet(trace):
    """Three residual blocks on 32 x 32 images, batch 32."""
    body = hnn.Sequential(L.Convolution2D(3, 16, 3, 1, 1, nobias=True), L.BatchNormalization(16), F.relu, Residual(16, 16, 1), Residual(16, 32, 2),
                          Residual(32, 64, 2))
    net = Model(body=body, out=L.Linear(64, 10))
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net.out(F.mean(net.body(x), axis=(2, 3))), t), sgd(0.01), trace)
    batch = normal(32, 3, 32, 32), integers(10, 32)
    return lambda: step(*batch)


def unet(trace):
    """One level down and up on 64 x 64 images, batch 8."""
    net = Model(first=L.Convolution2D(1, 16, 3, 1, 1), low=L.Convolution2D(16, 32, 3, 1, 1), up=L.Deconvolution2D(32, 16, 2, 2),
                join=L.Convolution2D(32, 16, 3, 1, 1), out=L.Convolution2D(16, 1, 1))

    def loss_of(x, t):
        h = F.relu(net.first(x))
        up = net.up(F.relu(net.low(F.max_pooling_2d(h, 2))))
        return F.sigmoid_cross_entropy(net.out(F.relu(net.join(F.concat([h, up], axis=1)))), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(8, 1, 64, 64), integers(2, 8, 1, 64, 64)
    return lambda: step(*batch)


def autoencoder(trace):
    """Strided convolutions and back on 28 x 28 images, batch 32."""
    net = hnn.Sequential(L.Convolution2D(1, 16, 3, 2, 1), F.relu, L.Convolution2D(16, 32, 3, 2, 1), F.relu, L.Deconvolution2D(32, 16, 2, 2), F.relu,
                         L.Deconvolution2D(16, 1, 2, 2))
    step = training_step(net, lambda x: F.mean_squared_error(net(x), x), adam(), trace)
    x = normal(32, 1, 28, 28)
    return lambda: step(x)


def lenet(trace):
    """Forward only, batch 64."""
    def pool(h):
        return F.max_pooling_2d(h, 2)
    net = hnn.Sequential(L.Convolution2D(1, 20, 5), F.relu, pool, L.Convolution2D(20, 50, 5), F.relu, pool, L.Linear(800, 500), F.relu, L.Linear(500, 10))
    return inference(net, trace, normal(64, 1, 28, 28))


# ----------------------------------------------------------------------------------------------------------------------- generative models

def vae(trace):
    """A variational autoencoder, 784-400-20, batch 128."""
    net = Model(hidden=L.Linear(784, 400), mean=L.Linear(400, 20), log_var=L.Linear(400, 20), back=L.Linear(20, 400), out=L.Linear(400, 784))

    def loss_of(x):
        h = F.tanh(net.hidden(x))
        mean, log_var = net.mean(h), net.log_var(h)
        y = net.out(F.tanh(net.back(F.gaussian(mean, log_var))))
        return (F.bernoulli_nll(x, y) + F.gaussian_kl_divergence(mean, log_var)) / 128
    step = training_step(net, loss_of, adam(), trace)
    x = (normal(128, 784) > 0).astype("f")
    return lambda: step(x)


def gan(trace):
    """A generator and a discriminator of points in the plane, batch 128."""
    g, d = perceptron((16, 64, 64, 2), F.leaky_relu), perceptron((2, 64, 64, 1), F.leaky_relu)
    of_g, of_d = adam().setup(g), adam().setup(d)
    x = normal(128, 2)

    @trace
    def step(x):
        fake = g(np.random.standard_normal((128, 16)).astype("f"))
        loss_d = F.mean(F.softplus(-d(x))) + F.mean(F.softplus(d(fake.array)))
        loss_g = F.mean(F.softplus(-d(fake)))
        for net, loss, optimizer in ((g, loss_g, of_g), (d, loss_d, of_d)):
            net.cleargrads()
            loss.backward()
            optimizer.update()
        return loss_d + loss_g
    return lambda: step(x)


def flow(trace):
    """Six affine couplings of two numbers (RealNVP), batch 256."""
    nets = hnn.ChainList(*[perceptron((1, 64, 64, 2), F.tanh) for _ in range(6)])

    def loss_of(x):
        z, log_det = hnn.Variable(x), 0
        for k, net in enumerate(nets):
            a, b = (z[:, :1], z[:, 1:])[::-1 if k % 2 else 1]
            y = net(a)
            s = F.tanh(y[:, :1])
            b, log_det = b * F.exp(s) + y[:, 1:], log_det + s[:, 0]
            z = F.concat((a, b)[::-1 if k % 2 else 1], axis=1)
        return F.mean(0.5 * F.sum(z ** 2, axis=1) - log_det)
    step = training_step(nets, loss_of, adam(), trace)
    x = normal(256, 2)
    return lambda: step(x)


def mixture(trace):
    """A mixture density network with ten components, batch 256."""
    net = perceptron((1, 64, 64, 30), F.tanh)

    def loss_of(x, t):
        pi, mean, log_std = F.split_axis(net(x), 3, axis=1)
        away = (F.broadcast_to(hnn.as_variable(t), mean.shape) - mean) / F.exp(log_std)
        return -F.mean(F.logsumexp(F.log_softmax(pi) - 0.5 * away ** 2 - log_std, axis=1))
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(256, 1), normal(256, 1)
    return lambda: step(*batch)


def langevin(trace):
    """An energy of points in the plane, whose negative samples take ten steps of Langevin's, batch 128."""
    net = perceptron((2, 64, 64, 1), F.silu)
    optimizer = adam().setup(net)

    @trace
    def step(x, z):
        for _ in range(10):
            v = hnn.Variable(z)
            force, = hnn.grad([F.sum(net(v))], [v])
            z = z - 0.1 * force.array + 0.01 * np.random.standard_normal(z.shape).astype("f")
        low, high = net(x), net(z)
        loss = F.mean(low - high) + 0.1 * F.mean(low ** 2 + high ** 2)
        net.cleargrads()
        loss.backward()
        optimizer.update()
        return loss
    batch = normal(128, 2), normal(128, 2)
    return lambda: step(*batch)


# ---------------------------------------------------------------------------------------------------------------------- graphs and points

def graph_convolution(trace):
    """Two graph convolutions with a dense adjacency of 500 nodes."""
    net = Model(first=L.Linear(64, 32), second=L.Linear(32, 7))
    step = training_step(net, lambda a, x, t: F.softmax_cross_entropy(F.matmul(a, net.second(F.relu(F.matmul(a, net.first(x))))), t), adam(), trace)
    batch = normal(500, 500), normal(500, 64), integers(7, 500)
    return lambda: step(*batch)


def message_passing(trace):
    """Two rounds of messages along 3000 edges of 500 nodes."""
    net = Model(message=L.Linear(64, 32), update=L.Linear(64, 32), out=L.Linear(32, 5))
    nothing = np.zeros((500, 32), "f")

    def loss_of(x, source, target, t):
        h = hnn.Variable(x)
        for _ in range(2):
            messages = F.relu(net.message(F.concat([h[source], h[target]], axis=1)))
            h = F.tanh(net.update(F.concat([h, F.scatter_add(nothing, target, messages)], axis=1)))
        return F.softmax_cross_entropy(net.out(h), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(500, 32), integers(500, 3000), integers(500, 3000), integers(5, 500)
    return lambda: step(*batch)


def pairwise(trace):
    """The energy of 512 points in space and its gradient."""
    x = hnn.Variable(normal(512, 3))

    @trace
    def energy_and_gradient(x):
        d = F.broadcast_to(x[:, None], (512, 512, 3)) - F.broadcast_to(x[None], (512, 512, 3))
        energy = F.sum(1 / F.sqrt(F.sum(d * d, axis=-1) + 0.01))
        x.cleargrad()
        energy.backward()
        return energy, x.grad_var
    return lambda: energy_and_gradient(x)[0]


def graph_attention(trace):
    """A layer with four heads that attend along 1500 edges of 300 nodes."""
    net = Model(first=L.Linear(32, 32, nobias=True), of_source=hnn.Parameter(normal(4, 8)), of_target=hnn.Parameter(normal(4, 8)), out=L.Linear(32, 7))

    def loss_of(x, source, target, t):
        h = F.reshape(net.first(x), (300, 4, 8))
        a, b = (F.sum(h * p, axis=2) for p in (net.of_source, net.of_target))
        weights = F.exp(F.leaky_relu(a[source] + b[target]))
        weights = weights / F.scatter_add(np.zeros((300, 4), "f"), target, weights)[target]
        messages = F.scatter_add(np.zeros((300, 4, 8), "f"), target, h[source] * weights[..., None])
        return F.softmax_cross_entropy(net.out(F.elu(F.reshape(messages, (300, 32)))), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(300, 32), integers(300, 1500), integers(300, 1500), integers(7, 300)
    return lambda: step(*batch)


# --------------------------------------------------------------------------------------------------------------------------------- others

class Spike(hnn.FunctionNode):
    """1 above 0, else 0; its gradient is that of a smooth step."""

    def forward(self, inputs):
        self.retain_inputs((0,))
        return (inputs[0] > 0).astype("f"),

    def backward(self, indexes, grads):
        x, = self.get_retained_inputs()
        return grads[0] / (1 + 10 * abs(x)) ** 2,


def spiking(trace):
    """Leaky neurons that fire, with a surrogate gradient, over eight steps, batch 32."""
    net = Model(into=L.Linear(50, 64), out=L.Linear(64, 10))

    def loss_of(x, t):
        v = y = 0
        for k in range(8):
            v = 0.9 * v + net.into(x[k])
            fired, = Spike().apply((v - 1,))
            v, y = v - fired, y + net.out(fired)
        return F.softmax_cross_entropy(y, t)
    step = training_step(net, loss_of, adam(), trace)
    batch = (normal(8, 32, 50) > 0).astype("f"), integers(10, 32)
    return lambda: step(*batch)


def ode(trace):
    """Ten steps of Runge and Kutta's method through a network, batch 100."""
    net = perceptron((2, 50, 2), F.tanh)

    def loss_of(x, t):
        h = 0.1
        for _ in range(10):
            k1 = net(x)
            k2 = net(x + h / 2 * k1)
            k3 = net(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + net(x + h * k3))
        return F.mean((x - t) ** 2)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(100, 2), normal(100, 2)
    return lambda: step(*batch)


def maml(trace):
    """One inner step of meta-learning, differentiated."""
    net = Model(**{f"p{k}": hnn.Parameter(normal(*shape)) for k, shape in enumerate([(1, 40), (40,), (40, 40), (40,), (40, 1), (1,)])})

    def output(p, x):
        for k in (0, 2):
            x = F.tanh(F.matmul(x, p[k]) + F.broadcast_to(p[k + 1], (20, 40)))
        return F.matmul(x, p[4]) + F.broadcast_to(p[5], (20, 1))

    def loss_of(x, t):
        p = [net[f"p{k}"] for k in range(6)]
        gradients = hnn.grad([F.mean((output(p, x) - t) ** 2)], p, enable_double_backprop=True)
        return F.mean((output([a - 0.1 * g for a, g in zip(p, gradients)], x) - t) ** 2)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(20, 1), normal(20, 1)
    return lambda: step(*batch)


def capsules(trace):
    """Routing by agreement of 72 capsules to ten, batch 32."""
    net = Model(w=hnn.Parameter(normal(72, 10, 8, 16)))

    def loss_of(u, t):
        votes, b = F.einsum("bid,ijdk->bijk", u, net.w), hnn.Variable(np.zeros((32, 72, 10), "f"))
        for k in range(3):
            s = F.sum(F.broadcast_to(F.softmax(b, axis=2)[..., None], votes.shape) * votes, axis=1)
            square = F.sum(s * s, axis=-1, keepdims=True)
            v = F.broadcast_to(square / (1 + square) / F.sqrt(square + 1e-7), s.shape) * s
            if k < 2:
                b = b + F.sum(votes * F.broadcast_to(v[:, None], votes.shape), axis=-1)
        length = F.sqrt(F.sum(v * v, axis=-1) + 1e-7)
        return F.mean(F.sum(t * F.relu(0.9 - length) ** 2 + 0.5 * (1 - t) * F.relu(length - 0.1) ** 2, axis=1))
    step = training_step(net, loss_of, sgd(0.01), trace)
    batch = normal(32, 72, 8), np.eye(10, dtype="f")[labels(10, 32)]
    return lambda: step(*batch)


def word2vec(trace):
    """Skip-gram with negative samples, 5000 words, batch 256."""
    net = Model(embed=L.EmbedID(5000, 100), context=L.EmbedID(5000, 100))

    def loss_of(word, context, t):
        y = F.sum(F.broadcast_to(net.embed(word)[:, None], (256, 6, 100)) * net.context(context), axis=2)
        return F.sigmoid_cross_entropy(y, t)
    step = training_step(net, loss_of, sgd(0.01), trace)
    batch = integers(5000, 256), integers(5000, 256, 6), np.eye(6, dtype="i")[[0] * 256]
    return lambda: step(*batch)


def matrix_factorisation(trace):
    """Ratings of 2000 users and 1000 things, batch 4096."""
    net = Model(users=L.EmbedID(2000, 32), things=L.EmbedID(1000, 32))
    step = training_step(net, lambda u, v, r: F.mean((F.sum(net.users(u) * net.things(v), axis=1) - r) ** 2), adam(), trace)
    batch = integers(2000, 4096), integers(1000, 4096), normal(4096)
    return lambda: step(*batch)


def dropout(trace):
    """Six layers of 256 with layer normalisation, gelu and dropout, batch 64."""
    net = Model(out=L.Linear(256, 10), **{f"l{k}": L.Linear(256, 256) for k in range(6)}, **{f"n{k}": L.LayerNormalization(256) for k in range(6)})

    def loss_of(x, t):
        for k in range(6):
            x = F.dropout(F.gelu(net[f"n{k}"](net[f"l{k}"](x))), 0.1)
        return F.softmax_cross_entropy(net.out(x), t)
    step = training_step(net, loss_of, adam(), trace)
    batch = normal(64, 256), integers(10, 64)
    return lambda: step(*batch)


def deep(trace):
    """Thirty layers of 64, batch 32."""
    net = perceptron((*[64] * 31, 10), F.relu)
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net(x), t), adam(), trace)
    batch = normal(32, 64), integers(10, 32)
    return lambda: step(*batch)


def many_classes(trace):
    """A softmax over 10000 classes, batch 64."""
    net = perceptron((256, 256, 10000), F.tanh)
    step = training_step(net, lambda x, t: F.softmax_cross_entropy(net(x), t), sgd(0.01), trace)
    batch = normal(64, 256), integers(10000, 64)
    return lambda: step(*batch)


def small_mlp(trace):
    """16-128-128-4, forward only, batch 1."""
    return inference(hnn.Sequential(perceptron((16, 128, 128, 4), F.tanh), F.softmax), trace, normal(1, 16))


BUILDERS = {f.__name__: f for f in (
    dqn, a2c, ppo, soft_actor_critic, lstm_policy, gru, seq2seq, tcn, wavenet, crf, kalman, attention, state_space, decoder, cached_keys, warping, resnet,
    unet, autoencoder, lenet, vae, gan, flow, mixture, langevin, graph_convolution, message_passing, graph_attention, pairwise, spiking, ode, maml, capsules,
    word2vec, matrix_factorisation, dropout, deep, many_classes, small_mlp)}


def main(arguments):
    mode, *names = arguments
    trace = hnn.trace if mode == "trace" else lambda f: f
    return report(mode, {name: lambda f=f: f(trace) for name, f in BUILDERS.items()}, names or list(BUILDERS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
