"""Training steps as users write them: reinforcement learning, adversarial and generative models, physics, graphs. Each is ``make(wrap)``, see ``worlds``."""
import itertools

import numpy as np
from worlds import arr

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

__all__ = ["IDIOMS"]


def labels(n, k=2, seed=0):
    return np.random.RandomState(seed).randint(0, k, n).astype("i")


class MLP(hnn.Chain):
    """Layers in a list, with an activation between."""

    def __init__(self, *sizes, activation=F.relu):
        super().__init__()
        self.activation = activation
        with self.init_scope():
            self.layers = hnn.ChainList(*[L.Linear(a, b) for a, b in itertools.pairwise(sizes)])

    def forward(self, x):
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(x))
        return last(x)


def soft_update(source, target, tau):
    for p, q in zip(source.params(), target.params()):
        q.array[:] = tau * p.array + (1 - tau) * q.array


def dqn(wrap):
    class Agent:
        def __init__(self):
            self.q, self.target = MLP(4, 8, 2), MLP(4, 8, 2)
            self.target.copyparams(self.q)
            self.optimizer = optimizers.Adam(1e-2).setup(self.q)
            self.gamma, self.tau, self.n_updates = 0.99, 0.05, 0

        @wrap
        def update(self, batch):
            s, a, r, s2, done = batch
            q = F.select_item(self.q(s), a)
            with hnn.no_backprop_mode():
                best = F.max(self.target(s2), axis=1)
                y = r + self.gamma * (1 - done) * best
            loss = F.mean(F.huber_loss(q, y, 1.0, reduce="no"))
            self.q.cleargrads()
            loss.backward()
            self.optimizer.update()
            soft_update(self.q, self.target, self.tau)
            self.n_updates += 1
            return float(loss.array)
    agent = Agent()

    def batch(n, seed=0):
        return arr(n, 4, seed=seed), labels(n, seed=seed), arr(n, seed=seed + 1), arr(n, 4, seed=seed + 2), labels(n, seed=3).astype("f")

    def faster():
        agent.tau *= 2
        return agent.update(batch(5))
    return [agent], [lambda: agent.update(batch(5)), lambda: agent.update(batch(5, 1)), faster, lambda: agent.update(batch(3))]


def ddpg(wrap):
    actor, critic = MLP(3, 6, 1, activation=F.tanh), MLP(4, 6, 1)
    target_actor, target_critic = actor.copy(mode="copy"), critic.copy(mode="copy")
    opt_actor, opt_critic = optimizers.Adam(1e-2).setup(actor), optimizers.Adam(1e-2).setup(critic)

    @wrap
    def step(s, a, r, s2, gamma=0.9, tau=0.01):
        with hnn.no_backprop_mode():
            a2 = F.tanh(target_actor(s2))
            y = r[:, None] + gamma * target_critic(F.concat([s2, a2], axis=1)).array
        critic_loss = F.mean_squared_error(critic(F.concat([s, a], axis=1)), y)
        critic.cleargrads()
        critic_loss.backward()
        opt_critic.update()
        actor_loss = -F.mean(critic(F.concat([s, F.tanh(actor(s))], axis=1)))
        actor.cleargrads()
        actor_loss.backward()
        opt_actor.update()
        for net, target in ((actor, target_actor), (critic, target_critic)):
            for (_, p), (_, q) in zip(sorted(net.namedparams()), sorted(target.namedparams())):
                q.array[...] = (1.0 - tau) * q.array + tau * p.array
        return critic_loss.array, actor_loss.array

    def run(n, **kw):
        return step(arr(n, 3), arr(n, 1), arr(n), arr(n, 3, seed=1), **kw)
    return [actor, critic, target_actor, target_critic], [lambda: run(4), lambda: run(5), lambda: run(4, tau=0.5)]


def sac(wrap):
    class SAC:
        def __init__(self):
            self.actor, self.q1, self.q2 = MLP(3, 6, 2), MLP(4, 6, 1), MLP(4, 6, 1)
            self.t1, self.t2 = MLP(4, 6, 1), MLP(4, 6, 1)
            self.t1.copyparams(self.q1)
            self.t2.copyparams(self.q2)
            self.log_alpha = hnn.Parameter(np.zeros((), "f"))
            self.opts = {"actor": optimizers.Adam(1e-2).setup(self.actor), "q1": optimizers.Adam(1e-2).setup(self.q1),
                         "q2": optimizers.Adam(1e-2).setup(self.q2)}
            self.steps = 0

        def sample(self, s):
            mean, log_std = F.split_axis(self.actor(s), 2, axis=1)
            log_std = F.clip(log_std, -5.0, 2.0)
            noise = self.actor.xp.random.normal(size=mean.shape).astype("f")
            u = mean + F.exp(log_std) * noise
            log_p = -0.5 * noise ** 2 - log_std - F.log(1 - F.tanh(u) ** 2 + 1e-6)
            return F.tanh(u), F.sum(log_p, axis=1, keepdims=True)

        @wrap
        def update(self, s, a, r, s2):
            alpha = F.exp(self.log_alpha)
            with hnn.no_backprop_mode():
                a2, log_p2 = self.sample(s2)
                x2 = F.concat((s2, a2), axis=1)
                y = r + 0.9 * (F.minimum(self.t1(x2), self.t2(x2)) - F.broadcast_to(alpha, log_p2.shape) * log_p2)
            losses = {}
            for name, q in (("q1", self.q1), ("q2", self.q2)):
                losses[name] = F.mean_squared_error(q(F.concat((s, a), axis=1)), y)
                q.cleargrads()
                losses[name].backward()
                self.opts[name].update()
            pi, log_p = self.sample(s)
            x = F.concat((s, pi), axis=1)
            losses["actor"] = F.mean(F.exp(self.log_alpha).array * log_p - F.minimum(self.q1(x), self.q2(x)))
            self.actor.cleargrads()
            losses["actor"].backward()
            self.opts["actor"].update()
            for q, t in [(self.q1, self.t1), (self.q2, self.t2)]:
                for p, tp in zip(q.params(), t.params()):
                    tp.data += 0.1 * (p.data - tp.data)
            self.steps = self.steps + 1
            return {k: float(v.array) for k, v in losses.items()}
    agent = SAC()

    def run(n):
        return agent.update(arr(n, 3), arr(n, 1), arr(n, 1), arr(n, 3, seed=1))
    return [agent], [lambda: run(4), lambda: run(3)]


def ppo(wrap):
    policy, value = MLP(3, 8, 4, activation=F.tanh), MLP(3, 8, 1, activation=F.tanh)
    model = hnn.ChainList(policy, value)
    opt = optimizers.Adam(3e-3).setup(model)
    opt.add_hook(hnn.optimizer_hooks.GradientClipping(0.5))
    hyper = {"clip": 0.2, "value": 0.5, "entropy": 0.01}

    @wrap
    def step(s, a, old, advantage, returns):
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        logits = F.log_softmax(policy(s))
        log_p = F.select_item(logits, a)
        ratio = F.exp(log_p - old)
        clipped = F.clip(ratio, 1 - hyper["clip"], 1 + hyper["clip"])
        policy_loss = -F.mean(F.minimum(ratio * advantage, clipped * advantage))
        value_loss = F.mean_squared_error(F.squeeze(value(s), axis=1), returns)
        entropy = -F.mean(F.sum(F.exp(logits) * logits, axis=1))
        loss = policy_loss + hyper["value"] * value_loss - hyper["entropy"] * entropy
        model.cleargrads()
        loss.backward()
        opt.update()
        return policy_loss.item(), value_loss.item(), entropy.item()

    def run(n):
        return step(arr(n, 3), labels(n, 4), arr(n, seed=2), arr(n, seed=3), arr(n, seed=4))

    def wider():
        hyper["clip"] += 0.05
        return run(6)
    return [model, hyper], [lambda: run(6), lambda: run(5), wider]


def a2c(wrap):
    class A2C(hnn.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.body, self.pi, self.v = L.Linear(3, 8), L.Linear(8, 2), L.Linear(8, 1)

        def forward(self, x):
            h = F.tanh(self.body(x))
            return self.pi(h), F.flatten(self.v(h))
    net = A2C()
    opt = optimizers.RMSprop(1e-2).setup(net)

    @wrap
    def step(states, actions, rewards, gamma=0.9):
        log_probs, values = [], []
        for s, a in zip(states, actions):
            logits, v = net(s)
            log_probs.append(F.select_item(F.log_softmax(logits), a))
            values.append(v)
        R, policy_loss, value_loss = 0.0, 0.0, 0.0
        for r, lp, v in zip(reversed(rewards), reversed(log_probs), reversed(values)):
            R = r + gamma * R
            advantage = R - v
            policy_loss -= F.sum(lp * advantage.array)
            value_loss += F.sum(advantage ** 2) / 2
        loss = policy_loss + 0.5 * value_loss
        net.cleargrads()
        loss.backward()
        norm = np.sqrt(sum([float((p.grad ** 2).sum()) for p in net.params()]))
        rate = min(1.0, 40.0 / (norm + 1e-6))
        for p in net.params():
            p.grad *= rate
        opt.update()
        return loss.array

    def run(t, n):
        return step([arr(n, 3, seed=k) for k in range(t)], [labels(n, seed=k) for k in range(t)], [arr(n, seed=9 + k) for k in range(t)])
    return [net], [lambda: run(3, 2), lambda: run(2, 2)]


def gan(wrap):
    gen, dis = MLP(2, 6, 3), MLP(3, 6, 1, activation=F.leaky_relu)
    opt_gen, opt_dis = optimizers.Adam(1e-2, beta1=0.5).setup(gen), optimizers.Adam(1e-2, beta1=0.5).setup(dis)

    @wrap
    def step(real):
        xp = gen.xp
        z = hnn.Variable(xp.random.uniform(-1, 1, (len(real), 2)).astype(xp.float32))
        fake = gen(z)
        y_fake, y_real = dis(fake), dis(real)
        loss_dis = F.sum(F.softplus(-y_real)) / len(real) + F.sum(F.softplus(y_fake)) / len(real)
        loss_gen = F.sum(F.softplus(-y_fake)) / len(real)
        gen.cleargrads()
        loss_gen.backward()
        opt_gen.update()
        fake.unchain_backward()
        dis.cleargrads()
        loss_dis.backward()
        opt_dis.update()
        hnn.report({"gen/loss": loss_gen, "dis/loss": loss_dis})
        return loss_gen, loss_dis
    return [gen, dis], [lambda: step(arr(4, 3)), lambda: step(arr(3, 3))]


def gan_functions(wrap):
    """One method per loss, optimizers in a dict, as in the examples."""
    class Updater:
        def __init__(self):
            self.models = {"gen": MLP(2, 6, 3), "dis": MLP(3, 6, 1)}
            self.optimizers = {k: optimizers.Adam(1e-2).setup(m) for k, m in self.models.items()}
            self.iteration = 0

        def loss_dis(self, dis, y_fake, y_real):
            batchsize = len(y_fake)
            loss = F.sum(F.softplus(-y_real)) / batchsize + F.sum(F.softplus(y_fake)) / batchsize
            hnn.report({"loss": loss}, dis)
            return loss

        def loss_gen(self, gen, y_fake):
            loss = F.sum(F.softplus(-y_fake)) / len(y_fake)
            hnn.report({"loss": loss}, gen)
            return loss

        @wrap
        def update_core(self, x_real, z):
            gen, dis = self.models["gen"], self.models["dis"]
            y_real = dis(x_real)
            x_fake = gen(z)
            y_fake = dis(x_fake)
            self.optimizers["dis"].update(self.loss_dis, dis, y_fake, y_real)
            self.optimizers["gen"].update(self.loss_gen, gen, y_fake)
            self.iteration += 1
    u = Updater()
    return [u], [lambda: u.update_core(arr(4, 3), arr(4, 2)), lambda: u.update_core(arr(3, 3), arr(3, 2))]


def wgan_gp(wrap):
    gen, critic = MLP(2, 6, 3), MLP(3, 6, 1, activation=F.tanh)
    opt = optimizers.Adam(1e-2).setup(critic)

    @wrap
    def step(real, z, eps, lam=10.0):
        with hnn.using_config("enable_backprop", False):
            fake = gen(z)
        x = hnn.Variable(eps * real + (1.0 - eps) * fake.array)
        grad, = hnn.grad([critic(x)], [x], enable_double_backprop=True)
        norm = F.sqrt(F.batch_l2_norm_squared(grad))
        penalty = lam * F.mean_squared_error(norm, np.ones_like(norm.array))
        loss = F.mean(critic(fake)) - F.mean(critic(real)) + penalty
        critic.cleargrads()
        loss.backward()
        opt.update()
        return loss.array, penalty.array

    def run(n):
        return step(arr(n, 3), arr(n, 2), arr(n, 1))
    return [critic], [lambda: run(4), lambda: run(3)]


def vae(wrap):
    class VAE(hnn.Chain):
        def __init__(self, n_in=4, n_latent=2, n_h=6, beta=1.0, k=2):
            super().__init__()
            self.beta, self.k = beta, k
            with self.init_scope():
                self.le1, self.le_mu, self.le_var = L.Linear(n_in, n_h), L.Linear(n_h, n_latent), L.Linear(n_h, n_latent)
                self.ld1, self.ld2 = L.Linear(n_latent, n_h), L.Linear(n_h, n_in)

        def encode(self, x):
            h = F.tanh(self.le1(x))
            return self.le_mu(h), self.le_var(h)

        def decode(self, z, sigmoid=True):
            y = self.ld2(F.tanh(self.ld1(z)))
            return F.sigmoid(y) if sigmoid else y

        def forward(self, x):
            mu, ln_var = self.encode(x)
            batchsize = len(mu.array)
            rec = 0
            for _ in range(self.k):
                z = F.gaussian(mu, ln_var)
                rec += F.bernoulli_nll(x, self.decode(z, sigmoid=False)) / (self.k * batchsize)
            self.rec_loss = rec
            self.loss = rec + self.beta * F.gaussian_kl_divergence(mu, ln_var) / batchsize
            hnn.report({"rec_loss": rec, "loss": self.loss}, observer=self)
            return self.loss
    model = VAE()
    opt = optimizers.Adam().setup(model)

    @wrap
    def step(x):
        opt.update(model, x)
        return model.loss

    def warmer():
        model.beta += 0.1
        return step(np.abs(arr(3, 4)) % 1)
    return [model], [lambda: step(np.abs(arr(3, 4)) % 1), lambda: step(np.abs(arr(2, 4)) % 1), warmer]


def pinn(wrap):
    net = MLP(2, 8, 8, 1, activation=F.tanh)
    opt = optimizers.Adam(1e-3).setup(net)
    nu = 0.01 / np.pi

    @wrap
    def step(t, x, x0, u0):
        t, x = hnn.Variable(t), hnn.Variable(x)
        u = net(F.concat([t, x], axis=1))
        u_t, u_x = hnn.grad([u], [t, x], enable_double_backprop=True)
        u_xx, = hnn.grad([u_x], [x], enable_double_backprop=True)
        residual = u_t + u * u_x - nu * u_xx
        boundary = net(np.concatenate([np.zeros_like(x0), x0], axis=1)) - u0
        loss = F.mean(residual ** 2) + F.mean(boundary ** 2)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss.array.item()

    def run(n):
        return step(arr(n, 1), arr(n, 1, seed=1), arr(3, 1), arr(3, 1, seed=2))
    return [net], [lambda: run(4), lambda: run(5)]


def maml(wrap):
    w1, b1, w2 = hnn.Parameter(arr(8, 1)), hnn.Parameter(np.zeros(8, "f")), hnn.Parameter(arr(1, 8, seed=1))
    params = [w1, b1, w2]

    def forward(x, w1, b1, w2):
        return F.linear(F.tanh(F.linear(x, w1, b1)), w2)

    @wrap
    def step(tasks, inner_lr=0.1, lr=0.01):
        total = 0
        for x, y, xq, yq in tasks:
            fast = params
            for _ in range(2):
                loss = F.mean_squared_error(forward(x, *fast), y)
                grads = hnn.grad([loss], fast, enable_double_backprop=True)
                fast = [p - inner_lr * g for p, g in zip(fast, grads)]
            total += F.mean_squared_error(forward(xq, *fast), yq)
        total /= len(tasks)
        for p in params:
            p.cleargrad()
        total.backward()
        for p in params:
            p.array -= lr * p.grad
        return total.array

    def run(n, **kw):
        return step([tuple(arr(4, 1, seed=4 * k + i) for i in range(4)) for k in range(n)], **kw)
    return [params], [lambda: run(2), lambda: run(1), lambda: run(2, inner_lr=0.2)]


def gnn(wrap):
    class GraphLayer(hnn.Chain):
        def __init__(self, n_in, n_out):
            super().__init__()
            with self.init_scope():
                self.message, self.own = L.Linear(n_in, n_out), L.Linear(n_in, n_out)

        def forward(self, h, src, dst):
            m = self.message(h)[src]
            zeros = self.xp.zeros((h.shape[0], m.shape[1]), dtype=h.dtype)
            return F.relu(self.own(h) + F.scatter_add(zeros, dst, m))

    class GNN(hnn.Chain):
        def __init__(self):
            super().__init__()
            with self.init_scope():
                self.g1, self.g2, self.out = GraphLayer(3, 5), GraphLayer(5, 5), L.Linear(5, 2)

        def forward(self, h, edges):
            src, dst = edges
            for layer in (self.g1, self.g2):
                h = layer(h, src, dst)
            return self.out(F.sum(h, axis=0, keepdims=True))
    net = GNN()
    opt = optimizers.Adam(1e-2).setup(net)

    @wrap
    def step(graphs, t):
        ys = F.concat([net(h, e) for h, e in graphs], axis=0)
        loss, acc = F.softmax_cross_entropy(ys, t), F.accuracy(ys, t)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss.array, acc.array

    def run(*sizes):
        return step([(arr(n, 3, seed=n), np.stack([labels(2 * n, n), labels(2 * n, n, 1)])) for n in sizes], labels(len(sizes)))
    return [net], [lambda: run(3, 4), lambda: run(4, 3), lambda: run(5)]


def neural_ode(wrap):
    class Field(hnn.Chain):
        def __init__(self):
            super().__init__(l1=L.Linear(3, 8), l2=L.Linear(8, 2))

        def forward(self, t, y):
            time = hnn.Variable(np.full((len(y), 1), t, y.dtype))
            return self.l2(F.tanh(self.l1(F.concat([y, time]))))
    f = Field()
    opt = optimizers.Adam(1e-2).setup(f)

    def rk4(f, y, t, dt):
        k1 = f(t, y)
        k2 = f(t + dt / 2, y + dt / 2 * k1)
        k3 = f(t + dt / 2, y + dt / 2 * k2)
        k4 = f(t + dt, y + dt * k3)
        return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    @wrap
    def step(y0, target, n=3, dt=0.1):
        y, t = hnn.Variable(y0), 0.0
        for _ in range(n):
            y = rk4(f, y, t, dt)
            t += dt
        loss = F.mean_squared_error(y, target)
        f.cleargrads()
        loss.backward()
        opt.update()
        return float(loss.array)

    def run(**kw):
        return step(arr(4, 2), arr(4, 2, seed=1), **kw)
    return [f], [run, lambda: run(n=2), lambda: run(dt=0.05)]


def flow(wrap):
    class Coupling(hnn.Chain):
        def __init__(self, flip):
            super().__init__()
            self.flip = flip
            with self.init_scope():
                self.net = MLP(2, 6, 4, activation=F.tanh)

        def forward(self, x):
            a, b = F.split_axis(x, 2, axis=1)
            if self.flip:
                a, b = b, a
            s, t = F.split_axis(self.net(a), 2, axis=1)
            s = F.tanh(s)
            b = b * F.exp(s) + t
            return F.concat((b, a) if self.flip else (a, b), axis=1), F.sum(s, axis=1)

    class Flow(hnn.ChainList):
        def __init__(self, n):
            super().__init__(*[Coupling(i % 2 == 1) for i in range(n)])

        def log_prob(self, x):
            log_det = 0
            for layer in self.children():
                x, ld = layer(x)
                log_det = log_det + ld
            return -0.5 * F.sum(x ** 2, axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi) + log_det
    net = Flow(2)
    opt = optimizers.Adam(1e-2).setup(net)

    @wrap
    def step(x):
        loss = -F.mean(net.log_prob(x))
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return [net], [lambda: step(arr(4, 4)), lambda: step(arr(3, 4))]


def hypernetwork(wrap):
    class Hyper(hnn.Chain):
        def __init__(self):
            super().__init__()
            self.shapes = {"w": (4, 3), "b": (4,)}
            with self.init_scope():
                self.trunk = L.Linear(2, 5)
                for name, shape in self.shapes.items():
                    setattr(self, f"head_{name}", L.Linear(5, int(np.prod(shape))))

        def forward(self, z, x):
            h = F.relu(self.trunk(z))
            made = {name: F.reshape(getattr(self, f"head_{name}")(h), shape) for name, shape in self.shapes.items()}
            return F.linear(x, made["w"], made["b"])
    net = Hyper()
    opt = optimizers.SGD(0.1).setup(net)

    @wrap
    def step(z, x, t):
        loss = F.softmax_cross_entropy(net(z, x), t)
        net.cleargrads()
        loss.backward()
        opt.update()
        return loss
    return [net], [lambda: step(arr(1, 2), arr(5, 3), labels(5, 4)), lambda: step(arr(1, 2), arr(4, 3), labels(4, 4))]


def reinforce(wrap):
    """A policy gradient with a running baseline on an object."""
    class Reinforce:
        def __init__(self):
            self.net = MLP(3, 6, 2)
            self.opt = optimizers.Adam(1e-2).setup(self.net)
            self.baseline, self.episodes, self.history = 0.0, 0, []

        def returns(self, rewards, gamma=0.9):
            out = np.zeros_like(rewards)
            running = 0.0
            for k in reversed(range(len(rewards))):
                running = rewards[k] + gamma * running
                out[k] = running
            return out

        def update(self, s, a, rewards):
            R = self.returns(rewards)
            self.baseline = 0.9 * self.baseline + 0.1 * float(R.mean())
            loss = self.learn(s, a, R - np.float32(self.baseline))
            self.history.append(loss)
            return loss

        @wrap
        def learn(self, s, a, advantage):
            log_p = F.select_item(F.log_softmax(self.net(s)), a)
            loss = -F.mean(log_p * advantage)
            self.net.cleargrads()
            loss.backward()
            self.opt.update()
            self.episodes += 1
            return float(loss.array)
    agent = Reinforce()
    return [agent], [lambda: agent.update(arr(4, 3), labels(4), arr(4)), lambda: agent.update(arr(3, 3), labels(3), arr(3))]


def double_dqn(wrap):
    """A target that is copied as a whole every few updates."""
    class Agent:
        period = 3

        def __init__(self):
            self.model, self.target, self.t = MLP(4, 8, 3), MLP(4, 8, 3), 0
            self.target.copyparams(self.model)
            self.opt = optimizers.MomentumSGD(0.01).setup(self.model)

        @wrap
        def update(self, s, a, r, s2, done):
            xp = self.model.xp
            batch = xp.arange(len(a))
            with hnn.no_backprop_mode(), hnn.using_config("train", False):
                best = F.argmax(self.model(s2), axis=1).array
                next_q = self.target(s2).array[batch, best]
            y = r + 0.9 * next_q * (1.0 - done)
            q = self.model(s)[batch, a]
            loss = F.mean_squared_error(q, y.astype("f"))
            self.model.cleargrads()
            loss.backward()
            self.opt.update()
            self.t += 1
            if self.t % self.period == 0:
                self.target.copyparams(self.model)
            return loss.array
    agent = Agent()

    def run(n):
        return agent.update(arr(n, 4), labels(n, 3), arr(n), arr(n, 4, seed=1), labels(n).astype("f"))
    return [agent], [lambda: run(4), lambda: run(5)]


IDIOMS = {f.__name__: f for f in (dqn, ddpg, sac, ppo, a2c, gan, gan_functions, wgan_gp, vae, pinn, maml, gnn, neural_ode, flow, hypernetwork, reinforce,
                                  double_dqn)}
