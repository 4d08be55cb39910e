"""A parallel step in native code: the caller works, and helpers join in when they have a core to run on.

A barrier that waits for every thread loses milliseconds when another process holds a core: the helper that it waits for is not
even running. Here the caller takes pieces of the range from the front, helpers from the back, until none is left; then the caller
closes the job and waits only for pieces that are being worked on. A helper that comes late finds the job closed.

One job at a time: a caller that finds the pool taken (another Python thread's plan) does its step alone. Helpers spin for a tenth
of a millisecond between jobs, then sleep, and short steps do not wake them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hybridnn.jit import fpregister
from hybridnn.jit.lowlevel import I1, I32, I64, PTR, VOID, Func, Module, Val, Var

# Words of the pool's memory; what different threads write lies on lines of its own (two cache lines, which are fetched in pairs).
LINE = 16
LOCK, JOB, OPEN, GENERATION, ACTIVE, CLAIMED, BACK, JOINED, SLEEPERS, MUTEX, CONDITION = (LINE * i for i in range(11))
FLAGS = JOINED + 1  # floating-point exceptions that helpers raised
# Under the lock: nanoseconds that helpers slept through, what they gained since they were woken, how much is enough to wake them.
ALONE, GAIN, ENOUGH = LOCK + 1, LOCK + 2, LOCK + 3
WORDS = LINE * 12
FN, BUFS, ARGS, LO, HI, CHUNK, CHUNKS, ALLOWED = range(JOB, JOB + 8)

PIECES = 8  # of a range per thread: the last one to finish is at most a piece behind
SPINS = 10_000  # looks for the next job before a helper sleeps: about 100 us, as the small steps between two products may take
# Nanoseconds of work that the caller does alone before helpers are woken, which takes 5 to 50 us: at least, and at most.
LEAST_ALONE, MOST_ALONE = 60_000, 20_000_000
PATIENCE = 1000  # looks, for the next job or at helpers that finish, before a thread offers its core


def emit(m: Module, pool_entry: int, limit_entry: int) -> Func:
    """Writes ``hnn_parallel(fn, bufs, args, lo, hi, grain, threads.TABLE, last)`` and ``hnn_start_helpers(pool, n)``.

    ``last`` points to the nanoseconds that the caller would take alone, as far as that is known; 0 at first.
    """
    _start(m, _helper(m))
    f = m.func("hnn_parallel", VOID, [I64, PTR, PTR, I64, I64, I64, PTR, PTR])
    fn, bufs, args, lo, hi, grain, table, last = f.params
    pool, limit = f.load(PTR, table, pool_entry), f.load(I64, table, limit_entry)
    alone = (f.to_int(pool) == 0) | (limit <= 1) | (hi - lo <= grain)
    taken = f.var(f.value(0, I1), I1)
    with f.when(alone == f.value(0, I1)):
        taken.set(_take(f, pool))
    with f.either(taken.get()) as (shared, serial):
        with serial:
            f.call_address(fn, VOID, bufs, args, lo, hi)
        with shared:
            start = _clock(m, f)
            _open(f, pool, fn, bufs, args, lo, hi, grain, limit)
            _wake_if_it_pays(m, f, pool, f.load(I64, last))
            _work_in_front(m, f, pool, start, last)
            _close(m, f, pool)
            fpregister.join(m, f, f.load(I64, pool, FLAGS))
            gain = f.load(I64, last) - (_clock(m, f) - start)
            f.store(f.load(I64, pool, GAIN) + gain, pool, GAIN)
            _set(f, pool, LOCK, 0)
    f.ret()
    return f


# Atomic words


def _slot(f: Func, pool: Val, word: int) -> Any:
    return f.at(pool, word * 8).ir


def _get(f: Func, pool: Val, word: int) -> Val:
    return Val(f, f.builder.load_atomic(_slot(f, pool, word), "seq_cst", 8, typ=I64))


def _set(f: Func, pool: Val, word: int, x: Any) -> None:
    f.builder.atomic_rmw("xchg", _slot(f, pool, word), f.value(x).ir, "seq_cst")


def _add(f: Func, pool: Val, word: int, x: int) -> Val:
    """Adds, and gives the value before."""
    return Val(f, f.builder.atomic_rmw("add", _slot(f, pool, word), f.value(x).ir, "seq_cst"))


def _take(f: Func, pool: Val) -> Val:
    """Whether the lock was free and is ours now."""
    b = f.builder
    pair = b.cmpxchg(_slot(f, pool, LOCK), f.value(0).ir, f.value(1).ir, "seq_cst")
    return Val(f, b.extract_value(pair, 1))


def _pause(m: Module, f: Func) -> None:
    """Tells the core that this is a spin; nothing on CPUs that have no such instruction."""
    if m.is_x86:
        f.call(m.extern("llvm.x86.sse2.pause", VOID, []))


# The caller's side


def _open(f: Func, pool: Val, fn: Val, bufs: Val, args: Val, lo: Val, hi: Val, grain: Val, limit: Val) -> None:
    """Publishes a job. No helper reads its words unless it sees it open, nor is any at work on the last one."""
    per_piece = (hi - lo) // (limit * PIECES)
    chunk = (f.select(per_piece < grain, grain, per_piece) + grain - 1) // grain * grain
    chunks = (hi - lo + chunk - 1) // chunk
    job = {FN: fn, BUFS: f.to_int(bufs), ARGS: f.to_int(args), LO: lo, HI: hi, CHUNK: chunk, CHUNKS: chunks, ALLOWED: limit - 1}
    for word, x in job.items():
        f.store(x, pool, word)
    for counter in (CLAIMED, BACK, JOINED, FLAGS):
        f.store(0, pool, counter)
    _set(f, pool, OPEN, 1)
    _add(f, pool, GENERATION, 1)


def _wake_if_it_pays(m: Module, f: Func, pool: Val, nanoseconds: Val) -> None:
    """Wakes sleeping helpers if the caller would take long alone, or has done so for as long in several jobs.

    How long is long depends on whether waking them gained time before: on a busy machine it costs more than they help.
    """
    with f.when(_get(f, pool, SLEEPERS) > 0):
        alone = f.load(I64, pool, ALONE) + nanoseconds
        enough = f.load(I64, pool, ENOUGH)
        pays = alone > f.select(enough < LEAST_ALONE, LEAST_ALONE, enough)
        f.store(f.select(pays, 0, alone), pool, ALONE)
        with f.when(pays):
            gained = f.load(I64, pool, GAIN) >= 0
            doubtful = f.least(enough * 4 + LEAST_ALONE, MOST_ALONE)
            f.store(f.select(gained, enough // 4, doubtful), pool, ENOUGH)
            f.store(0, pool, GAIN)
            f.call(m.extern("pthread_mutex_lock", I32, [PTR]), f.at(pool, MUTEX * 8))
            f.call(m.extern("pthread_cond_broadcast", I32, [PTR]), f.at(pool, CONDITION * 8))
            f.call(m.extern("pthread_mutex_unlock", I32, [PTR]), f.at(pool, MUTEX * 8))


@contextmanager
def _pieces(f: Func, pool: Val) -> Iterator[tuple[Val, Callable[[Val], None]]]:
    """A loop that claims pieces until there are none left: yields how many there are, and what does the one of a given number."""
    fn, bufs, args, lo, hi, chunk, chunks = (f.load(I64, pool, w) for w in range(FN, FN + 7))

    def run(place: Val) -> None:
        first = lo + place * chunk
        f.call_address(fn, VOID, f.to_ptr(bufs), f.to_ptr(args), first, f.least(first + chunk, hi))

    with f.loop() as pieces:
        pieces.leave_if(_add(f, pool, CLAIMED, 1) >= chunks)
        yield chunks, run


def _work_in_front(m: Module, f: Func, pool: Val, start: Val, last: Val) -> None:
    """The caller takes pieces from the front. The first tells how long all take, which counts now if it was not known.

    The shortest time counts, and grows slowly while longer ones come: a thread may be interrupted.
    """
    mine = f.var(0)
    with _pieces(f, pool) as (chunks, run):
        run(mine.get())
        mine.add(1)
        with f.when(mine.get() == 1):
            known, alone = f.load(I64, last), (_clock(m, f) - start) * chunks
            f.store(f.select((known == 0) | (alone < known), alone, known + known // 16), last)
            with f.when(known == 0):
                _wake_if_it_pays(m, f, pool, alone)


def _work_from_behind(f: Func, pool: Val) -> None:
    """Helpers take pieces from the back, so that each thread keeps to its own part of memory from step to step."""
    with _pieces(f, pool) as (chunks, run):
        run(chunks - 1 - _add(f, pool, BACK, 1))


def _clock(m: Module, f: Func) -> Val:
    """Nanoseconds."""
    now = f.stack(16)
    f.call(m.extern("clock_gettime", I32, [I32, PTR]), 1, now)
    return f.load(I64, now, 0) * 1_000_000_000 + f.load(I64, now, 1)


def _close(m: Module, f: Func, pool: Val) -> None:
    _set(f, pool, OPEN, 0)
    looks = f.var(0)
    with f.loop() as waiting:
        waiting.leave_if(_get(f, pool, ACTIVE) == 0)
        _look_again(m, f, looks)


def _look_again(m: Module, f: Func, looks: Var) -> None:
    """Between two looks: now and then the core is offered to others."""
    _pause(m, f)
    looks.add(1)
    with f.when(looks.get() % PATIENCE == 0):
        f.call(m.extern("sched_yield", I32, []))


# The helpers' side


def _helper(m: Module) -> Func:
    """``helper(pool)``: the life of a helper thread."""
    f = m.func("hnn_helper", PTR, [PTR])
    (pool,) = f.params
    seen = f.var(0)
    with f.loop() as life:
        _await(m, f, pool, seen.get())
        seen.set(_get(f, pool, GENERATION))
        _add(f, pool, ACTIVE, 1)
        with f.when(_get(f, pool, OPEN) != 0), f.when(_add(f, pool, JOINED, 1) < f.load(I64, pool, ALLOWED)):
            fpregister.clear(m, f)
            _work_from_behind(f, pool)
            f.builder.atomic_rmw("or", _slot(f, pool, FLAGS), fpregister.read(m, f).ir, "seq_cst")
        _add(f, pool, ACTIVE, -1)
        life.leave_if(f.to_int(pool) == 0)  # never: LLVM would call an endless function undefined
    f.ret(f.value(0, PTR))
    return f


def _await(m: Module, f: Func, pool: Val, seen: Val) -> None:
    """Returns when there is a job after ``seen``: looks for some microseconds, then sleeps."""
    looks = f.var(0)
    with f.loop() as spin:
        spin.leave_if((_get(f, pool, GENERATION) != seen) | (looks.get() >= SPINS))
        _look_again(m, f, looks)
    with f.when(_get(f, pool, GENERATION) == seen):
        mutex, condition = f.at(pool, MUTEX * 8), f.at(pool, CONDITION * 8)
        f.call(m.extern("pthread_mutex_lock", I32, [PTR]), mutex)
        _add(f, pool, SLEEPERS, 1)
        with f.loop() as sleep:
            sleep.leave_if(_get(f, pool, GENERATION) != seen)
            f.call(m.extern("pthread_cond_wait", I32, [PTR, PTR]), condition, mutex)
        _add(f, pool, SLEEPERS, -1)
        f.call(m.extern("pthread_mutex_unlock", I32, [PTR]), mutex)


def _start(m: Module, helper: Func) -> None:
    """``hnn_start_helpers(pool, n)``: 0, or the error of the thread that could not be made."""
    f = m.func("hnn_start_helpers", I64, [PTR, I64])
    pool, n = f.params
    null, thread = f.value(0, PTR), f.stack(8)
    f.call(m.extern("pthread_mutex_init", I32, [PTR, PTR]), f.at(pool, MUTEX * 8), null)
    f.call(m.extern("pthread_cond_init", I32, [PTR, PTR]), f.at(pool, CONDITION * 8), null)
    with f.range(0, n):
        status = f.widen(f.call(m.extern("pthread_create", I32, [PTR] * 4), thread, null, Val(f, helper.ir), pool))
        with f.when(status != 0):
            f.ret(status)
        f.call(m.extern("pthread_detach", I32, [I64]), f.load(I64, thread))
    f.ret(0)
