"""Members of lists and deques that ``random.sample`` draws: batches of a replay buffer."""
import random
from collections import deque, namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
from worlds import MODES, arr, check, plan, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)
Named = namedtuple("Named", "s a r s2 done")


@dataclass
class Step:
    s: np.ndarray
    a: int
    r: float
    s2: np.ndarray
    done: bool

    def __iter__(self):
        return iter((self.s, self.a, self.r, self.s2, self.done))


class Special(Step):
    pass


class Agent:
    def __init__(self, kind, box, rng):
        self.kind, self.memory, self.rng, self.losses = kind, box(), rng, []
        self.net, self.target = L.Linear(3, 2), L.Linear(3, 2)
        self.opt = optimizers.MomentumSGD(0.01).setup(self.net)
        self.count, self.last = 0, np.zeros(3, "f")

    def remember(self, **given):
        """Each step's state is where the one before has led."""
        self.count += 1
        s2 = arr(3, seed=self.count)
        values = dict(s=self.last, a=self.count % 2, r=0.1 * self.count, s2=s2, done=self.count % 5 == 0)
        self.memory.append(self.kind(**{**values, **given}))
        self.last = s2


def by_fields(batch):
    return np.stack([b.s for b in batch]), np.array([b.a for b in batch]), np.array([b.r for b in batch], "f"), np.stack([b.s2 for b in batch])


def by_columns(batch):
    s, a, r, s2, _ = zip(*batch)
    return np.stack(s), np.array(a), np.array(r, dtype="f"), np.stack(s2)


def by_masks(batch):
    live = np.array([0.0 if b.done else 1.0 for b in batch], "f")
    return np.stack([b.s for b in batch]), np.array([b.a for b in batch]), np.array([b.r for b in batch], "f") * live, np.stack([b.s2 for b in batch])


def changed(batch):
    batch.append(batch[0])
    batch.reverse()
    return by_fields(batch[1:])


SAMPLES = [
    lambda rng, memory, n: rng.sample(memory, n),
    lambda rng, memory, n: [memory[i] for i in np.random.randint(0, len(memory), n)],
    lambda rng, memory, n: [memory[i] for i in np.random.choice(len(memory), n, replace=False)],
    lambda rng, memory, n: [memory[rng.randrange(len(memory))] for _ in range(n)],
    lambda rng, memory, n: [memory[i] for i in np.random.permutation(12)[:n].tolist()],
]


@pytest.mark.parametrize(("columns", "sample"), [*[(columns, SAMPLES[0]) for columns in (by_fields, by_columns, by_masks, changed)],
                                                 (by_fields, SAMPLES[1]), (by_columns, SAMPLES[2]), (by_masks, SAMPLES[3]), (changed, SAMPLES[4])])
@pytest.mark.parametrize(("kind", "box", "own"), [(Named, deque, False), (Step, list, True), (Step, lambda: deque(maxlen=15), False)])
def test_batches(mode, kind, box, columns, own, sample):
    def make(wrap):
        agent = Agent(kind, box, random.Random(5) if own else random)
        for _ in range(20):
            agent.remember()

        @wrap
        def learn(n):
            noise = np.random.rand(n).astype("f") * np.float32(1e-3)
            s, a, r, s2 = columns(sample(agent.rng, agent.memory, n))
            with hnn.no_backprop_mode():
                goal = r + 0.9 * F.max(agent.target(s2), axis=1).array + noise
            loss = F.mean((F.select_item(agent.net(s), a) - goal) ** 2)
            agent.net.cleargrads()
            loss.backward()
            agent.opt.update()
            agent.losses.append(float(loss.array))
            return loss, agent.rng.random()

        def run(n=4, **given):
            agent.remember(**given)
            return learn(n)

        def among_others(*things):
            before = list(agent.memory)
            agent.memory.clear()
            agent.memory.extend([*things, *before[:3]])
            try:
                return learn(4)
            finally:
                agent.memory.clear()
                agent.memory.extend(before)

        def too_few():
            return among_others()

        def another():
            agent.memory = type(agent.memory)(agent.memory)
            return run()
        return [agent.net, agent.losses], [
            run, lambda: run(3), lambda: run(s=arr(4)), lambda: run(s=arr(3).astype("d")), lambda: run(a=True), lambda: run(a=2 ** 70), lambda: run(r=None),
            lambda: run(s2=None), too_few, another, lambda: among_others(Special(arr(3), 0, 1.0, arr(3), False)), lambda: among_others(None, 3),
            lambda: among_others(agent.kind(agent.net.W.array[0], 1, 1.0, agent.net.W.array[1], False)), lambda: (run(), agent.rng.getstate()[1][:3]), run]
    check(make, mode)


@pytest.mark.parametrize("box", [deque, list])
@pytest.mark.parametrize("sample", SAMPLES)
def test_batches_skip_python(mode, box, sample):
    def make(wrap):
        agent = Agent(Named, box, random)
        for _ in range(20):
            agent.remember()

        @wrap
        def learn(n=8):
            s, a, r, s2 = by_fields(sample(random, agent.memory, n))
            goal = r + 0.9 * agent.target(s2).array.max(axis=1)
            loss = F.mean((F.select_item(agent.net(s), a) - goal.astype("f")) ** 2)
            agent.net.cleargrads()
            loss.backward()
            agent.opt.update()
            return loss.item()

        def run():
            agent.remember()
            return learn()
        return [agent.net], [run, lambda: learn(3)]
    skipped(check(make, mode), mode)


@pytest.mark.parametrize("body", [
    lambda memory, rng, x: memory.append(x[0]) or np.stack(rng.sample(memory, 3)),
    lambda memory, rng, x: np.stack(rng.sample(memory, 3) + rng.sample(memory, 2)),
    lambda memory, rng, x: np.stack([a + 1 for a in rng.sample(memory, 3)]) * np.float32(rng.random()),
    lambda memory, rng, x: sum([a.__iadd__(1) for a in rng.sample(memory, 2)])[None],
    lambda memory, rng, x: rng.sample(memory, 1)[0][None] if rng.sample(memory, 1)[0] is memory[0] else x,
    lambda memory, rng, x: np.stack(rng.sample(memory, 2)) if len(memory) > 3 else x,
    lambda memory, rng, x: np.stack(rng.sample(memory, rng.randint(2, 3))),
    lambda memory, rng, x: np.stack(rng.sample(memory[2:], 2)),
    lambda memory, rng, x: memory[rng.randrange(len(memory))] * x,
    lambda memory, rng, x: memory.append(x[0]) or memory[np.random.randint(len(memory))] * x,
    lambda memory, rng, x: np.stack([memory[k] for k in np.random.randint(0, 2, 3)]) if memory[np.random.randint(2)] is memory[0] else x,
    lambda memory, rng, x: memory[-np.random.randint(1, 3)] * memory[np.random.randint(2) + np.random.randint(1, 3)] * rng.random(),
    lambda memory, rng, x: np.random.normal(memory[np.random.randint(2)]) * x,
    lambda memory, rng, x: memory[np.random.randint(9)] * np.float32(np.random.rand()),
    lambda memory, rng, x: memory[int(np.argmax(np.random.rand(2)))].__iadd__(1) * x,
])
def test_arrays(mode, body):
    def make(wrap):
        rng, memory = random.Random(3), [arr(3, seed=k) for k in range(8)]
        kept = []
        f = wrap(lambda x: F.sum(F.exp(body(memory, rng, x) * np.float32(0.1))))

        def keeps():
            kept[:] = rng.sample(memory, 3)
            return f(arr(2, 3)), kept
        g = wrap(lambda: rng.sample(memory, 3))

        def shorter():
            del memory[2:]
            try:
                return f(arr(2, 3))
            finally:
                memory[:] = [arr(3, seed=k) for k in range(8)]
        return [memory], [lambda: f(arr(2, 3)), keeps, lambda: g(), shorter, lambda: (memory.pop(), f(arr(2, 3))),
                          lambda: (rng.getstate()[1][:3], f(arr(4, 3)))]
    check(make, mode)


def assigned(batch, x):
    batch[0][2] = 1.5
    batch[1][2] += 1.0


def written(batch, x):
    batch[0][0][:] = x[0]


def replaced(batch, x):
    batch[0] = batch[1]
    batch.pop()


def grown(batch, x):
    batch[0].append(len(batch))


@pytest.mark.parametrize("change", [assigned, written, replaced, grown])
def test_what_is_drawn_changes(mode, change):
    """A member of the list that was drawn from is what the program makes of it."""
    def make(wrap):
        memory = [[arr(3, seed=k), k % 2, 0.5 * k] for k in range(8)]

        @wrap
        def f(x):
            batch = random.sample(memory, 4)
            change(batch, x)
            return F.sum(F.exp(np.stack([b[0] for b in batch]) * np.float32(0.1))), [b[2] for b in batch], sum(b[2] for b in memory)
        return [memory], [lambda: f(arr(2, 3)), lambda: f(arr(4, 3))]
    check(make, mode)


@pytest.mark.parametrize("body", [
    lambda nets, x, rng: sum(n(x) for n in rng.sample(list(nets), 2)), lambda nets, x, rng: [n(x) for n in rng.sample([*nets], k=3)][-1],
    lambda nets, x, rng: rng.sample([("a", x), ("b", x * 2)], 1), lambda nets, x, rng: rng.sample((x, 1, nets[0](x)), 2),
    lambda nets, x, rng: rng.sample([x], 0),
])
def test_some_of_what_the_call_has_in_a_list(mode, body):
    """Which members are drawn belongs to the path."""
    def make(wrap):
        nets, rng = hnn.ChainList(L.Linear(3, 2), L.Linear(3, 2), L.Linear(3, 2)), random.Random(3)
        f = wrap(lambda x: (body(nets, x, rng), rng.random()))
        return [nets, rng], [lambda: f(arr(2, 3)), lambda: f(arr(2, 3, seed=1))]
    skipped(check(make, mode, steps=[0, 1] * 30), mode, least=5)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("box", [list, deque, lambda: deque(maxlen=9)])
def test_what_the_call_has_just_remembered(mode, box, given):
    """May be in the batch, as the very object that is in the memory. ``given``: which is an argument."""
    def make(wrap):
        net, memory, kept, times = L.Linear(3, 2), box(), [], iter(range(1000))
        opt = optimizers.SGD(0.01).setup(net)
        memory.extend([(arr(3, seed=k), k % 2, 0.5 * k, k == 2) for k in range(6)])

        def learn(memory, s, a, r, done):
            memory.append((s, a, r, done))
            batch = random.sample(memory, 4)
            x, targets = np.stack([b[0] for b in batch]), [b[2] + 0.5 * (1.0 - b[3]) for b in batch]
            loss = F.mean((F.select_item(net(x), np.array([b[1] for b in batch])) - np.array(targets, "f")) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            if a == 0:
                kept.append(batch[0])
            return loss, random.random()
        step = wrap(learn) if given else wrap(lambda *transition: learn(memory, *transition))

        def run(**other):
            k = next(times)
            given_ = {"s": arr(3, seed=10 + k), "a": k % 2, "r": 0.1 * k, "done": k % 3 == 0, **other}
            loss = step(*([memory] if given else []), *given_.values())
            return loss, [[b is m for m in memory] for b in kept], len(memory)

        def apart(n=6, **other):
            """Among so many, which it leaves as they were."""
            before = list(memory)
            memory.clear()
            memory.extend(before[-n:])
            try:
                return run(**other)
            except (TypeError, ValueError) as error:
                return type(error), str(error)
            finally:
                memory.clear()
                memory.extend(before)
        return [net, memory], [run, lambda: apart(s=arr(4)), lambda: apart(2), lambda: apart(3), lambda: apart(r=1), lambda: apart(done=None),
                               lambda: apart(s=net.W.array[0])]
    skipped(check(make, mode, steps=[*plan(7), *[0] * 60]), mode, least=20)


def test_whether_an_episode_was_over(mode):
    """Bools of which each may be another one on every call are numbers in arithmetic."""
    def make(wrap):
        net, memory = L.Linear(3, 2), [(arr(3, seed=k), k % 3 == 0, 0.5 * k) for k in range(12)]

        @wrap
        def f(batch):
            total = 0
            for s, done, r in [*random.sample(memory, 4), *batch]:
                goal = r + 0.9 * float(F.max(net(s[None])).array) * (1 - done)
                total += (net(s[None])[0, 0] - goal) ** 2
            ends = [float(done) + int(done) * 2 + done * r - done / 4 + (2.0 if r > 1e9 else done * 3) for _, done, r in batch]
            return total, ends, [1 - done for _, done, _ in batch], sum(int(done) for _, done, _ in batch)

        def batch(k):
            return [(arr(3, seed=k + i), bool(k >> i & 1), 0.25 * i) for i in range(3)]
        return [net], [*[lambda k=k: f(batch(k)) for k in range(8)], lambda: f([(arr(3), 1, 0.5)] * 3), lambda: f([(arr(3), None, 0.5)] * 3),
                       lambda: f([(arr(3), np.True_, 0.5)] * 3)]
    skipped(check(make, mode), mode)
