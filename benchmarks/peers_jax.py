"""The ten workloads in JAX, each step one jitted function that gives back new parameters.

usage: peers_jax.py jax [workload ...]
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import optax
from common import BLOCK, CHAIN, CNN, LNGELU, LSTM, MLPS, PINN, labels, names_from, normal, pairs, report
from jax import lax

gelu = partial(jax.nn.gelu, approximate=False)


def linear(a, b):
    return jnp.asarray(normal(a, b)), jnp.zeros(b)


def apply(layer, x):
    return x @ layer[0] + layer[1]


def norm(layer, x):
    scaled = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return scaled * layer[0] + layer[1]


def norm_layer(width):
    return jnp.ones(width), jnp.zeros(width)


def cross_entropy(y, t):
    return optax.softmax_cross_entropy_with_integer_labels(y, t).mean()


def perceptron(layers, activation, x):
    for layer in layers[:-1]:
        x = activation(apply(layer, x))
    return apply(layers[-1], x)


def training_step(parameters, loss_of, optimizer):
    @partial(jax.jit, donate_argnums=(0, 1))
    def update(parameters, state):
        loss, gradients = jax.value_and_grad(loss_of)(parameters)
        changes, state = optimizer.update(gradients, state, parameters)
        return optax.apply_updates(parameters, changes), state, loss
    held = [parameters, optimizer.init(parameters)]

    def step():
        held[0], held[1], loss = update(*held)
        return loss.block_until_ready()
    return step


def mlp(name):
    widths, batch = MLPS[name]
    layers = [linear(a, b) for a, b in pairs(widths)]
    x, t = jnp.asarray(normal(batch, widths[0])), jnp.asarray(labels(widths[-1], batch))
    return training_step(layers, lambda p: cross_entropy(perceptron(p, jax.nn.relu, x), t), optax.adam(1e-3))


def elementwise(x):
    return jnp.tanh(1.5 * x + 0.5) * jax.nn.sigmoid(x) + jax.nn.relu(x) - jnp.exp(-x * x)


def chain():
    x, f = jnp.asarray(normal(CHAIN)), jax.jit(elementwise)
    return lambda: f(x).block_until_ready()


def chain_grad():
    x, f = jnp.asarray(normal(CHAIN)), jax.jit(jax.value_and_grad(lambda x: elementwise(x).sum()))
    return lambda: jax.block_until_ready(f(x))


def lngelu():
    width = LNGELU["width"]
    x = jnp.asarray(normal(LNGELU["batch"], width))
    parameters = {"norm": norm_layer(width), "up": linear(width, 4 * width), "down": linear(4 * width, width)}

    def loss_of(p):
        return ((x + apply(p["down"], gelu(apply(p["up"], norm(p["norm"], x))))) ** 2).mean()
    return training_step(parameters, loss_of, optax.sgd(0.01))


def lstm():
    steps, batch, hidden, vocabulary = LSTM.values()
    parameters = {"embed": jnp.asarray(normal(vocabulary, hidden)), "cell": linear(2 * hidden, 4 * hidden),
                  "out": linear(hidden, vocabulary)}
    xs, ts = (jnp.asarray(labels(vocabulary, steps, batch)) for _ in range(2))

    def loss_of(p):
        c = h = jnp.zeros((batch, hidden))
        loss = 0.0
        for x, t in zip(xs, ts):
            a, i, f, o = jnp.split(apply(p["cell"], jnp.concatenate([p["embed"][x], h], 1)), 4, 1)
            c = jnp.tanh(a) * jax.nn.sigmoid(i) + c * jax.nn.sigmoid(f)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            loss += cross_entropy(apply(p["out"], h), t)
        return loss
    return training_step(parameters, loss_of, optax.sgd(0.01))


def conv_norm_relu(layer, x):
    weight, bias, gamma, beta = layer
    y = lax.conv_general_dilated(x, weight, (1, 1), "SAME") + bias[:, None, None]
    mean, variance = y.mean((0, 2, 3), keepdims=True), y.var((0, 2, 3), keepdims=True)
    return jax.nn.relu((y - mean) / jnp.sqrt(variance + 1e-5) * gamma[:, None, None] + beta[:, None, None])


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def cnn():
    channels, side, batch = CNN["channels"], CNN["size"], CNN["batch"]
    x, t = jnp.asarray(normal(batch, channels[0], side, side)), jnp.asarray(labels(CNN["classes"], batch))
    conv = [(jnp.asarray(normal(o, i, 3, 3)), jnp.zeros(o), jnp.ones(o), jnp.zeros(o)) for i, o in pairs(channels)]
    parameters = {"conv": conv, "out": linear(channels[-1] * (side // 4) ** 2, CNN["classes"])}

    def loss_of(p):
        first, second, third = p["conv"]
        h = pool(conv_norm_relu(second, conv_norm_relu(first, x)))
        return cross_entropy(apply(p["out"], pool(conv_norm_relu(third, h)).reshape(batch, -1)), t)
    return training_step(parameters, loss_of, optax.sgd(0.01, momentum=0.9))


def block():
    batch, steps, width, heads = BLOCK.values()
    x = jnp.asarray(normal(batch, steps, width))
    parameters = {"norm1": norm_layer(width), "qkv": linear(width, 3 * width), "out": linear(width, width),
                  "norm2": norm_layer(width), "up": linear(width, 4 * width), "down": linear(4 * width, width)}

    def attend(p, h):
        q, k, v = apply(p["qkv"], h).reshape(batch, steps, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) / (width // heads) ** 0.5, -1)
        return apply(p["out"], (weights @ v).swapaxes(1, 2).reshape(batch, steps, width))

    def loss_of(p):
        h = x + attend(p, norm(p["norm1"], x))
        return ((h + apply(p["down"], gelu(apply(p["up"], norm(p["norm2"], h))))) ** 2).mean()
    return training_step(parameters, loss_of, optax.adam(1e-3))


def pinn():
    layers = [linear(a, b) for a, b in pairs(PINN["widths"])]
    x = jnp.asarray(normal(PINN["batch"], 2))

    def loss_of(p):
        def net(x):
            return perceptron(p, jnp.tanh, x)[:, 0]
        gradient = jax.grad(lambda x: net(x).sum())
        u, g = net(x), gradient(x)
        gg = jax.grad(lambda x: gradient(x)[:, 0].sum())(x)
        return ((g[:, 1] + u * g[:, 0] - 0.01 * gg[:, 0]) ** 2).mean()
    return training_step(layers, loss_of, optax.adam(1e-3))


BUILDERS = {f.__name__: f for f in (chain, chain_grad, lngelu, lstm, cnn, block, pinn)}
BUILDERS |= {name: partial(mlp, name) for name in MLPS}

if __name__ == "__main__":
    sys.exit(report(sys.argv[1], BUILDERS, names_from(sys.argv[2:])) > 0)
