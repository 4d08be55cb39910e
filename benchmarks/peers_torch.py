"""The ten workloads in PyTorch, eager or under torch.compile.

usage: peers_torch.py {torch,torchc} [workload ...]
"""

import sys
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from common import BLOCK, CHAIN, CNN, LNGELU, LSTM, MLPS, PINN, labels, names_from, normal, pairs, report


def tensor(array):
    return torch.from_numpy(array)


def training_step(loss_of, optimizer, compiled):
    """The loss and the update are compiled by themselves, as PyTorch recommends."""
    forward, update = compiled(loss_of), compiled(optimizer.step)

    def step():
        optimizer.zero_grad()
        loss = forward()
        loss.backward()
        update()
        return loss
    return step


def perceptron(widths, activation):
    layers = [layer for a, b in pairs(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


def adam(net):
    return torch.optim.Adam(net.parameters(), fused=True)


def sgd(net, **options):
    return torch.optim.SGD(net.parameters(), 0.01, fused=True, **options)


def mlp(name, compiled):
    widths, batch = MLPS[name]
    net = perceptron(widths, nn.ReLU)
    x, t = tensor(normal(batch, widths[0])), tensor(labels(widths[-1], batch))
    return training_step(lambda: F.cross_entropy(net(x), t), adam(net), compiled)


def elementwise(x):
    return torch.tanh(1.5 * x + 0.5) * torch.sigmoid(x) + torch.relu(x) - torch.exp(-x * x)


def chain(compiled):
    x, f = tensor(normal(CHAIN)), compiled(elementwise)

    def forward():
        with torch.no_grad():
            return f(x)
    return forward


def chain_grad(compiled):
    x = tensor(normal(CHAIN)).requires_grad_()
    f = compiled(lambda x: elementwise(x).sum())

    def value_and_grad():
        x.grad = None
        f(x).backward()
        return x.grad
    return value_and_grad


def lngelu(compiled):
    width = LNGELU["width"]
    net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
    x = tensor(normal(LNGELU["batch"], width))
    return training_step(lambda: ((x + net(x)) ** 2).mean(), sgd(net), compiled)


class LanguageModel(nn.Module):
    def __init__(self, vocabulary, hidden):
        super().__init__()
        self.embed, self.cell = nn.Embedding(vocabulary, hidden), nn.LSTMCell(hidden, hidden)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, xs, ts):
        state, loss = None, 0
        for x, t in zip(xs, ts):
            state = self.cell(self.embed(x), state)
            loss = loss + F.cross_entropy(self.out(state[0]), t)
        return loss


def lstm(compiled):
    net = LanguageModel(LSTM["vocabulary"], LSTM["hidden"])
    xs, ts = (tensor(labels(LSTM["vocabulary"], LSTM["steps"], LSTM["batch"])) for _ in range(2))
    return training_step(lambda: net(xs, ts), sgd(net), compiled)


def cnn(compiled):
    def conv(i, o):
        return nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU()
    (a, b, c, d), side = CNN["channels"], CNN["size"]
    net = nn.Sequential(*conv(a, b), *conv(b, c), nn.MaxPool2d(2), *conv(c, d), nn.MaxPool2d(2), nn.Flatten(),
                        nn.Linear(d * (side // 4) ** 2, CNN["classes"]))
    x, t = tensor(normal(CNN["batch"], a, side, side)), tensor(labels(CNN["classes"], CNN["batch"]))
    return training_step(lambda: F.cross_entropy(net(x), t), sgd(net, momentum=0.9), compiled)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, h):
        batch, steps, width = h.shape
        q, k, v = self.qkv(h).reshape(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.transpose(-1, -2) / (width // self.heads) ** 0.5, -1)
        return self.out((weights @ v).transpose(1, 2).reshape(h.shape))

    def forward(self, x):
        h = x + self.attend(self.norm1(x))
        return h + self.down(F.gelu(self.up(self.norm2(h))))


def block(compiled):
    net = Block(BLOCK["width"], BLOCK["heads"])
    x = tensor(normal(BLOCK["batch"], BLOCK["steps"], BLOCK["width"]))
    return training_step(lambda: (net(x) ** 2).mean(), adam(net), compiled)


def pinn(compiled):
    """torch.compile does not take double backprop, so only the update is compiled here."""
    net = perceptron(PINN["widths"], nn.Tanh)
    x = tensor(normal(PINN["batch"], 2)).requires_grad_()
    optimizer = adam(net)
    update = compiled(optimizer.step)

    def residual():
        u = net(x)
        g, = torch.autograd.grad(u.sum(), x, create_graph=True)
        gg, = torch.autograd.grad(g[:, 0].sum(), x, create_graph=True)
        return ((g[:, 1] + u[:, 0] * g[:, 0] - 0.01 * gg[:, 0]) ** 2).mean()

    def step():
        optimizer.zero_grad()
        loss = residual()
        loss.backward()
        update()
        return loss
    return step


def builders(compiled):
    plain = {f.__name__: partial(f, compiled) for f in (chain, chain_grad, lngelu, lstm, cnn, block, pinn)}
    return plain | {name: partial(mlp, name, compiled) for name in MLPS}


if __name__ == "__main__":
    mode, names = sys.argv[1], names_from(sys.argv[2:])
    torch.set_num_threads(2)
    compiled = {"torch": lambda f: f, "torchc": torch.compile}[mode]
    sys.exit(report(mode, builders(compiled), names) > 0)
