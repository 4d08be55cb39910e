"""Iterators: every example once per epoch, in an order that seeds govern, and positions that can be saved."""
import copy
import multiprocessing
import os
import pickle
import threading
import time

import numpy as np
import pytest

from hybridnn import iterators
from hybridnn.serializers import DictionarySerializer, NpzDeserializer

MAKERS = {
    "serial": iterators.SerialIterator,
    "threads": lambda *args, **kwargs: iterators.MultithreadIterator(*args, n_threads=2, **kwargs),
    "processes": lambda *args, **kwargs: iterators.MultiprocessIterator(*args, n_processes=1, n_prefetch=2, **kwargs),
}
DATA = list(range(100, 107))


@pytest.fixture(params=MAKERS)
def make(request):
    made = []

    def maker(*args, **kwargs):
        made.append(MAKERS[request.param](*args, **kwargs))
        return made[-1]
    yield maker
    for it in made:
        it.finalize()


def test_batches_run_over_into_the_next_epoch(make):
    it = make(DATA, 3, shuffle=False)
    assert (it.epoch, it.epoch_detail, it.previous_epoch_detail, it.is_new_epoch) == (0, 0, None, False)
    seen = []
    for _ in range(5):
        batch = it.next()
        seen.append((batch, it.epoch, it.is_new_epoch, it.current_position))
        assert it.epoch_detail == it.epoch + it.current_position / 7
        assert it.previous_epoch_detail == pytest.approx(it.epoch_detail - 3 / 7)
    assert seen == [([100, 101, 102], 0, False, 3), ([103, 104, 105], 0, False, 6), ([106, 100, 101], 1, True, 2),
                    ([102, 103, 104], 1, False, 5), ([105, 106, 100], 2, True, 1)]


def test_one_epoch_ends_with_a_short_batch(make):
    it = make(DATA, 3, repeat=False, shuffle=False)
    assert list(it) == [[100, 101, 102], [103, 104, 105], [106]]
    assert it.epoch == 1 and it.is_new_epoch
    it.reset()
    assert len(list(it)) == 3


@pytest.mark.parametrize("size", [7, 10, 20])
def test_batches_of_an_epoch_and_more(make, size):
    it = make(DATA, size, shuffle=False)
    batch = it.next()
    assert batch == [DATA[i % 7] for i in range(size)]
    assert it.epoch == size // 7 and it.is_new_epoch


def test_shuffled_epochs_are_permutations_and_seeds_govern_them(make):
    np.random.seed(3)
    it = make(DATA, 7)
    first, second = it.next(), it.next()
    assert sorted(first) == sorted(second) == DATA
    assert first != second
    np.random.seed(3)
    again = make(DATA, 7)
    assert [again.next(), again.next()] == [first, second]


def test_an_order_of_ones_own(make):
    it = make(DATA, 4, repeat=False, order_sampler=lambda order, position: np.array([6, 0]))
    assert list(it) == [[106, 100]]
    with pytest.raises(ValueError, match="exclude"):
        make(DATA, 4, shuffle=True, order_sampler=lambda order, position: order)
    shrinking = make(DATA, 4, order_sampler=lambda order, position: order[1:])
    with pytest.raises(ValueError, match="keeps the length"):
        for _ in range(3):
            shrinking.next()


def test_a_shuffling_sampler_with_its_own_stream():
    def order():
        return iterators.ShuffleOrderSampler(np.random.RandomState(5))(np.arange(20), 0)
    np.testing.assert_array_equal(order(), order())
    sampler = pickle.loads(pickle.dumps(iterators.ShuffleOrderSampler()))
    assert sorted(sampler(np.arange(5), 0)) == [0, 1, 2, 3, 4]


def test_saved_positions_go_on(make):
    it = make(DATA, 3)
    for _ in range(4):
        it.next()
    saver = DictionarySerializer()
    it.serialize(saver)
    values = {k: np.array(v) for k, v in saver.target.items()}
    other = make(DATA, 3)
    other.next()
    other.serialize(NpzDeserializer(values))
    assert (other.epoch, other.current_position) == (it.epoch, it.current_position)
    assert other.previous_epoch_detail == it.previous_epoch_detail
    state = np.random.get_state()
    expected = [it.next() for _ in range(1)]
    np.random.set_state(state)
    assert [other.next() for _ in range(1)] == expected


def test_copies_are_independent(make):
    it = make(DATA, 3, shuffle=False)
    it.next()
    other = copy.copy(it)
    assert other.next() == [103, 104, 105]
    assert it.next() == [103, 104, 105]
    other.finalize()


def test_context_and_empty_datasets(make):
    with make([], 2, repeat=False, shuffle=False) as it:
        assert list(it) == [[]]
    with pytest.raises(ValueError, match="not empty"):
        make([], 2, shuffle=False).next()
    with pytest.raises(ValueError, match="batch_size"):
        make(DATA, 0)


class Broken:
    def __len__(self):
        return 3

    def __getitem__(self, i):
        raise KeyError(f"broken at {i}")


def test_exceptions_of_the_dataset_arrive(make):
    with pytest.raises(KeyError, match="broken at 0"):
        make(Broken(), 1, shuffle=False).next()


class Slow:
    def __len__(self):
        return 2

    def __getitem__(self, i):
        import time
        time.sleep(0.2)
        return i


def test_a_slow_dataset_is_reported():
    with iterators.MultiprocessIterator(Slow(), 1, n_processes=1, dataset_timeout=0.05, shuffle=False) as it:
        with pytest.warns(it.TimeoutWarning, match=r"more than 0\.05 s"):
            assert it.next() == [0]


def test_what_an_iterator_with_processes_was_made_with_can_be_read():
    it = iterators.MultiprocessIterator(DATA, 2, shuffle=False, n_prefetch=0, shared_mem=1000)
    assert (it.shuffle, it.n_prefetch, it.shared_mem, it.dataset_timeout, it.maxtasksperchild) == (False, 1, 1000, 30, None)
    assert it.n_processes == os.cpu_count()


@pytest.mark.parametrize("printed", [False, True])
def test_the_processes_of_an_iterator_tell_their_numbers_where_interruptions_are_tested(capfd, monkeypatch, printed):
    monkeypatch.setattr(iterators.MultiprocessIterator, "_interruption_testing", printed)
    with iterators.MultiprocessIterator(DATA, 2, n_processes=2) as it:
        it.next()
        alive = sorted(process.pid for process in multiprocessing.active_children())
        assert sorted(map(int, capfd.readouterr().out.split())) == (alive if printed else []) and len(alive) == 2


@pytest.mark.parametrize("kind, name, other_name", [
    (iterators.SerialIterator, "order", "_order"), (iterators.MultithreadIterator, "_order", "order")])
def test_positions_that_older_programs_saved(kind, name, other_name):
    iterator = kind(list(range(6)), 2)
    seen, saved = iterator.next() + iterator.next(), {}
    iterator.serialize(DictionarySerializer(saved))
    saved[other_name] = saved.pop(name)
    del saved["previous_epoch_detail"]
    other = kind(list(range(6)), 2)
    other.serialize(NpzDeserializer(saved))
    assert other.previous_epoch_detail == pytest.approx(2 / 6)
    assert sorted(seen + other.next()) == list(range(6))


def test_finalized_processes_cannot_be_reset():
    iterator = iterators.MultiprocessIterator([1, 2], 1, n_processes=1)
    iterator.next()
    iterator.finalize()
    with pytest.raises(NotImplementedError, match="make a new one"):
        iterator.reset()


class Replacing(iterators.MultithreadIterator):
    """Starts workers as a pool looks between the end of its workers and the start of their replacements."""

    def _start_pool(self):
        pool = super()._start_pool()
        self.workers, pool._pool = pool._pool, []
        return pool


def test_a_request_while_all_workers_are_being_replaced():
    with Replacing([1, 2, 3, 4], 2, shuffle=False) as iterator:
        assert [iterator.next(), iterator.next()] == [[1, 2], [3, 4]]


class Pipeline:
    """As one of DALI's, with batches that are numbers."""
    batch_size, batches = 2, 0

    def build(self):
        self.built = True

    def epoch_size(self):
        return {"reader": 5}

    def run(self):
        assert self.built
        self.batches += 1
        return self.batches


def test_batches_of_a_pipeline_count_epochs():
    it = iterators.DaliIterator(Pipeline())
    seen = [(it.next(), it.epoch, it.is_new_epoch, it.current_position) for _ in range(3)]
    assert seen == [(1, 0, False, 2), (2, 0, False, 4), (3, 1, True, 1)]
    assert (it.epoch_size, it.epoch_detail, it.previous_epoch_detail) == (5, 1.2, 0.8)
    saved = {}
    it.serialize(DictionarySerializer(saved))
    other = iterators.DaliIterator(Pipeline())
    other.serialize(NpzDeserializer(saved))
    assert (other.epoch, other.current_position, other.previous_epoch_detail) == (1, 1, 0.8)
    assert list(iterators.DaliIterator(Pipeline(), repeat=False)) == [1, 2, 3]


def test_processes_that_are_replaced_do_not_wait_for_those_of_another_iterator(monkeypatch):
    fork = os.fork

    def slow():
        time.sleep(0.2)      # both have made their pipes by then, were they to start together
        return fork()

    def read(name, **kwargs):
        batches[name] = []
        with iterators.MultiprocessIterator(range(3), 1, shuffle=False, repeat=False, n_processes=1, **kwargs) as iterator:
            batches[name].extend(iterator)
            read_both.wait()

    monkeypatch.setattr(os, "fork", slow)
    batches, read_both = {}, threading.Barrier(2)
    threads = [
        threading.Thread(target=read, args=("replaced",), kwargs={"maxtasksperchild": 1}, daemon=True),
        threading.Thread(target=read, args=("kept",), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert batches == {"replaced": [[0], [1], [2]], "kept": [[0], [1], [2]]}
    assert not any(thread.is_alive() for thread in threads)
