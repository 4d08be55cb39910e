"""Random programs that update and write parameters, and whose known path is left anywhere between: plain against traced."""
import random
import textwrap

import pytest
from comparing import compare
from programs import HEAD, Call, Program

from hybridnn.trace import segment

VALUES = ["F.tanh({v} * net.p)", "F.tanh({v} * net.p) * x", "{v} @ net.W", "net.l1({v})", "F.sigmoid({v}) * {v}", "{v} * hnn.Variable(net.p.array)",
          "net2.l1({v})", "F.dropout({v}, 0.3)", "{v} + raw * 0.5", "F.softmax({v})", "{v} * {v}"]
STEPS = ["opt.update()", "net.cleargrads(); F.mean(F.tanh({v}) * x).backward(); opt.update()", "net.cleargrads(); F.sum(net.p ** 2).backward(); opt.update()",
         "net.cleargrads(); F.mean({v} ** 2).backward(loss_scale=2.0); opt.update()", "net.cleargrads(); F.mean({v} ** 2).backward()",
         "net2.cleargrads(); F.mean(net2.l1({v}) * net2.p).backward(); opt2.update()", "net.p.array *= 0.9", "net.p.array = net.p.array * 0.9",
         "net.W.array[...] = np.clip(net.W.array, -0.5, 0.5)", "log(float(F.mean({v})))", "net.last = {v}", "net.buf += 0.125", "net.h = {v}", "pass"]
OWN = ["net.cleargrads(); F.sum(net.p ** 2).backward(); opt.update()"]      # what has been computed stays unwalked
LEAVES = ["F.mean({v}).backward()", "F.mean({v} * {w}).backward(); opt.update()", "opt.update()", "log(float(F.mean({v} * {w})))", "return {v}, {w}", "[][k]",
          "net.cleargrads()", "net.last = F.tanh({v})", "{v}.array[0] = 0.25", "F.mean({v} ** 2).backward(retain_grad=True)", "net.kept.append({v}.array)",
          "net.last = hnn.grad([F.sum({v} * net.p) ** 2], [net.p], enable_double_backprop=True)[0]", "net.h = {v}; net.h.unchain_backward()",
          "F.mean({v} ** 2).backward(enable_double_backprop=True)", "net.last = hnn.Variable(net.p.array) * {v}", "net.p.array *= 0.5", "net.last = {v}.grad",
          "net.p.grad = np.ones(4, 'f')", "net.last = Smooth(0.2).apply(({v},))[0]", "net.p.array = net.p.array * 0.5", "{v} + np.zeros((7, 3), 'f')"]


def written(seed):
    """A program of straight lines, between which the argument ``k`` says where to do something else."""
    dice = random.Random(seed)
    names, lines = ["x", "y"], []
    for number in range(dice.randint(3, 9)):
        v, w = dice.choice(names), dice.choice(names)
        if dice.random() < 0.5:
            lines.append(f"v{number} = {dice.choice(VALUES).format(v=v)}")
            names.append(f"v{number}")
        else:
            lines += dice.choice(STEPS + OWN * 6).format(v=v).split("; ")
        if dice.random() < 0.4:
            v, w = dice.choice(names), dice.choice(names)
            leave = dice.choice(LEAVES + LEAVES[:2] * 6).format(v=v, w=w)
            lines += [f"if k == {dice.choice([1, 1, 2, 3])}:", *["    " + part for part in leave.split("; ")]]
    lines.append(f"return {dice.choice(names)}, {dice.choice(['k', *names])}")
    optimizer = dice.choice(["SGD(0.03)", "MomentumSGD(0.02)", "Adam(0.02, eps=0.01)"])
    source = f"{HEAD}def make(trace):\n    rate, opt = 0.5, hnn.optimizers.{optimizer}\n    net = Net()\n"
    source += "    opt.setup(net)\n    net.cleargrads()\n    net2.cleargrads()\n    @trace\n    def step(x, y, t, raw, k, flag):\n"
    source += textwrap.indent("\n".join(lines), "        ") + "\n    return net, opt, step, None\n"
    switches = [0, 0, 0, 0, *[dice.choice([0, 1, 2, 3]) for _ in range(8)], 0]
    return Program(source, tuple([Call(3, k, True, "", "") for k in switches]), False, dice.random() < 0.5, dice.random() < 0.2)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mode", ["auto", "verify"])
def test_programs_that_leave_their_path(monkeypatch, mode):
    monkeypatch.setattr(segment, "jit_compile", segment.Interpreted)
    for seed in range(1000, 1800):
        compare(written(seed), mode)
