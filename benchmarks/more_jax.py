"""The workloads of `more_ours.py` in JAX, each step one jitted function.

usage: more_jax.py jax [workload ...]
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import optax
from common import labels, normal, pairs, report
from jax import lax
from jax.nn import log_softmax, one_hot, relu, sigmoid, softmax
from peers_jax import apply, cross_entropy, gelu, linear, norm, norm_layer, perceptron, pool, training_step

adam, sgd, tanh = optax.adam(1e-3), optax.sgd(0.01), jnp.tanh


def floats(*shape):
    return jnp.asarray(normal(*shape))


def integers(high, *shape):
    return jnp.asarray(labels(high, *shape))


def layers(*widths):
    return [linear(a, b) for a, b in pairs(widths)]


def pick(y, t):
    return jnp.take_along_axis(y, t[:, None], 1)[:, 0]


def on_bits(y, t):
    """Cross entropy of sigmoids."""
    return optax.sigmoid_binary_cross_entropy(y, t)


def training_step_with_noise(parameters, loss_of, optimizer):
    """`training_step` whose loss takes a key."""
    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, state, key):
        key, now = jax.random.split(key)
        loss, gradients = jax.value_and_grad(loss_of)(parameters, now)
        changes, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, changes), state, key, loss
    held = [parameters, optimizer.init(parameters), jax.random.PRNGKey(0)]

    def step():
        *held[:], loss = update(*held)
        return loss.block_until_ready()
    return step


def inference(f, *xs):
    f = jax.jit(f)
    return lambda: jax.block_until_ready(f(*xs))


# ---------------------------------------------------------------------------------------------------------------- reinforcement learning

def dqn():
    target = layers(8, 128, 128, 4)
    s, after, action, reward, done = floats(64, 8), floats(64, 8), integers(4, 64), floats(64), jnp.zeros(64)

    def loss_of(p):
        best = jnp.argmax(perceptron(p, relu, after), 1)
        y = lax.stop_gradient(reward + 0.99 * (1 - done) * pick(perceptron(target, relu, after), best))
        return optax.huber_loss(pick(perceptron(p, relu, s), action), y).mean()
    return training_step(layers(8, 128, 128, 4), loss_of, adam)


def a2c():
    x, action, reward = floats(40, 4), integers(2, 40), floats(40)

    def loss_of(p):
        h = tanh(perceptron(p["body"], tanh, x))
        log_p, v = log_softmax(apply(p["policy"], h)), apply(p["value"], h)[:, 0]
        gain = pick(log_p, action) * lax.stop_gradient(reward - v) - 0.01 * (jnp.exp(log_p) * log_p).sum(1)
        return (0.5 * (reward - v) ** 2 - gain).mean()
    return training_step({"body": layers(4, 64, 64), "policy": linear(64, 2), "value": linear(64, 1)}, loss_of, adam)


def ppo():
    x, action, old, advantage, target = floats(64, 17), floats(64, 6), floats(64), floats(64), floats(64)

    def loss_of(p):
        h = tanh(perceptron(p["body"], tanh, x))
        log_p = (-0.5 * ((action - apply(p["mean"], h)) / jnp.exp(p["log_std"])) ** 2 - p["log_std"] - 0.919).sum(1)
        ratio = jnp.exp(log_p - old)
        gain = jnp.minimum(ratio * advantage, ratio.clip(0.8, 1.2) * advantage).mean()
        return 0.5 * ((apply(p["value"], h)[:, 0] - target) ** 2).mean() - gain - 0.01 * p["log_std"].sum()
    return training_step({"body": layers(17, 64, 64), "mean": linear(64, 6), "log_std": jnp.zeros(6), "value": linear(64, 1)}, loss_of, adam)


def soft_actor_critic():
    s, a, reward, after = floats(128, 17), floats(128, 6), floats(128), floats(128, 17)
    slow = optax.adam(3e-4)
    critics = [layers(23, 128, 128, 1) for _ in range(2)]
    nets = {"policy": layers(17, 128, 128, 12), "critics": critics, "log_alpha": jnp.zeros(())}
    held = [nets, jax.tree.map(jnp.copy, critics), {name: slow.init(net) for name, net in nets.items()}, jax.random.PRNGKey(0)]

    def sample(p, s, key):
        mean, log_std = jnp.split(perceptron(p, relu, s), 2, 1)
        noise = jax.random.normal(key, mean.shape)
        a = tanh(mean + jnp.exp(log_std) * noise)
        return a, (-0.5 * noise ** 2 - log_std - jnp.log(1.001 - a * a)).sum(1)

    def values(p, s, a):
        return jnp.stack([perceptron(q, relu, jnp.concatenate([s, a], 1))[:, 0] for q in p])

    @partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def update(nets, targets, states, key):
        nets, states, (key, first, second) = dict(nets), dict(states), jax.random.split(key, 3)

        def descend(name, gradient):
            changes, states[name] = slow.update(gradient, states[name], nets[name])
            nets[name] = optax.apply_updates(nets[name], changes)
        alpha = jnp.exp(nets["log_alpha"])
        a_after, log_p = sample(nets["policy"], after, first)
        y = reward + 0.99 * (values(targets, after, a_after).min(0) - alpha * log_p)
        loss, gradient = jax.value_and_grad(lambda q: ((values(q, s, a) - y) ** 2).mean(1).sum())(nets["critics"])
        descend("critics", gradient)

        def of_policy(p):
            chosen, log_p = sample(p, s, second)
            return (alpha * log_p - values(nets["critics"], s, chosen).min(0)).mean(), log_p
        gradient, log_p = jax.grad(of_policy, has_aux=True)(nets["policy"])
        descend("policy", gradient)
        descend("log_alpha", jax.grad(lambda b: -(b * (log_p - 6)).mean())(nets["log_alpha"]))
        targets = jax.tree.map(lambda p, q: 0.995 * p + 0.005 * q, targets, nets["critics"])
        return nets, targets, states, key, loss

    def step():
        *held[:], loss = update(*held)
        return loss.block_until_ready()
    return step


def lstm_cell(p, state, x):
    h, c = state
    i, f, a, o = jnp.split(apply(p[0], x) + apply(p[1], h), 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(a)
    return sigmoid(o) * tanh(c), c


def lstm_policy():
    p, x, held = {"cell": [linear(32, 512), linear(128, 512)], "out": linear(128, 6)}, floats(1, 32), [(jnp.zeros((1, 128)),) * 2]

    @jax.jit
    def f(state):
        state = lstm_cell(p["cell"], state, x)
        return state, apply(p["out"], state[0])

    def step():
        held[0], y = f(held[0])
        return y.block_until_ready()
    return step


# ------------------------------------------------------------------------------------------------------------------------------ sequences

def gru():
    x, t = floats(20, 32, 128), integers(50, 20, 32)

    def loss_of(p):
        h, loss = jnp.zeros((32, 256)), 0
        for k in range(20):
            (r, z, a), (of_r, of_z, of_a) = jnp.split(apply(p["x"], x[k]), 3, 1), jnp.split(apply(p["h"], h), 3, 1)
            z = sigmoid(z + of_z)
            h = (1 - z) * tanh(a + sigmoid(r + of_r) * of_a) + z * h
            loss += cross_entropy(apply(p["out"], h), t[k])
        return loss
    return training_step({"x": linear(128, 768), "h": linear(256, 768), "out": linear(256, 50)}, loss_of, adam)


def seq2seq():
    x, t = integers(50, 12, 16), integers(50, 12, 16)

    def loss_of(p):
        state, loss = (jnp.zeros((16, 64)),) * 2, 0
        for k in range(12):
            state = lstm_cell(p["encoder"], state, p["embed"][x[k]])
        for k in range(12):
            state = lstm_cell(p["decoder"], state, p["embed"][t[k - 1]])
            loss += cross_entropy(apply(p["out"], state[0]), t[k])
        return loss
    cells = {name: [linear(64, 256), linear(64, 256)] for name in ("encoder", "decoder")}
    return training_step({"embed": floats(50, 64), "out": linear(64, 50), **cells}, loss_of, adam)


def causal(x, w, dilate=1, pad=0):
    return lax.conv_general_dilated(x, w, (1,), [(pad, 0)], rhs_dilation=(dilate,))


def tcn():
    x, t = floats(16, 8, 128), floats(16, 1)

    def loss_of(p):
        h = x
        for k, (w, b) in enumerate(p["conv"]):
            h = relu(causal(h, w, 2**k, 2 * 2**k) + b[:, None])
        return ((apply(p["out"], h[:, :, -1]) - t) ** 2).mean()
    return training_step({"conv": [(floats(32, 32 if k else 8, 3), jnp.zeros(32)) for k in range(4)], "out": linear(32, 1)}, loss_of, adam)


def wavenet():
    x, t = floats(8, 16, 256), integers(32, 8, 256)
    parameters = {"first": floats(32, 16, 1), "last": floats(32, 32, 1), "gate": [floats(64, 32, 2) for _ in range(6)],
                  "mix": [floats(32, 32, 1) for _ in range(6)]}

    def loss_of(p):
        h, skip = causal(x, p["first"]), 0
        for k in range(6):
            a, b = jnp.split(causal(h, p["gate"][k], 2**k, 2**k), 2, 1)
            g = causal(tanh(a) * sigmoid(b), p["mix"][k])
            h, skip = h + g, skip + g
        return cross_entropy(causal(relu(skip), p["last"]).transpose(0, 2, 1), t)
    return training_step(parameters, loss_of, adam)


def crf():
    x, t = floats(16, 20, 9), integers(9, 16, 20)

    def loss_of(p):
        scores, cost = x @ p["w"], p["cost"]
        a = scores[:, 0]
        of_path = jnp.take_along_axis(scores, t[..., None], 2)[..., 0].sum(1) + cost[t[:, :-1], t[:, 1:]].sum(1)
        for k in range(1, 20):
            a = jax.nn.logsumexp(a[:, :, None] + cost, axis=1) + scores[:, k]
        return (jax.nn.logsumexp(a, 1) - of_path).mean()
    return training_step({"w": floats(9, 9), "cost": floats(9, 9)}, loss_of, adam)


def kalman():
    dynamics, noise, observe, ys = floats(4, 4), jnp.eye(4) * 0.1, floats(2, 4), floats(50, 2)

    def loss_of(q):
        x, p, loss = jnp.zeros(4), jnp.eye(4), 0
        f, r = dynamics + q["change"], jnp.eye(2) * jnp.exp(q["log_r"])
        for k in range(50):
            x, p = f @ x, f @ p @ f.T + noise
            inverse, v = jnp.linalg.inv(observe @ p @ observe.T + r), ys[k] - observe @ x
            gain = p @ observe.T @ inverse
            x, p = x + gain @ v, p - gain @ (observe @ p)
            loss += v @ inverse @ v - jnp.log(jnp.linalg.det(inverse))
        return loss
    return training_step({"change": jnp.zeros((4, 4)), "log_r": jnp.zeros(())}, loss_of, adam)


def attention():
    x, t = floats(16, 32, 64), integers(10, 16)

    def block(p, x):
        q, k, v = apply(p["qkv"], norm(p["norm1"], x)).reshape(16, 32, 3, 4, 16).transpose(2, 0, 3, 1, 4)
        y = softmax(q @ k.swapaxes(-1, -2) / 4) @ v
        x = x + apply(p["out"], y.swapaxes(1, 2).reshape(16, 32, 64))
        return x + apply(p["down"], relu(apply(p["up"], norm(p["norm2"], x))))

    def loss_of(p):
        h = block(p["second"], block(p["first"], x))
        return cross_entropy(apply(p["out"], h.mean(1)), t)
    blocks = {name: {"qkv": linear(64, 192), "out": linear(64, 64), "up": linear(64, 256), "down": linear(256, 64), "norm1": norm_layer(64),
                     "norm2": norm_layer(64)} for name in ("first", "second")}
    return training_step({"out": linear(64, 10), **blocks}, loss_of, adam)


def state_space():
    x, t = floats(8, 32, 32), integers(10, 8)
    parameters = {"into": floats(32, 64), "select": linear(32, 48), "log_a": jnp.log(jnp.tile(jnp.arange(1.0, 9.0), (32, 1))), "skip": jnp.ones(32),
                  "back": linear(32, 32), "out": linear(32, 10)}

    def loss_of(p):
        u, gate = jnp.split(x @ p["into"], 2, 2)
        u = jax.nn.silu(u)
        rate, b, c = jnp.split(apply(p["select"], u), (32, 40), 2)
        a = -jnp.exp(p["log_a"])

        def follow(h, now):
            rate, u, b, c = now
            h = jnp.exp(rate[..., None] * a) * h + (rate * u)[..., None] * b[:, None]
            return h, (h * c[:, None]).sum(2)
        over_steps = tuple(v.swapaxes(0, 1) for v in (jax.nn.softplus(rate), u, b, c))
        ys = lax.scan(follow, jnp.zeros((8, 32, 8)), over_steps)[1].swapaxes(0, 1)
        y = (ys + u * p["skip"]) * jax.nn.silu(gate)
        return cross_entropy(apply(p["out"], apply(p["back"], y).mean(1)), t)
    return training_step(parameters, loss_of, adam)


def rms_norm(scale, x):
    return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-5) * scale


def decoder():
    x, t = integers(100, 8, 32), integers(100, 8, 32)
    angles = jnp.arange(32)[:, None] / 10000 ** (jnp.arange(8) / 8)
    cos, sin, future = jnp.cos(angles), jnp.sin(angles), jnp.triu(jnp.full((32, 32), -1e9), 1)
    parameters = {"embed": floats(100, 64), "norm1": jnp.ones(64), "norm2": jnp.ones(64), "qkv": floats(64, 192), "back": floats(64, 64),
                  "gate": floats(64, 160), "up": floats(64, 160), "down": floats(160, 64), "out": floats(64, 100)}

    def turned(x):
        a, b = jnp.split(x, 2, -1)
        return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)

    def loss_of(p):
        h = p["embed"][x]
        q, k, v = (rms_norm(p["norm1"], h) @ p["qkv"]).reshape(8, 32, 3, 4, 16).transpose(2, 0, 3, 1, 4)
        weights = softmax(turned(q) @ turned(k).swapaxes(-1, -2) / 4 + future)
        h = h + (weights @ v).swapaxes(1, 2).reshape(8, 32, 64) @ p["back"]
        y = rms_norm(p["norm2"], h)
        return cross_entropy((h + (jax.nn.silu(y @ p["gate"]) * (y @ p["up"])) @ p["down"]) @ p["out"], t)
    return training_step(parameters, loss_of, adam)


def cached_keys():
    def block():
        return {"qkv": linear(64, 192), "out": linear(64, 64), "up": linear(64, 256), "down": linear(256, 64), "norm1": norm_layer(64),
                "norm2": norm_layer(64)}
    p = {"embed": floats(100, 64), "blocks": [block(), block()], "out": linear(64, 100)}
    held, at = [jnp.zeros((2, 2, 4, 64, 16)), jnp.array([1])], [0]

    @partial(jax.jit, donate_argnums=(1,))
    def following(p, kept, word, at):
        h = p["embed"][word]
        for n, b in enumerate(p["blocks"]):
            q, k, v = apply(b["qkv"], norm(b["norm1"], h)).reshape(3, 4, 16)
            kept = kept.at[n, 0, :, at].set(k).at[n, 1, :, at].set(v)
            scores = (kept[n, 0] @ q[:, :, None])[:, :, 0] / 4 + jnp.where(jnp.arange(64) <= at, 0, -1e9)
            h = h + apply(b["out"], (softmax(scores)[:, None] @ kept[n, 1]).reshape(1, 64))
            h = h + apply(b["down"], gelu(apply(b["up"], norm(b["norm2"], h))))
        return kept, jnp.argmax(apply(p["out"], h), 1)

    def step():
        held[:] = following(p, *held, at[0])
        at[0] = (at[0] + 1) % 64
        return held[1].block_until_ready()
    return step


def warping():
    x, y = floats(12, 4), floats(12, 4)

    def loss_of(p):
        away = ((apply(p, x)[:, None] - apply(p, y)[None]) ** 2).sum(2)
        cost = {(0, 0): away[0, 0]}
        for i in range(12):
            for j in range(12):
                before = [cost[k] for k in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if k in cost]
                if before:
                    cost[i, j] = away[i, j] - jax.nn.logsumexp(-jnp.stack(before))
        return cost[11, 11]
    return training_step(linear(4, 4), loss_of, adam)


# --------------------------------------------------------------------------------------------------------------------------------- images

def conv(x, w, stride=1, pad=1):
    return lax.conv_general_dilated(x, w, (stride, stride), [(pad, pad)] * 2)


def kernel(i, o, size):
    return floats(o, i, size, size), jnp.zeros(o)


def biased(layer, x, stride=1, pad=1):
    return conv(x, layer[0], stride, pad) + layer[1][:, None, None]


def transposed(layer, x):
    y = lax.conv_transpose(x, layer[0], (2, 2), "VALID", dimension_numbers=("NCHW", "IOHW", "NCHW"))
    return y + layer[1][:, None, None]


def batch_norm(layer, x):
    scaled = (x - x.mean((0, 2, 3), keepdims=True)) / jnp.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
    return scaled * layer[0][:, None, None] + layer[1][:, None, None]


def resnet():
    x, t = floats(32, 3, 32, 32), integers(10, 32)

    def residual(i, o):
        short = {"short": floats(o, i, 1, 1)} if i != o else {}
        return {"conv1": floats(o, i, 3, 3), "conv2": floats(o, o, 3, 3), "norm1": norm_layer(o), "norm2": norm_layer(o), **short}

    def loss_of(p):
        h = relu(batch_norm(p["norm"], conv(x, p["first"])))
        for q, stride in zip(p["blocks"], (1, 2, 2)):
            y = relu(batch_norm(q["norm1"], conv(h, q["conv1"], stride)))
            h = relu(batch_norm(q["norm2"], conv(y, q["conv2"])) + (conv(h, q["short"], stride, 0) if "short" in q else h))
        return cross_entropy(apply(p["out"], h.mean((2, 3))), t)
    blocks = [residual(16, 16), residual(16, 32), residual(32, 64)]
    return training_step({"first": floats(16, 3, 3, 3), "norm": norm_layer(16), "blocks": blocks, "out": linear(64, 10)}, loss_of, sgd)


def unet():
    x, t = floats(8, 1, 64, 64), integers(2, 8, 1, 64, 64)

    def loss_of(p):
        h = relu(biased(p["first"], x))
        up = transposed(p["up"], relu(biased(p["low"], pool(h))))
        return on_bits(biased(p["out"], relu(biased(p["join"], jnp.concatenate([h, up], 1))), 1, 0), t).mean()
    up = floats(32, 16, 2, 2), jnp.zeros(16)
    parameters = {"first": kernel(1, 16, 3), "low": kernel(16, 32, 3), "up": up, "join": kernel(32, 16, 3), "out": kernel(16, 1, 1)}
    return training_step(parameters, loss_of, adam)


def autoencoder():
    x = floats(32, 1, 28, 28)

    def loss_of(p):
        h = relu(biased(p["second"], relu(biased(p["first"], x, 2)), 2))
        return ((transposed(p["last"], relu(transposed(p["third"], h))) - x) ** 2).mean()
    third, last = (floats(32, 16, 2, 2), jnp.zeros(16)), (floats(16, 1, 2, 2), jnp.zeros(1))
    return training_step({"first": kernel(1, 16, 3), "second": kernel(16, 32, 3), "third": third, "last": last}, loss_of, adam)


def lenet():
    p = {"first": kernel(1, 20, 5), "second": kernel(20, 50, 5), "third": linear(800, 500), "last": linear(500, 10)}

    def f(p, x):
        h = pool(relu(biased(p["second"], pool(relu(biased(p["first"], x, 1, 0))), 1, 0)))
        return apply(p["last"], relu(apply(p["third"], h.reshape(64, 800))))
    return inference(f, p, floats(64, 1, 28, 28))


# ----------------------------------------------------------------------------------------------------------------------- generative models

def vae():
    x = (floats(128, 784) > 0).astype("float32")
    parameters = {"hidden": linear(784, 400), "mean": linear(400, 20), "log_var": linear(400, 20), "back": linear(20, 400), "out": linear(400, 784)}

    def loss_of(p, key):
        h = tanh(apply(p["hidden"], x))
        mean, log_var = apply(p["mean"], h), apply(p["log_var"], h)
        z = mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape)
        away = 0.5 * (mean ** 2 + jnp.exp(log_var) - log_var - 1).sum()
        return (on_bits(apply(p["out"], tanh(apply(p["back"], z))), x).sum() + away) / 128
    return training_step_with_noise(parameters, loss_of, adam)


def gan():
    x = floats(128, 2)
    g, d = layers(16, 64, 64, 2), layers(2, 64, 64, 1)
    held = [g, d, adam.init(g), adam.init(d), jax.random.PRNGKey(0)]
    score = partial(perceptron, activation=partial(jax.nn.leaky_relu, negative_slope=0.2))

    @jax.jit
    def update(g, d, of_g, of_d, key):
        key, now = jax.random.split(key)
        z = jax.random.normal(now, (128, 16))

        def loss_of_d(d):
            return jax.nn.softplus(-score(d, x=x)).mean() + jax.nn.softplus(score(d, x=score(g, x=z))).mean()
        loss_d, gradients_d = jax.value_and_grad(loss_of_d)(d)
        loss_g, gradients_g = jax.value_and_grad(lambda g: jax.nn.softplus(-score(d, x=score(g, x=z))).mean())(g)
        changes_g, of_g = adam.update(gradients_g, of_g, g)
        changes_d, of_d = adam.update(gradients_d, of_d, d)
        return optax.apply_updates(g, changes_g), optax.apply_updates(d, changes_d), of_g, of_d, key, loss_d + loss_g

    def step():
        *held[:], loss = update(*held)
        return loss.block_until_ready()
    return step


def flow():
    x = floats(256, 2)

    def loss_of(p):
        z, log_det = x, 0
        for k, net in enumerate(p):
            a, b = (z[:, :1], z[:, 1:])[::-1 if k % 2 else 1]
            y = perceptron(net, tanh, a)
            s = tanh(y[:, :1])
            b, log_det = b * jnp.exp(s) + y[:, 1:], log_det + s[:, 0]
            z = jnp.concatenate((a, b)[::-1 if k % 2 else 1], 1)
        return (0.5 * (z ** 2).sum(1) - log_det).mean()
    return training_step([layers(1, 64, 64, 2) for _ in range(6)], loss_of, adam)


def mixture():
    x, t = floats(256, 1), floats(256, 1)

    def loss_of(p):
        pi, mean, log_std = jnp.split(perceptron(p, tanh, x), 3, 1)
        return -jax.nn.logsumexp(log_softmax(pi) - 0.5 * ((t - mean) / jnp.exp(log_std)) ** 2 - log_std, 1).mean()
    return training_step(layers(1, 64, 64, 30), loss_of, adam)


def langevin():
    x, start = floats(128, 2), floats(128, 2)

    def loss_of(p, key):
        energy, z, fixed = partial(perceptron, activation=jax.nn.silu), start, lax.stop_gradient(p)
        for now in jax.random.split(key, 10):
            z = z - 0.1 * jax.grad(lambda z: energy(fixed, x=z).sum())(z) + 0.01 * jax.random.normal(now, z.shape)
        low, high = energy(p, x=x), energy(p, x=lax.stop_gradient(z))
        return (low - high).mean() + 0.1 * (low ** 2 + high ** 2).mean()
    return training_step_with_noise(layers(2, 64, 64, 1), loss_of, adam)


# ---------------------------------------------------------------------------------------------------------------------- graphs and points

def graph_convolution():
    a, x, t = floats(500, 500), floats(500, 64), integers(7, 500)

    def loss_of(p):
        return cross_entropy(a @ apply(p["second"], relu(a @ apply(p["first"], x))), t)
    return training_step({"first": linear(64, 32), "second": linear(32, 7)}, loss_of, adam)


def message_passing():
    x, source, target, t = floats(500, 32), integers(500, 3000), integers(500, 3000), integers(5, 500)

    def loss_of(p):
        h = x
        for _ in range(2):
            messages = relu(apply(p["message"], jnp.concatenate([h[source], h[target]], 1)))
            arrived = jnp.zeros((500, 32)).at[target].add(messages)
            h = tanh(apply(p["update"], jnp.concatenate([h, arrived], 1)))
        return cross_entropy(apply(p["out"], h), t)
    return training_step({"message": linear(64, 32), "update": linear(64, 32), "out": linear(32, 5)}, loss_of, adam)


def pairwise():
    def energy(x):
        d = x[:, None] - x[None]
        return (1 / jnp.sqrt((d * d).sum(-1) + 0.01)).sum()
    return inference(jax.value_and_grad(energy), floats(512, 3))


def graph_attention():
    x, source, target, t = floats(300, 32), integers(300, 1500), integers(300, 1500), integers(7, 300)

    def loss_of(p):
        h = (x @ p["first"]).reshape(300, 4, 8)
        a, b = ((h * p[name]).sum(2) for name in ("of_source", "of_target"))
        weights = jnp.exp(jax.nn.leaky_relu(a[source] + b[target], 0.2))
        weights = weights / jnp.zeros((300, 4)).at[target].add(weights)[target]
        messages = jnp.zeros((300, 4, 8)).at[target].add(h[source] * weights[..., None])
        return cross_entropy(apply(p["out"], jax.nn.elu(messages.reshape(300, 32))), t)
    return training_step({"first": floats(32, 32), "of_source": floats(4, 8), "of_target": floats(4, 8), "out": linear(32, 7)}, loss_of, adam)


# --------------------------------------------------------------------------------------------------------------------------------- others

@jax.custom_vjp
def spike(v):
    return (v > 0).astype("float32")


spike.defvjp(lambda v: (spike(v), v), lambda v, g: (g / (1 + 10 * jnp.abs(v)) ** 2,))


def spiking():
    x, t = (floats(8, 32, 50) > 0).astype("float32"), integers(10, 32)

    def loss_of(p):
        v = y = 0
        for k in range(8):
            v = 0.9 * v + apply(p["into"], x[k])
            fired = spike(v - 1)
            v, y = v - fired, y + apply(p["out"], fired)
        return cross_entropy(y, t)
    return training_step({"into": linear(50, 64), "out": linear(64, 10)}, loss_of, adam)


def ode():
    start, t = floats(100, 2), floats(100, 2)

    def loss_of(p):
        net, x, h = partial(perceptron, p, tanh), start, 0.1
        for _ in range(10):
            k1 = net(x)
            k2 = net(x + h / 2 * k1)
            k3 = net(x + h / 2 * k2)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + net(x + h * k3))
        return ((x - t) ** 2).mean()
    return training_step(layers(2, 50, 2), loss_of, adam)


def maml():
    x, t = floats(20, 1), floats(20, 1)

    def error(p):
        return ((perceptron(p, tanh, x) - t) ** 2).mean()

    def loss_of(p):
        return error(jax.tree.map(lambda a, g: a - 0.1 * g, p, jax.grad(error)(p)))
    return training_step(layers(1, 40, 40, 1), loss_of, adam)


def capsules():
    u, t = floats(32, 72, 8), one_hot(integers(10, 32), 10)

    def loss_of(p):
        votes, b = jnp.einsum("bid,ijdk->bijk", u, p), jnp.zeros((32, 72, 10))
        for k in range(3):
            s = (softmax(b, 2)[..., None] * votes).sum(1)
            square = (s * s).sum(-1, keepdims=True)
            v = square / (1 + square) / jnp.sqrt(square + 1e-7) * s
            if k < 2:
                b = b + (votes * v[:, None]).sum(-1)
        length = jnp.sqrt((v * v).sum(-1) + 1e-7)
        return (t * relu(0.9 - length) ** 2 + 0.5 * (1 - t) * relu(length - 0.1) ** 2).sum(1).mean()
    return training_step(floats(72, 10, 8, 16), loss_of, sgd)


def word2vec():
    word, context, t = integers(5000, 256), integers(5000, 256, 6), jnp.eye(6)[jnp.zeros(256, int)]

    def loss_of(p):
        return on_bits((p["embed"][word][:, None] * p["context"][context]).sum(2), t).mean()
    return training_step({"embed": floats(5000, 100), "context": floats(5000, 100)}, loss_of, sgd)


def matrix_factorisation():
    u, v, r = integers(2000, 4096), integers(1000, 4096), floats(4096)

    def loss_of(p):
        return (((p["users"][u] * p["things"][v]).sum(1) - r) ** 2).mean()
    return training_step({"users": floats(2000, 32), "things": floats(1000, 32)}, loss_of, adam)


def dropout():
    x, t = floats(64, 256), integers(10, 64)

    def loss_of(p, key):
        h = x
        for layer, scale in p["layers"]:
            key, now = jax.random.split(key)
            h = gelu(norm(scale, apply(layer, h)))
            h = jnp.where(jax.random.bernoulli(now, 0.9, h.shape), h / 0.9, 0)
        return cross_entropy(apply(p["out"], h), t)
    return training_step_with_noise({"layers": [(linear(256, 256), norm_layer(256)) for _ in range(6)], "out": linear(256, 10)}, loss_of, adam)


def deep():
    x, t = floats(32, 64), integers(10, 32)
    return training_step(layers(*[64] * 31, 10), lambda p: cross_entropy(perceptron(p, relu, x), t), adam)


def many_classes():
    x, t = floats(64, 256), integers(10000, 64)
    return training_step(layers(256, 256, 10000), lambda p: cross_entropy(perceptron(p, tanh, x), t), sgd)


def small_mlp():
    return inference(lambda p, x: softmax(perceptron(p, tanh, x)), layers(16, 128, 128, 4), floats(1, 16))


BUILDERS = {f.__name__: f for f in (
    dqn, a2c, ppo, soft_actor_critic, lstm_policy, gru, seq2seq, tcn, wavenet, crf, kalman, attention, state_space, decoder, cached_keys, warping, resnet,
    unet, autoencoder, lenet, vae, gan, flow, mixture, langevin, graph_convolution, message_passing, graph_attention, pairwise, spiking, ode, maml, capsules,
    word2vec, matrix_factorisation, dropout, deep, many_classes, small_mlp)}


if __name__ == "__main__":
    framework, *names = sys.argv[1:]
    sys.exit(report(framework, BUILDERS, names or list(BUILDERS)))
