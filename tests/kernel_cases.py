"""What kernels are made of in the tests of their texts: graphs written by hand, and programs that are traced with their gradients and updates."""
import numpy as np

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
import hybridnn.ops
import hybridnn.optimizers
from hybridnn import optimizer_hooks, optimizers
from hybridnn.core.op import OPS

rng = np.random.default_rng(0)


def array(*shape):
    return rng.uniform(-1.5, 1.5, shape).astype("f4")


def labels(high, *shape):
    return rng.integers(0, high, shape).astype("i4")


CASES = {
    "chain": (lambda x, b: [OPS["tanh"](1.5 * x + b) * OPS["sigmoid"](x)], (array(5, 70), array(70))),
    "loss_of_logits": (lambda x, t: [OPS["sigmoid_nll"](x, t)], (array(5, 17), array(5, 17))),
    "flat": (lambda x, a: [OPS["relu"](x) * a], (array(5, 7), .5)),
    "softmax": (lambda x: [OPS["softmax"](x, axis=(1,))], (array(5, 300),)),
    "pixels": (lambda x, b: [OPS["sigmoid"](x + b)], (array(40, 3), array(3))),
    "classes": (lambda x: [OPS["log_softmax"](x, axis=(1,))], (array(40, 5),)),
    "layer_norm": (lambda x, e, g: [OPS["standardize"](x, e, axis=(1,))[0] * g], (array(5, 70), 1e-5, array(70))),
    "batch_norm": (lambda x, e: OPS["standardize"](x, e, axis=(0, 2)), (array(4, 3, 5), 1e-5)),
    "bias_gradient": (lambda g, y: [OPS["sum"](g * (1 - y * y), axis=(0,), keepdims=False), g * (1 - y * y)],
                      (array(70, 19), array(70, 19))),
    "row_max": (lambda x: [OPS["amax"](OPS["cast"](x, dtype="int32"), axis=(1,), keepdims=False)], (array(5, 70) * 100,)),
    "column_extremes": (lambda x: [OPS["amax"](x, axis=(0,), keepdims=False), OPS["amin"](x, axis=(0,), keepdims=False)],
                        (array(70, 9),)),
    "label_mask": (lambda t: [OPS["cast"](OPS["iota_equal"](t, depth=4), dtype="float32") * 2], (np.array([1, 0, 3], "i4"),)),
    "adam": (lambda *xs: OPS["update_adam"](*xs, wide=False),
             (*[np.abs(array(3, 4)) for _ in range(4)], .1, .1, .1, 1e-8, 1., 1.)),
    "image_sums": (lambda g, y: [OPS["sum"](g * y, axis=(1, 2), keepdims=True), OPS["amax"](y, axis=(1, 2), keepdims=False), g * y],
                   (array(9, 5, 7, 3), array(9, 5, 7, 3))),
    "momentum": (lambda *xs: OPS["update_momentum"](*xs, wide=False), (*[array(3, 4) for _ in range(3)], .1, .9)),
    "double": (lambda x: [OPS["where"](x > 0, OPS["exp"](x), OPS["log1p"](x * 0.5))], (array(5, 7).astype("f8"),)),
    "points": (lambda x, y: [OPS["sum"](d := x - y, axis=(2,), keepdims=False), d * OPS["exp"](OPS["sum"](d * d, axis=(2,), keepdims=True))],
               (array(5, 1, 3), array(1, 20, 3))),
    "coordinates": (lambda g, y: [OPS["sum"](g * y, axis=(1,), keepdims=False), g * y], (array(9, 40, 3), array(9, 40, 3))),
    "weighted": (lambda x, w, b: [OPS["sum"](y := OPS["exp"](x * b) * w, axis=None, keepdims=False), y], (array(40, 3), array(40, 1), array(3))),
    "total": (lambda x: [OPS["sum"](x, axis=None, keepdims=False)], (array(40, 50),)),
}

GRAPHS = {
    "integers": (lambda n, m: [OPS["absolute"](n - m) * 3 + n, OPS["maximum"](n, m), -n], (labels(9, 5, 7), labels(9, 7))),
    "bools": (lambda x, y: [OPS["where"](x > y, x, y) * OPS["cast"](x > 0, dtype="float32"), x != y], (array(5, 7), array(7))),
    "given_bool": (lambda x, flag: [OPS["where"](OPS["greater"](x, flag), x, 2.5)], (array(5, 7), True)),
    "given_integer": (lambda n, k: [n * k + 1], (labels(9, 5, 7), 3)),
    "powers": (lambda x: [x ** 3, x ** -2, x ** 4.], (np.abs(array(5, 7)) + .5,)),
    "roots": (lambda x: [x ** .5 + x ** -.5, x ** 1.7], (np.abs(array(5, 7)) + .5,)),
    "roundings": (lambda x: [OPS["floor"](x), OPS["ceil"](x), OPS["fix"](x)], (array(5, 7) * 100,)),
    "remainders": (lambda x, y: [OPS["remainder"](x, y), OPS["floor_divide"](x, y), OPS["fmod"](x, y)], (array(5, 7) * 10, array(5, 7))),
    "double_column": (lambda x: [OPS["sum"](x * x, axis=(0,), keepdims=False)], (array(70, 9).astype("f8"),)),
    "integer_sums": (lambda n: [OPS["sum"](n, axis=(0,), keepdims=False), OPS["sum"](n, axis=(1,), keepdims=False)], (labels(9, 40, 7),)),
}


# ------------------------------------------------------------------------------------------------------- traced, as a user writes them

def gradients(fn, *operands):
    """A program: ``fn`` of these arrays, the gradient of a sum of squares of what it returns, both traced."""
    def build():
        xs = [hnn.Variable(x) if x.dtype.kind == "f" else x for x in operands]

        @hnn.trace
        def step(*xs):
            y = fn(*xs)
            leaves = [x for x in xs if isinstance(x, hnn.Variable)]
            for x in leaves:
                x.cleargrad()
            F.sum(y * y * .5).backward()
            return y, *[x.grad_var for x in leaves if x.grad is not None]
        return lambda: step(*xs)
    return build


def training(optimizer, *hooks, link=L.Linear, sizes=(5, 3)):
    """A program: a step of training one link."""
    def build():
        net, x = link(*sizes), array(4, sizes[0])
        rule = optimizer().setup(net)
        for hook in hooks:
            rule.add_hook(hook)

        @hnn.trace
        def step(x):
            loss = F.mean(net(x) ** 2)
            net.cleargrads()
            loss.backward()
            rule.update()
            return loss
        return lambda: step(x)
    return build


def batch_norm(x, g, b):
    return F.batch_normalization(x, g, b)


PROGRAMS = {
    "activations": gradients(lambda x: sum([f(x) for f in (F.elu, F.gelu, F.leaky_relu, F.softplus, F.hard_sigmoid, F.clipped_relu)], F.relu6(x)),
                             array(3, 37)),
    "broadcasts": gradients(lambda x, a, b: F.tanh(x * a + b) / (1 + F.exp(-x)), array(5, 17), array(17), array(5, 1)),
    "comparisons": gradients(lambda x, y: F.where(x > y, F.sqrt(y), F.maximum(x, y)), array(5, 7), np.abs(array(5, 7))),
    "softmax": gradients(lambda x: F.softmax(x), array(5, 70)),
    "log_softmax": gradients(lambda x: F.log_softmax(x), array(5, 7)),
    "logsumexp": gradients(lambda x: F.logsumexp(x, axis=1), array(5, 70)),
    "cross_entropy": gradients(lambda x, t: F.softmax_cross_entropy(x, t), array(5, 70), labels(70, 5)),
    "cross_entropy_classes": gradients(lambda x, t: F.softmax_cross_entropy(x, t, reduce="no"), array(30, 5), labels(5, 30)),
    "cross_entropy_images": gradients(lambda x, t: F.softmax_cross_entropy(x, t), array(2, 5, 3, 4), labels(5, 2, 3, 4)),
    "layer_norm": gradients(lambda x, g, b: F.layer_normalization(x, g, b), array(5, 70), array(70), array(70)),
    "batch_norm": gradients(batch_norm, array(9, 5), array(5), array(5)),
    "batch_norm_images": gradients(batch_norm, array(4, 3, 5, 5), array(3), array(3)),
    "group_norm": gradients(lambda x, g, b: F.group_normalization(x, 2, g, b), array(4, 4, 5, 5), array(4), array(4)),
    "means": gradients(lambda x: F.mean(x, axis=0) * F.max(x, axis=0) + F.min(x, axis=0), array(70, 9)),
    "variance": gradients(lambda x: F.mean((x - F.broadcast_to(F.mean(x, axis=1, keepdims=True), x.shape)) ** 2, axis=1), array(5, 70)),
    "l2": gradients(lambda x: F.normalize(x), array(5, 70)),
    "gather": gradients(lambda W, t: F.tanh(F.embed_id(t, W)) * 2, array(7, 5), labels(7, 9)),
    "select": gradients(lambda x, t: F.select_item(F.exp(x), t), array(9, 5), labels(5, 9)),
    "lstm": gradients(lambda c, x: F.lstm(c, x)[1], array(4, 5), array(4, 20)),
    "attention": gradients(lambda q, k: F.softmax(F.matmul(q, k, transb=True) * .3), array(2, 7, 5), array(2, 7, 5)),
    "joined": gradients(lambda x, y: F.concat([F.tanh(x), F.exp(y)]) * 2, array(5, 7), array(5, 3)),
    "transposed": gradients(lambda x: F.tanh(F.transpose(x)) + 1, array(5, 70)),
    "double": gradients(lambda x: F.softmax(F.sigmoid(x) * x), array(5, 70).astype("f8")),
    "losses": gradients(lambda x, y: F.huber_loss(x, y, 1., "no") + F.mean_absolute_error(x, y) + F.mean_squared_error(x, y), array(5, 7), array(5, 7)),
    "binary": gradients(lambda x, t: F.sigmoid_cross_entropy(x, t), array(5, 7), labels(2, 5, 7)),
}

OPTIMIZER_CASES = {
    **{f"update_{name}": training(getattr(optimizers, name)) for name in
       ("SGD", "MomentumSGD", "NesterovAG", "CorrectedMomentumSGD", "Adam", "AdamW", "AMSGrad", "AdaBound", "AMSBound", "AdaGrad", "AdaDelta", "RMSprop",
        "RMSpropGraves", "SMORMS3", "MSVAG", "Lion", "Adafactor")},
    "update_hooks": training(optimizers.SGD, optimizer_hooks.WeightDecay(.1), optimizer_hooks.Lasso(.1), optimizer_hooks.GradientClipping(1.),
                             optimizer_hooks.GradientHardClipping(-1., 1.)),
}
