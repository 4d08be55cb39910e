"""Iterators that the traced function itself asks for batches, as ``update_core`` of an updater does."""
import gc
import types
import weakref

import numpy as np
import pytest
from worlds import MODES, arr, check, skipped

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L
from hybridnn import datasets, iterators, optimizers, training
from hybridnn.dataset import DatasetMixin, concat_examples

pytestmark = pytest.mark.parametrize("mode", MODES)
ORDERS = [dict(), dict(shuffle=False), dict(repeat=False), dict(order_sampler=lambda: iterators.ShuffleOrderSampler(np.random.RandomState(3)))]
N = 22


def labels():
    return (np.arange(N) * 5 % 3).astype("i")


DATA = {
    "arrays": lambda: datasets.TupleDataset(arr(N, 4), labels()),
    "pairs": lambda: list(zip(arr(N, 4), labels())),
    "python": lambda: list(zip(arr(N, 4), labels().tolist())),
    "dicts": lambda: datasets.DictDataset(x=arr(N, 4), t=labels()),
    "a part": lambda: datasets.split_dataset_random(datasets.TupleDataset(arr(2 * N, 4), np.tile(labels(), 2)), N, seed=1)[0],
    "two": lambda: datasets.ConcatenatedDataset(datasets.TupleDataset(arr(9, 4), labels()[:9]), datasets.TupleDataset(arr(13, 4), labels()[9:])),
}


class Updater(training.updaters.StandardUpdater):
    def __init__(self, iterator, opt, net):
        super().__init__(iterator, opt)
        self.net, self.log = net, []

    def loss(self, batch):
        found = self.converter(batch, self.device)
        x, t = found.values() if type(found) is dict else found
        return F.softmax_cross_entropy(self.net(x), t)

    def update_core(self):
        loss = self.loss(self.get_iterator("main").next())
        self.net.cleargrads()
        loss.backward()
        self.get_optimizer("main").update()
        self.log.append(loss.item())


class Twice(Updater):
    """Noise between batches, and an update between them."""

    def update_core(self):
        for _ in range(2):
            batch = next(self.get_iterator("main"))
            noise = np.random.normal(0, 0.1, 3).astype("f")
            loss = self.loss(batch) + F.sum(F.dropout(noise, 0.5))
            self.net.cleargrads()
            loss.backward()
            self.get_optimizer("main").update()
        return loss


class Stopping(Updater):
    """Python has to run after all where the loss decides."""

    def update_core(self):
        super().update_core()
        return "low" if self.log[-1] < 1.1 else "high"


def made(wrap, data, order, kind, size=4):
    class Traced(kind):
        update_core = wrap(kind.update_core)
    net = L.Linear(4, 3)
    order = {k: v() if callable(v) else v for k, v in order.items()}
    return Traced(iterators.SerialIterator(data, size, **order), optimizers.MomentumSGD(0.05).setup(net), net)


def standing(u):
    it = u.get_iterator("main")
    return u.update_core, it.epoch, it.current_position, it.is_new_epoch, it.previous_epoch_detail, it.epoch_detail


@pytest.mark.parametrize("kind", [Updater, Twice, Stopping])
@pytest.mark.parametrize("order", ORDERS, ids=["shuffled", "in order", "once", "own numbers"])
@pytest.mark.parametrize("data", DATA)
def test_update_core(mode, data, order, kind):
    def make(wrap):
        u = made(wrap, DATA[data](), order, kind)

        def step():
            if not order.get("repeat", True) and u.epoch:
                u.get_iterator("main").reset()
            return u.update_core(), *standing(u)[1:]
        return [u], [step, step]
    world = check(make, mode)
    if order.get("repeat", True):
        skipped(world, mode)


def test_the_end_of_the_data_is_raised_where_it_is_met(mode):
    def make(wrap):
        u = made(wrap, DATA["arrays"](), dict(repeat=False), Updater, size=2)
        return [u.net, u.log], [u.update_core, lambda: u.get_iterator("main").reset()]
    check(make, mode)


def test_a_list_of_arrays_and_arrays_alone(mode):
    def make(wrap):
        its = [iterators.SerialIterator(d, 3) for d in (arr(10, 4), list(arr(11, 4)), tuple(arr(12, 4)), np.arange(13.0))]
        net = L.Linear(4, 2)

        @wrap
        def f():
            a, b, c, d = [it.next() for it in its]
            return net(concat_examples(a)) + net(np.stack(b)) * net(c[1][None]), np.array(d).sum(), a[0], b[1]
        return [net], [f]
    skipped(check(make, mode), mode, 5)


@pytest.mark.parametrize("device", [None, -1, "-1", "@numpy", hnn.backend.CpuDevice()])
def test_batches_go_to_a_device_however_it_is_named(mode, device):
    def make(wrap):
        it = iterators.SerialIterator(DATA["arrays"](), 4)
        net = L.Linear(4, 3)
        opt = optimizers.SGD(0.05).setup(net)

        @wrap
        def f():
            x, t = concat_examples(it.next(), device)
            opt.update(lambda: F.softmax_cross_entropy(net(x), t))
            return x, hnn.dataset.to_device(device, t)
        return [net], [f, f]
    skipped(check(make, mode), mode)


def test_datasets_and_orders_of_the_programs_own_run_its_code(mode):
    class Counting(DatasetMixin):
        def __init__(self):
            self.asked = []

        def __len__(self):
            return N

        def get_example(self, i):
            self.asked.append(i)
            return arr(4, seed=i), np.int32(i % 3)

    class Backwards(iterators.OrderSampler):
        def __init__(self):
            self.asked = 0

        def __call__(self, order, position):
            self.asked += 1
            return order[::-1]

    def make(wrap):
        data, order = Counting(), Backwards()
        of_data, ordered = made(wrap, data, {}, Stopping), made(wrap, DATA["arrays"](), dict(order_sampler=lambda: order), Stopping)
        part = made(wrap, datasets.TupleDataset(datasets.SubDataset(data, 0, 9), arr(9)), {}, Stopping)
        part.loss = lambda batch: F.sum(part.net(np.stack([x for (x, _), _ in batch])) ** 2)
        return [data, order, of_data.net, ordered.net, part.net], [of_data.update_core, ordered.update_core, part.update_core]
    check(make, mode)


def test_what_an_iterator_rests_on_changes_between_calls(mode):
    def make(wrap):
        u = made(wrap, DATA["arrays"](), {}, Updater)
        it, seen = u.get_iterator("main"), []

        class Seen(datasets.TupleDataset):
            def __getitem__(self, i):
                seen.append(i)
                return super().__getitem__(i)

        def put(**values):
            def change():
                it.__dict__.update(values)
                return u.update_core()
            return change

        def seed():
            np.random.seed(4)
            return u.update_core()

        def longer():
            it.batch_size += 1
            return u.update_core()

        def advance(position):
            seen.append("advance")
            return type(it)._advance(it, position)

        def plain():
            it.__dict__.pop("_advance", None)
            return u.update_core()

        def into_the_data():
            it.dataset._datasets[0][...] *= 0.5
            return u.update_core()
        return [u.net, u.log, seen], [u.update_core, put(dataset=list(DATA["arrays"]())), put(dataset=DATA["arrays"]()), seed, longer, put(_advance=advance),
                                      plain, put(dataset=Seen(arr(N, 4), labels())), put(dataset=DATA["pairs"]()), lambda: it.reset(), put(_repeat=False),
                                      put(_repeat=True), into_the_data]
    check(make, mode)


def test_the_call_changes_the_data(mode):
    """What is read later is what was written."""
    def make(wrap):
        x, t, more = arr(8, 4), np.arange(8).astype("i") % 3, list(arr(6, 4))
        it, own = iterators.SerialIterator(datasets.TupleDataset(x, t), 3), iterators.SerialIterator(more, 2)
        net = L.Linear(4, 3)
        net.W.array = x[:3]         # the parameter lies in the data
        opt = optimizers.SGD(0.1).setup(net)

        @wrap
        def relabel():
            t[...] = (t + 1) % 3
            return [b for _, b in it.next()]

        @wrap
        def trained():
            loss = F.sum(net(arr(2, 4)) ** 2)
            net.cleargrads()
            loss.backward()
            opt.update()
            return np.stack([a for a, _ in it.next()]).copy()

        @wrap
        def growing(v):
            more.append(v)
            return np.stack(own.next())

        @wrap
        def replaced(v):
            more[0] = v
            return np.stack(own.next())

        @wrap
        def larger():
            own.batch_size = 5 - own.batch_size
            return np.stack(own.next())

        @wrap
        def another(v):
            own.dataset = v
            first = np.stack(own.next())
            own.dataset = more
            return first, np.stack(own.next())

        @wrap
        def other_parts(v):
            it.dataset._datasets = (v, t)
            return np.stack([a for a, _ in it.next()])
        return [x, t, more, net], [relabel, trained, lambda: growing(arr(4)), lambda: replaced(arr(4)), relabel, larger, lambda: another([arr(4)] * 9),
                                   lambda: other_parts(arr(8, 4)), lambda: other_parts(x)]
    check(make, mode)


def test_where_an_iterator_stands_is_looked_at_in_the_call(mode):
    def make(wrap):
        u = made(wrap, DATA["arrays"](), {}, Updater)
        it = u.get_iterator("main")

        @wrap
        def ends():
            batch = it.next()
            return len(batch), it.is_new_epoch, it.epoch, it.current_position

        @wrap
        def before():
            at = it.epoch
            it.next()
            return at, it.epoch_detail, it.previous_epoch_detail

        @wrap
        def hidden():
            at = it._position
            it.next()
            return at.epoch, it._position.epoch, it._position.current_position

        @wrap
        def hidden_before():
            at = it._previous_epoch_detail
            it.next()
            return at

        @wrap
        def hidden_elsewhere():
            at = vars(it)["_previous_epoch_detail"]
            it.next()
            return at, it.__dict__["_previous_epoch_detail"]

        @wrap
        def starts_again():
            it.next()
            it.reset()
            return it.next()[0][1]
        return [u.net], [ends, before, hidden, hidden_before, hidden_elsewhere, starts_again]
    check(make, mode)


COLUMNS = ["arrays", "dicts", "a part"]


@pytest.mark.parametrize("order", ORDERS, ids=["shuffled", "in order", "once", "own numbers"])
@pytest.mark.parametrize("data", DATA)
def test_the_librarys_own_update_core(mode, data, order):
    """It looks at where the iterator stands, reports, and counts epochs."""
    def make(wrap):
        class Net(L.Linear):
            def forward(self, x, t=None):
                y = super().forward(x)
                return y if t is None else F.softmax_cross_entropy(y, t)
        net = Net(4, 3)
        model = net if data == "dicts" else L.Classifier(net)
        opt = optimizers.Adam(0.05).setup(model)
        settings = {k: v() if callable(v) else v for k, v in order.items()}
        u = training.updaters.StandardUpdater(iterators.SerialIterator(DATA[data](), 4, **settings), opt)
        u.update_core, reporter = wrap(u.update_core), hnn.Reporter()
        reporter.add_observer("main", model)

        def step():
            if not order.get("repeat", True) and u.epoch:
                u.get_iterator("main").reset()
            with reporter.scope({}):
                u.update()
                return dict(reporter.observation), opt.epoch, u.iteration, *standing(u)[1:]
        return [model], [step, step]
    world = check(make, mode)
    if order.get("repeat", True):
        skipped(world, mode, 8)


@pytest.mark.parametrize("data", DATA)
def test_what_is_made_of_batches_of_which_something_else_is_asked(mode, data):
    def make(wrap):
        it = iterators.SerialIterator(DATA[data](), 5)
        join, scaled = concat_examples.function, iter(range(100))

        @wrap
        def alone():
            return concat_examples(it.next())

        @wrap
        def returned():
            batch = it.next()
            return batch, join(batch), concat_examples(batch, None, None)

        @wrap
        def looked_at():
            batch = it.next()
            size, first = len(batch), batch[0]
            return size, first, concat_examples(batch), batch[-1], len(batch)

        @wrap
        def changed():
            batch = it.next()
            batch[0] = batch[1]
            found = concat_examples(batch)
            batch.append(batch[2])
            return found, concat_examples(batch)

        @wrap
        def grown():
            batch = it.next()
            batch.append(batch[0])
            return concat_examples(batch)

        @wrap
        def two():
            a, b = it.next(), it.next()
            return concat_examples(a), it.epoch, concat_examples(b + a), it.is_new_epoch

        @wrap
        def padded():
            return concat_examples(it.next(), padding=0)

        @wrap
        def kept(k):
            made = concat_examples(it.next())
            x = made if type(made) is np.ndarray else made["x"] if type(made) is dict else made[0]
            x *= k
            return made
        return [it], [alone, returned, looked_at, changed, grown, two, padded, lambda: kept(np.float32(next(scaled)))]
    check(make, mode)


@pytest.mark.parametrize("data", COLUMNS)
def test_the_data_changes_before_the_examples_are_joined(mode, data):
    """Rows are views of it, and labels no views."""
    def make(wrap):
        whole = DATA[data]()
        it, inner = iterators.SerialIterator(whole, 5), getattr(whole, "_dataset", whole)
        parts = inner._datasets
        x, t = parts.values() if type(parts) is dict else parts

        @wrap
        def step(k):
            batch = it.next()
            x[...] = x * k
            t[...] = (t + 1) % 3
            return concat_examples(batch)

        @wrap
        def plain():
            return concat_examples(it.next())

        def between():
            x[...] = x + 1
            return plain()

        def another():
            if type(parts) is dict:
                parts["x"] = parts["x"][::-1].astype("d")
            else:
                inner._datasets = (inner._datasets[0][::-1].astype("d"), t)
            return plain()

        def read_only():
            x.flags.writeable = False
            found = plain()
            x.flags.writeable = True
            return found
        return [it, x, t], [lambda: step(0.5), plain, between, read_only, another, plain]
    check(make, mode)


KINDS = [
    lambda: (arr(N, 3, 2)[:, ::-1], np.asfortranarray(arr(N, 2, 5))), lambda: (arr(N, 4).astype(">f4"), labels()), lambda: (arr(N) > 0, arr(N, 2) > 0),
    lambda: (arr(N).astype("e"), labels().astype("u1")), lambda: (arr(N, 0), arr(N, 1, 1)), lambda: (np.array([None, 1] * 11), arr(N)),
    lambda: (np.ma.masked_array(arr(N, 2), arr(N, 2) > 0), arr(N)), lambda: (arr(1, 4).repeat(N, 0).view(np.matrix), arr(N)),
    lambda: (arr(N, 2), list(range(N))), lambda: (datasets.TupleDataset(arr(N, 2), labels()), arr(N)),
    lambda: (np.broadcast_to(arr(1, 3), (N, 3)), arr(N).astype("D"))]


@pytest.mark.parametrize("arrays", KINDS)
def test_arrays_of_all_kinds_are_joined(mode, arrays):
    def make(wrap):
        its = [iterators.SerialIterator(d, 4) for d in (datasets.TupleDataset(*arrays()), arrays()[0], arrays()[1])]
        steps = [wrap(lambda it=it: concat_examples(it.next())) for it in its]
        return its, steps
    check(make, mode)


def test_a_joining_function_that_is_replaced(mode, monkeypatch):
    def make(wrap):
        u = made(wrap, DATA["arrays"](), {}, Updater)
        own, module = concat_examples.function, concat_examples.function.__globals__

        def reversed_(batch, device=None, padding=None):
            return own(batch[::-1], device, padding)

        def put(space, name, value):
            def change():
                with monkeypatch.context() as m:
                    m.setitem(space, name, value)
                    return u.update_core()
            return change
        inner = module["_concat_arrays"]
        return [u], [u.update_core, put(vars(concat_examples), "function", reversed_),
                     put(module, "_concat_arrays", lambda items, fill: inner(items[::-1], fill)),
                     put(vars(u), "converter", lambda batch, device: own(batch[1:])), u.update_core]
    check(make, mode)


@pytest.mark.parametrize("kind", [Updater, Twice])
def test_batches_are_asked_for_once_where_calls_are_checked(mode, kind):
    def make(wrap):
        u = made(wrap, DATA["arrays"](), {}, kind)
        return [u], [u.update_core]
    check(make, mode, check=1.0)


def test_an_iterator_goes_with_its_owner(mode):
    u = made(lambda fn: hnn.trace(fn, mode=mode), DATA["arrays"](), {}, Updater)
    traced = type(u).update_core
    for _ in range(8):
        u.update_core()
    gone = [weakref.ref(x) for x in (u.get_iterator("main"), u.get_iterator("main").dataset, u.net)]
    gc.collect()
    gc.disable()
    try:
        del u
        assert [g() for g in gone] == [None] * 3
    finally:
        gc.enable()
    assert traced is not None


@pytest.mark.parametrize("data", [[*range(7)], [0.5, 1.5, 2.5, 3.5], [(k, 0.5 * k) for k in range(5)]], ids=["ints", "floats", "tuples"])
def test_numbers_of_a_batch(mode, data):
    """Operations take numbers that are examples: these are looked at once the iterator has given them."""
    def make(wrap):
        state = types.SimpleNamespace(iterator=iterators.SerialIterator([*data], 3, shuffle=False))

        @wrap
        def f(x):
            batch = next(state.iterator)
            first = batch[0] if type(data[0]) is not tuple else batch[0][0]
            return F.tanh(x) * first

        def change(value):
            def run():
                state.iterator.dataset[1] = (value, 1) if type(data[0]) is tuple else value
                return [f(arr(2, 3)).array for _ in range(3)]
            return run
        return state, [lambda: f(arr(2, 3)), change(10 ** 30), change("text"), change(np.float32(2))]
    skipped(check(make, mode), mode)
