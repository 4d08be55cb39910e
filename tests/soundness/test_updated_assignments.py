"""Optimizers that update, inside a traced function, arrays which the program has just assigned to its parameters."""
import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import optimizers

pytestmark = pytest.mark.parametrize("mode", MODES)


class Parts:
    """A net, its optimizers, and what the program holds beside them."""

    def __init__(self, kind):
        self.net = hnn.ChainList(L.Linear(3, 4), L.Linear(4, 2))
        self.net.forward = lambda x: self.net[1](F.tanh(self.net[0](x)))
        for k, p in enumerate(self.net.params()):
            p.array = arr(*p.shape, seed=k) * np.float32(0.5)
        self.opt, self.inner = kind().setup(self.net), optimizers.SGD(0.1).setup(self.net)
        self.kept, self.W = [], self.net[0].W
        self.old = self.W.array

    def learn(self, x, opt):
        loss = F.mean(self.net(x) ** 2)
        self.net.cleargrads()
        loss.backward()
        opt.update()
        return loss


def scaled(s, x):
    s.W.array = s.W.array * np.float32(0.9)
    return s.learn(x, s.opt)


def constant(s, x):
    s.W.array = np.full((4, 3), 0.25, "f")
    return s.learn(x, s.opt)


def constant_that_is_summed(s, x):
    return constant(s, x), s.W.array.sum()


def there_and_back(s, x):
    kept = [p.array.copy() for p in s.net.params()]
    for _ in range(2):
        loss = s.learn(x, s.inner)
    s.net.cleargrads()
    F.mean(s.net(x) ** 2).backward()
    for p, a in zip(s.net.params(), kept):
        p.array = a
    s.opt.update()
    return loss


def summed_afterwards(s, x):
    a = s.W.array * np.float32(0.9)
    before = a.sum()
    s.W.array = a
    loss = s.learn(x, s.opt)
    return loss, before, a.sum(), a.max()


def shown_afterwards(s, x):
    a = s.W.array * np.float32(0.9)
    s.W.array = a
    return s.learn(x, s.opt), a, s.net(x)


def assigned_twice(s, x):
    s.W.array = s.W.array * np.float32(0.9)
    first = s.learn(x, s.opt)
    s.W.array = s.W.array + np.float32(0.01)
    return first, s.learn(x, s.opt)


def one_for_two(s, x):
    other = s.net[1].W
    a = np.full((4, 3), 0.1, "f")
    s.W.array = a
    other.array = a.reshape(-1)[:8].reshape(2, 4).copy()
    return s.learn(x, s.opt), a.mean()


def part_of_another(s, x):
    a = s.W.array * np.float32(0.9)
    s.W.array = a
    v = a[0]
    loss = s.learn(x, s.opt)
    return loss, v.sum()


def of_a_variable(s, x):
    a = s.W.array * np.float32(0.9)
    s.W.array = a
    loss = s.learn(x, s.opt)
    return loss, F.sum(hnn.Variable(a) * 2)


def written_afterwards(s, x):
    s.W.array = s.W.array * np.float32(0.9)
    loss = s.learn(x, s.opt)
    s.W.array *= np.float32(0.5)
    return loss, s.net(x)


def graph_from_before(s, x):
    y = s.net(x)
    s.W.array = s.W.array * np.float32(0.9)
    s.learn(x, s.opt)
    return y, s.net(x)


def updated_before_and_after(s, x):
    first = s.learn(x, s.opt)
    s.W.array = s.W.array * np.float32(0.9)
    return first, s.learn(x * 2, s.opt)


def replaced_array_summed(s, x):
    first = s.learn(x, s.opt)
    s.W.array = s.W.array * np.float32(0.9)
    return first, s.old.sum()


def replaced_array_taken(s, x):
    first = s.learn(x, s.opt)
    s.W.array = s.W.array * np.float32(0.9)
    return first, s.learn(x * 2, s.opt), F.sum(s.old * np.float32(2))


def replaced_array_written(s, x):
    first = s.learn(x, s.opt)
    s.W.array = s.W.array * np.float32(0.9)
    s.old *= np.float32(0.5)
    return first, s.learn(x * 2, s.opt), s.old.copy()


def another_variable_of_it(s, x):
    s.old *= np.float32(0.9)
    loss = s.learn(x, s.opt)
    return loss, F.sum(hnn.Variable(s.old))


def replaced_while_work_waits(s, x):
    s.learn(x, s.opt)
    first = F.sum(s.net(x) * 2)
    s.W.array = s.W.array * np.float32(0.9)
    return first, F.sum(hnn.Variable(s.old)), s.net(x)


def written_as_it_was_while_work_waits(s, x):
    s.W.array *= np.float32(0.8)
    s.learn(x, s.opt)
    kept = s.W.array.copy()
    loss = F.mean(s.net(x) ** 2)
    s.net.cleargrads()
    loss.backward()
    s.net[1].b.array = s.net[1].b.array * np.float32(0.5)
    s.W.array[...] = kept
    return loss, s.net(x)


def graph_between_two_updates(s, x):
    s.W.array[...] = np.clip(s.W.array, -0.2, 0.2)
    s.learn(x, s.opt)
    y = s.net(x)
    s.learn(x * 2, s.opt)
    return y, s.net(x)


def clipped_by_assignment(s, x):
    for _ in range(3):
        loss = s.learn(x, s.opt)
        for p in s.net.params():
            p.array = np.clip(p.array, -0.2, 0.2)
    return loss, s.net(x), s.W.array.max()


def perturbed_and_restored(s, x):
    old = s.W.array
    s.W.array = old + np.float32(0.1)
    y = s.net(x)
    s.W.array = old
    return y, s.learn(x, s.opt), s.net(x)


def restored_and_summed(s, x):
    old = s.W.array
    s.W.array = old + np.float32(0.1)
    y = s.net(x)
    s.W.array = old
    return y, s.learn(x, s.opt), old.sum(), s.old.sum()


def restored_after_an_update(s, x):
    old = s.W.array
    s.W.array = old * np.float32(1.1)
    loss = s.learn(x, s.opt)
    s.W.array = old
    return loss, s.net(x), old.max()


def restored_unused(s, x):
    old = s.W.array
    s.W.array = old * np.float32(1.1)
    s.W.array = old
    return s.learn(x, s.opt)


def restored_twice(s, x):
    old, found = s.W.array, []
    for k in range(2):
        s.W.array = old + np.float32(0.1 * k)
        found.append(s.net(x).array.sum())
    s.W.array = old
    s.learn(x, s.inner)
    s.W.array = s.W.array + np.float32(0.01)
    y = s.net(x)
    s.W.array = old
    return found, y, s.net(x)


FOLLOWED = [scaled, constant, there_and_back, updated_before_and_after, perturbed_and_restored, restored_unused, assigned_twice,
            clipped_by_assignment, constant_that_is_summed]


@pytest.mark.parametrize("body", [*FOLLOWED, replaced_array_summed, replaced_array_taken, replaced_array_written,
                                  another_variable_of_it, replaced_while_work_waits, written_as_it_was_while_work_waits, graph_between_two_updates,
                                  restored_and_summed, restored_after_an_update, restored_twice,
                                  summed_afterwards, shown_afterwards, one_for_two, part_of_another, of_a_variable, written_afterwards,
                                  graph_from_before])
@pytest.mark.parametrize("kind", [optimizers.SGD, optimizers.Adam])
def test_updates_of_what_was_assigned(mode, body, kind):
    def make(wrap):
        s = Parts(kind)

        @wrap
        def f(x):
            return body(s, x)

        def held():
            s.old = s.W.array
            s.kept.append(s.old)
            return f(arr(5, 3))

        def shared():
            """Another parameter is over the memory of this one."""
            whole = np.ascontiguousarray(np.concatenate([s.W.array.ravel(), arr(8)]))
            s.W.array, s.net[1].W.array = whole[:12].reshape(4, 3), whole[12:].reshape(2, 4)
            return f(arr(5, 3))

        def one():
            whole = arr(12)
            s.W.array, s.net[1].W.array = whole.reshape(4, 3), whole[:8].reshape(2, 4)
            return f(arr(5, 3))

        def parted():
            s.W.array, s.net[1].W.array = s.W.array.copy(), s.net[1].W.array.copy()
            return f(arr(5, 3))

        def walked():
            found = f(arr(5, 3))
            if body not in (graph_from_before, graph_between_two_updates):
                return found
            s.net.cleargrads()
            F.sum(found[0]).backward()
            return found, [p.grad for p in s.net.params()]

        def frozen():
            s.W.array.flags.writeable = False
            try:
                return f(arr(5, 3))
            except ValueError as error:
                return str(error)
            finally:
                s.W.array = s.W.array.copy()
        return [s.net, s.opt, s.kept], [lambda: f(arr(5, 3)), held, lambda: f(-arr(5, 3)), walked, shared, one, parted, frozen, lambda: f(arr(4, 3))]
    w = check(make, mode, tolerance=100.0)
    if body in FOLLOWED:
        skipped(w, mode)
