"""The native code behind :mod:`hybridnn.jit.native`: the loop over a plan's steps, and builtins that read the memory of
Python's objects.

Offsets of CPython's and NumPy's structs are constants here; :func:`hybridnn.jit.native.layout_holds` proves them before
anything of this is called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from hybridnn.jit import pool, threads
from hybridnn.jit.lowlevel import I1, I32, I64, PTR, VOID, Func, Module, Val

# Word offsets (8 bytes) into objects. PyObject: refcount, type. PyVarObject: size. A tuple's items follow, a list points to them.
TYPE, SIZE, TUPLE_ITEMS, LIST_ITEMS, FLOAT_VALUE = 1, 2, tuple.__basicsize__ // 8, 3, 2
DATA = 2      # of a PyArrayObject
# Word offsets into the tables of native.py.
HEADER = PLAN, N_STEPS, N_BUFS, RELEASE, RUNTIME = range(5)
RUNTIME_TABLE = NDARRAY, FLOAT, INT, BOOL, TUPLE, LIST, TYPE_ERROR, THREADS = range(8)

STEP = [PTR, PTR, I64, I64]


def emit(m: Module, record: int, max_on_stack: int) -> None:
    """Writes ``hnn_walk``, ``hnn_walk_timed``, ``hnn_sequence`` and the builtins ``hnn_run``, ``hnn_unchanged`` and ``hnn_renew``."""
    parallel = pool.emit(m, threads.POOL, threads.LIMIT)
    walk = _walk(m, "hnn_walk", parallel, record, timed=False)
    _walk(m, "hnn_walk_timed", parallel, record, timed=True)
    _sequence(m, walk)
    _run(m, walk, _bind(m), max_on_stack)
    _unchanged(m)
    _renew(m)


def _walk(m: Module, name: str, parallel: Func, record: int, timed: bool) -> Func:
    """``walk(plan, n, bufs, status, threads table[, clock])``: -1, or the step that set the status."""
    f = m.func(name, I64, [PTR, I64, PTR, PTR, PTR] + [PTR] * timed)
    plan, n, bufs, status, table = f.params[:5]
    with f.range(0, n) as i:
        step = f.at(plan, i * (8 * record))
        fn, args, lo, hi, grain = (f.load(I64, step, w) for w in range(5))
        with f.either(grain > 0) as (split, serial):
            with split:
                f.call(parallel, fn, bufs, f.to_ptr(args), lo, hi, grain, table, f.at(step, 40))
            with serial:
                f.call_address(fn, VOID, bufs, f.to_ptr(args), lo, hi)
        if timed:
            clock = m.extern("clock_gettime", I32, [I32, PTR])
            f.call(clock, 1, f.at(f.params[5], i * 16))
        with f.when(f.load(I64, status) != 0):
            f.ret(i)
    f.ret(-1)
    return f


def _sequence(m: Module, walk: Func) -> None:
    """A step that is a plan of its own; args: its records, how many, the threads table."""
    f = m.func("hnn_sequence", VOID, STEP)
    bufs, args, _, _ = f.params
    records, n, table = (f.load(I64, args, i) for i in range(3))
    f.call(walk, f.to_ptr(records), n, bufs, f.load(PTR, bufs, -1), f.to_ptr(table))
    f.ret()


def _bind(m: Module) -> Func:
    """``bind(object, slot, runtime)``: the address that stands for a buffer, or 0."""
    f = m.func("hnn_bind", I64, [PTR, PTR, PTR])
    obj, slot, runtime = f.params
    kind = f.load(I64, obj, TYPE)
    is_a = m.extern("PyType_IsSubtype", I32, [PTR, PTR])
    to_int = m.extern("PyLong_AsLongLong", I64, [PTR])
    occurred = m.extern("PyErr_Occurred", PTR, [])
    with f.when(kind == f.load(I64, runtime, NDARRAY)):
        f.ret(f.load(I64, obj, DATA))
    with f.when(kind == f.load(I64, runtime, FLOAT)):
        f.ret(f.to_int(obj) + 8 * FLOAT_VALUE)
    with f.when((kind == f.load(I64, runtime, INT)) | (kind == f.load(I64, runtime, BOOL))):
        number = f.call(to_int, obj)
        f.store(number, slot)
        f.ret(f.select(f.to_int(f.call(occurred)) == 0, f.to_int(slot), 0))
    with f.when(f.call(is_a, f.to_ptr(kind), f.to_ptr(f.load(I64, runtime, NDARRAY))) != 0):
        f.ret(f.load(I64, obj, DATA))
    with f.when(f.call(is_a, f.to_ptr(kind), f.to_ptr(f.load(I64, runtime, FLOAT))) != 0):
        f.ret(f.to_int(obj) + 8 * FLOAT_VALUE)
    f.ret(0)
    return f


@contextmanager
def _items(f: Func, runtime: Val, args: Val, nargs: Val) -> Iterator[Val]:
    """Each object in ``args``, and in the tuples and lists among them."""
    with f.range(0, nargs) as i:
        arg = f.load(PTR, args, i)
        kind = f.load(I64, arg, TYPE)
        items, n = f.var(f.to_int(args) + i * 8), f.var(1)
        for sequence, where in ((TUPLE, None), (LIST, LIST_ITEMS)):
            with f.when(kind == f.load(I64, runtime, sequence)):
                items.set(f.to_int(arg) + 8 * TUPLE_ITEMS if where is None else f.load(I64, arg, where))
                n.set(f.load(I64, arg, SIZE))
        first = f.to_ptr(items.get())
        with f.range(0, n.get()) as j:
            yield f.load(PTR, first, j)


def _self_words(f: Func, self: Val) -> Val:
    """The data of the array that is the first item of the tuple ``self``."""
    return f.load(PTR, f.load(PTR, self, TUPLE_ITEMS), DATA)


def _run(m: Module, walk: Func, bind: Func, max_on_stack: int) -> None:
    """The builtin ``run(*buffers)``; self is a tuple whose first item is the plan's header."""
    f = m.func("hnn_run", PTR, [PTR, PTR, I64])
    self, args, nargs = f.params
    header = _self_words(f, self)
    n_bufs, runtime = f.load(I64, header, N_BUFS), f.load(PTR, header, RUNTIME)
    words = n_bufs * 2 + 3  # status: 2, address of the status: 1, addresses: n, values of ints: n
    small = n_bufs <= max_on_stack
    on_stack = f.stack_dynamic(f.select(small, words, 1))
    block = f.var(f.to_int(on_stack))
    with f.when(small == f.value(0, I1)):
        block.set(f.to_int(f.call(m.extern("PyMem_RawMalloc", PTR, [I64]), words * 8)))
    status = f.to_ptr(block.get())
    result = f.var(f.value(0, PTR), PTR)
    bufs = f.at(status, 24)
    f.store(0, status, 0)
    f.store(0, status, 1)
    f.store(f.to_int(status), bufs, -1)
    bound = _bind_all(f, bind, bufs, n_bufs, runtime, args, nargs)
    with f.either(bound == n_bufs) as (good, bad):
        with good:
            step = _walk_released(m, f, walk, header, bufs, status, f.load(PTR, runtime, THREADS))
            result.set(_outcome(m, f, step, status))
        with bad:
            _complain(m, f, runtime, bound, n_bufs)
    with f.when(small == f.value(0, I1)):
        f.call(m.extern("PyMem_RawFree", VOID, [PTR]), status)
    f.ret(result.get())


def _bind_all(f: Func, bind: Func, bufs: Val, n_bufs: Val, runtime: Val, args: Val, nargs: Val) -> Val:
    """Fills ``bufs``. Returns how many there were, or -1 - i if number i is no buffer."""
    count, wrong = f.var(0), f.var(0)
    with _items(f, runtime, args, nargs) as item:
        i = count.get()
        with f.when((i < n_bufs) & (wrong.get() == 0)):
            address = f.call(bind, item, f.at(bufs, (n_bufs + i) * 8), runtime)
            f.store(address, bufs, i)
            with f.when(address == 0):
                wrong.set(f.value(-1) - i)
        count.add(1)
    return f.select(wrong.get() == 0, count.get(), wrong.get())


def _walk_released(m: Module, f: Func, walk: Func, header: Val, bufs: Val, status: Val, table: Val) -> Val:
    plan, n, release = f.load(PTR, header, PLAN), f.load(I64, header, N_STEPS), f.load(I64, header, RELEASE) != 0
    thread = f.var(f.value(0, PTR), PTR)
    with f.when(release):
        thread.set(f.call(m.extern("PyEval_SaveThread", PTR, [])))
    step = f.call(walk, plan, n, bufs, status, table)
    with f.when(release):
        f.call(m.extern("PyEval_RestoreThread", VOID, [PTR]), thread.get())
    return step


def _outcome(m: Module, f: Func, step: Val, status: Val) -> Val:
    """None, or the tuple (step, code, value)."""
    out = f.var(f.value(0, PTR), PTR)
    with f.either(step < 0) as (good, failed):
        with good:
            none = Val(f, ir.GlobalVariable(m.ir, ir.LiteralStructType([I64, I64]), "_Py_NoneStruct"))
            f.call(m.extern("Py_IncRef", VOID, [PTR]), none)
            out.set(none)
        with failed:
            tuple_of = m.extern("Py_BuildValue", PTR, [PTR], variadic=True)
            out.set(f.call(tuple_of, _text(m, f, "(LLL)"), step, f.load(I64, status, 0), f.load(I64, status, 1)))
    return out.get()


def _complain(m: Module, f: Func, runtime: Val, bound: Val, n_bufs: Val) -> None:
    error = m.extern("PyErr_Format", PTR, [PTR, PTR], variadic=True)
    kind = f.load(PTR, runtime, TYPE_ERROR)
    with f.either(bound < 0) as (wrong, count):
        with wrong:
            text = "NativePlan.run: buffer %zd is not an ndarray, a float or an int that fits 64 bits"
            f.call(m.extern("PyErr_Clear", VOID, []))
            f.call(error, kind, _text(m, f, text), f.value(-1) - bound)
        with count:
            text = "NativePlan.run: the plan has %zd buffers, the call gave %zd"
            f.call(error, kind, _text(m, f, text), n_bufs, bound)


def _text(m: Module, f: Func, text: str) -> Val:
    data = bytearray(text.encode() + b"\0")
    const = ir.Constant(ir.ArrayType(ir.IntType(8), len(data)), data)
    var = ir.GlobalVariable(m.ir, const.type, m.ir.get_unique_name("text"))
    var.initializer, var.global_constant, var.linkage = const, True, "internal"
    return Val(f, var)


def _unchanged(m: Module) -> None:
    """The builtin ``unchanged()``: whether every word at an address still has its value; self is (table,): count, then pairs. Words behind one that has
    changed are not read."""
    f = m.func("hnn_unchanged", PTR, [PTR, PTR, I64])
    table, to_bool = _self_words(f, f.params[0]), m.extern("PyBool_FromLong", PTR, [I64])
    with f.range(0, f.load(I64, table, 0)) as i:
        pair = f.at(table, 8 + i * 16)
        with f.when(f.load(I64, f.load(PTR, pair, 0), 0) != f.load(I64, pair, 1)):
            f.ret(f.call(to_bool, 0))
    f.ret(f.call(to_bool, 1))


def _renew(m: Module) -> None:
    """The builtin ``renew()``: takes the present words of the same table as the values to compare with; gives True."""
    f = m.func("hnn_renew", PTR, [PTR, PTR, I64])
    table = _self_words(f, f.params[0])
    with f.range(0, f.load(I64, table, 0)) as i:
        pair = f.at(table, 8 + i * 16)
        f.store(f.load(I64, f.load(PTR, pair, 0), 0), pair, 1)
    f.ret(f.call(m.extern("PyBool_FromLong", PTR, [I64]), 1))
