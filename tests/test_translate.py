"""Kernel texts translated to LLVM IR: bit for bit what numba makes of them, vectorised, and refused where meaning is not sure."""
import ctypes
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jit_graphs import both, graph_of
from test_source import CASES

import hybridnn.ops
import hybridnn.optimizers  # noqa: F401
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import compiler, kernels, machine, vecmath_names
from hybridnn.jit.translate import Untranslatable, translate

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*_cpu.py"))
ELEMENTWISE = sorted(n for n, op in OPS.items() if op.kind == "elementwise" and op.samples is None and not op.multi)
COARSE = sorted(n for n, op in OPS.items() if op.samples is not None)
LIBRARY_CALL = re.compile(r"(?:callq?|jmpq?|movabsq)\s+\$?([A-Za-z_][\w.]*)")
PACKED = re.compile(r"^\s*v\w*(?:p[sd]|dq\w*|p\w+[bwdq])\s.*%[yz]mm", re.M)


def refuse(symbol, text, module=None):
    raise Untranslatable("numba is asked for")


class Native:
    """A kernel's machine code, by translation or by numba."""

    def __init__(self, text, by="translation"):
        symbol = f"{by}_{abs(hash(text))}"
        if by == "numba":
            from hybridnn.jit import numba_compiler
            ir = numba_compiler.lowered(symbol, text, f"<{symbol}>")
        else:
            ir = str(translate(symbol, text))
        self.module = compiler.optimised(ir)
        self.engine = machine.engine(machine.target_machine().emit_object(self.module))
        self.call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(self.engine.get_function_address(symbol))

    def __call__(self, arrays, words=(), lo=0, hi=0):
        bufs = np.array([a.ctypes.data for a in arrays], np.int64)
        args = np.array([w for k in range(len(arrays)) for w in (k, 0)] + list(words), np.int64)
        self.call(bufs.ctypes.data, args.ctypes.data, lo, hi)
        return arrays


def assert_same_bits(text, arrays, words=(), lo=0, hi=0):
    """Both codes leave the same bytes in the arrays, which are returned."""
    one, two = ([a.copy() for a in arrays] for _ in range(2))
    Native(text)(one, words, lo, hi)
    Native(text, "numba")(two, words, lo, hi)
    for x, y in zip(one, two, strict=True):
        assert x.tobytes() == y.tobytes()
    return one


def kernel(*lines, pointers=("f32", "f32"), functions=()):
    """A text: lines of a body behind pointers p0, p1, ... and words a, b, c."""
    names = sorted({f"ptr_{key}" for key in pointers} | {"parallel_loops", *functions})
    head = [f"p{k} = ptr_{key}(bufs, args, {2 * k})" for k, key in enumerate(pointers)]
    head += [f"{name} = args[{2 * len(pointers) + k}]" for k, name in enumerate("abc")]
    return "\n".join([
        "from math import inf, nan",
        "from numba import boolean, float32, float64, int8, int16, int32, int64, uint8, uint32, uint64",
        f"from hybridnn.jit.vecmath import {', '.join(names)}",
        "def kernel(bufs, args, lo, hi):", *("    " + line for line in (*head, *lines)), ""])


# ------------------------------------------------------------------------------------------------------------- against numba

@pytest.fixture
def by_numba(monkeypatch):
    """Kernels are compiled by numba, in memory, while this is on."""
    def switch(on):
        monkeypatch.setattr(kernels, "_addresses", {})
        monkeypatch.setattr(kernels, "_directory", lambda: None)
        monkeypatch.setattr(compiler, "translate", refuse if on else translate)
    return switch


def assert_both_compilers_agree(by_numba, fn, operands):
    results = []
    before = dict(compiler.COUNTS)
    for on in (False, True):
        by_numba(on)
        graph = graph_of(fn, *operands)
        executable = jit.compile(graph)
        results.append(both(graph, executable, operands)[1])
    for x, y in zip(*results, strict=True):
        assert x.tobytes() == y.tobytes()
    made = {how: compiler.COUNTS[how] - before[how] for how in before}
    assert made["numba"] == made["translated"], "a kernel was not translated"
    return made["translated"]


@pytest.mark.parametrize("name", CASES)
def test_golden_kernels(name, by_numba):
    fn, operands = CASES[name]
    assert assert_both_compilers_agree(by_numba, fn, operands) == 1


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_texts_are_translated(path):
    assert "define void @\"probe\"" in str(translate("probe", path.read_text()))


@pytest.mark.parametrize("key, dtype", [("f32", "f4"), ("i32", "i4")])
def test_rows_are_turned_to_columns(key, dtype):
    """Every number of rows and columns around those of blocks; nothing else is written."""
    text = kernel("turn(p0, 1, a, p1, 2, 23, b, c)", "parallel_loops()", pointers=(key, key), functions=("turn",))
    native, by_numba = Native(text), Native(text, "numba")
    source = np.arange(20 * 23 + 2, dtype=dtype)
    for rows in range(19):
        for cols in (*range(14), 19):
            for call in (native, by_numba):
                to = np.full(20 * 21 + 1, -1, dtype)
                want = to.copy()
                want[1:].reshape(20, 21)[:cols, :rows] = source[2:].reshape(20, 23)[:rows, :cols].T
                call([to, source], (21, rows, cols))
                np.testing.assert_array_equal(to, want)


@pytest.mark.parametrize("line", ["turn(p0, 1, a, p1, 2, 23, b)", "turn(p0, 1, a, b, 2, 23, b, c)", "turn(p0, 1, a, p2, 2, 23, b, c)"])
def test_what_cannot_be_turned(line):
    with pytest.raises(Untranslatable):
        translate("probe", kernel(line, "parallel_loops()", pointers=("f32", "f32", "f64"), functions=("turn",)))


def groups(names, n):
    return [names[k:k + n] for k in range(0, len(names), n)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("names", [g for n in (1, 2, 3) for g in groups(
    [name for name in ELEMENTWISE if len(OPS[name].params) == n], 12)], ids=lambda names: names[0])
def test_elementwise_operations(names, dtype, by_numba):
    operands = [np.random.normal(size=(3, 41)).astype(dtype) * 2 for _ in OPS[names[0]].params]
    assert assert_both_compilers_agree(by_numba, lambda *xs: [OPS[name](*xs) for name in names], operands)


@pytest.mark.parametrize("dtypes", [("i4", "f4"), ("i8", "i4"), ("u1", "i4"), ("u1", "u1"), ("i1", "i1"), ("u8", "u8"), ("?", "f4"),
                                    ("?", "?"), ("f4", "f8")])
def test_mixed_dtypes(dtypes, by_numba):
    x, y = (np.resize([3, 0, 200, 1, 77, 255, 128], (5, 9 + k)[:2])[:, :9].astype(d) for k, d in enumerate(dtypes))

    def body(x, y):
        return [x + y, x * y, OPS["maximum"](x, y), x > y, x == y, OPS["sum"](x, axis=(1,), keepdims=False),
                OPS["where"](x > y, x, y), OPS["cast"](x, dtype="float64"), OPS["amax"](x, axis=(0,), keepdims=False)]
    assert assert_both_compilers_agree(by_numba, body, (x, y))


@pytest.mark.parametrize("names", groups(COARSE, 12), ids=lambda names: names[0])
def test_samples_of_other_operations(names, by_numba):
    """The kernels of one sample of each, float32."""
    for name in names:
        operands, attrs = next(iter(OPS[name].samples(np.random.default_rng(0), "float32")))
        try:
            graph_of(lambda *xs, op=OPS[name], attrs=attrs: op(*xs, **attrs), *operands)
        except (ValueError, ArithmeticError):
            continue    # ops that want more of their operands than zeros can give
        assert_both_compilers_agree(by_numba, lambda *xs, op=OPS[name], attrs=attrs: op(*xs, **attrs), operands)


# ------------------------------------------------------------------------------------------------------- the language, piece by piece

NUMBERS = np.array([-130, -7, -1, 0, 1, 2, 7, 130, 2**31 + 5, -2**40, 2**62], np.int64)
WORDS = ["a + b", "a - b", "a * b", "a // b", "a % b", "abs(a)", "-a", "~a", "a & b", "a | b", "a ^ b", "int64(not a)",
         "int64(int8(a))", "int64(int16(a))", "int64(int32(a))", "int64(uint8(a))", "int64(uint32(a))", "int64(int8(a) < int8(b))",
         "int64(uint8(a) < uint8(b))", "int64(uint8(a) + uint8(b))", "int64(uint64(a) > uint64(b))", "int64(a != b)",
         "int64((a < b) | (b == 7))", "int64((a >= b) & (a <= c) ^ (b == 0))", "int64(a < 0 or b < 0)", "int64(a < 0 and b < 0)",
         "a if a > b else b", "int64(uint8(300))", "int64(int8(-129))", "int64(boolean(a))", "int64(int32(a) > b)"]


def test_integers():
    """64-bit arithmetic, wrapping casts, division that rounds down: as numba, and as Python wherever nothing wraps."""
    text = kernel(*[f"p0[{k}] = {w}" for k, w in enumerate(WORDS)], pointers=("i64",))
    codes = Native(text), Native(text, "numba")
    scope = {"int64": np.int64, "__builtins__": {"abs": abs}}
    for a in NUMBERS:
        for b in NUMBERS:
            one, two = (code([np.zeros(len(WORDS), np.int64)], (a, b, 3))[0] for code in codes)
            np.testing.assert_array_equal(one, two, err_msg=f"{a}, {b}: {WORDS}")
            for k, w in enumerate(WORDS[:11]):
                exact = 0 if b == 0 and k in (3, 4) else eval(w, scope, {"a": int(a), "b": int(b)})
                assert one[k] == (exact + 2**63) % 2**64 - 2**63, (w, a, b)


REALS = np.array([0.0, -0.0, 1.0, -1.5, 3e38, 1e-45, np.inf, -np.inf, np.nan, 0.1, -7.75], "f4")
REAL_WORDS = ["x + y", "x - y", "x * y", "x / y", "-x", "x * y + float32(0.1)", "float32(float64(x) * float64(y))", "float32(1)",
              "float32(0.1)", "float32(-inf)", "float32(nan)", "float32(x < y)", "float32(x != y)", "float32(x == y)",
              "float32(int8(x > y))", "x if x > y or x != x else y", "x if not (x <= y) else float32(2.0)", "float32(a)",
              "float32(uint32(a))", "float32(int32(a))", "float32(uint64(a))", "float32(float64(a))"]


def test_floats():
    """IEEE arithmetic in the type of the operands, division by zero included; NaNs compare as NaNs."""
    lines = [f"p1[i * {len(REAL_WORDS)} + {k}] = {w}" for k, w in enumerate(REAL_WORDS)]
    text = kernel("for i in range(lo, hi):", "    x = p0[2 * i]", "    y = p0[2 * i + 1]", *["    " + line for line in lines])
    pairs = np.array([(x, y) for x in REALS for y in REALS], "f4")
    codes = Native(text), Native(text, "numba")
    for a in (3, -5, 2**62 + 12345, 2**24 + 1):
        outs = [code([pairs, np.zeros((len(pairs), len(REAL_WORDS)), "f4")], (a, 0, 0), 0, len(pairs))[1] for code in codes]
        np.testing.assert_array_equal(*outs)
        np.testing.assert_array_equal(np.signbit(outs[0][~np.isnan(outs[0])]), np.signbit(outs[1][~np.isnan(outs[1])]))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(outs[0][:, 3], pairs[:, 0] / pairs[:, 1])


def test_values_carried_through_loops():
    """Names from before a loop are its running values; the others are its own."""
    text = kernel(
        "total = float32(0.0)", "count = 0",
        "for i in range(lo, hi, 3):",
        "    part = float32(0.0)", "    last = i + 3 if i + 3 < hi else hi",
        "    for j in range(i, last):",
        "        if j % 2 == 0:", "            continue",
        "        x = p0[j]", "        part = part + x", "        count += 1",
        "    total = total + part",
        "for i in range(5, 5):", "    total = float32(99.0)",
        "for i in range(a):", "    count = count + i",
        "u, v = total, float32(count)", "u, v = v, u",
        "p1[0] = u", "p1[1] = v", "if count > 1000:", "    p1[2] = float32(1.0)", "if count:", "    p1[3] = float32(1.0)")
    x = np.arange(11, dtype="f4")
    out = assert_same_bits(text, [x, np.zeros(4, "f4")], (4, 0, 0), 0, 11)[1]
    np.testing.assert_array_equal(out, [5 + 6, 25, 0, 1])


def test_a_choice_loads_only_what_is_chosen():
    """The address that is not chosen is out of reach."""
    text = kernel("for i in range(lo, hi):", "    p1[i] = p0[i] if i < a else p0[i - a]",
                  "    p1[i] += p0[0] if i < hi else p0[b]", "parallel_loops()")
    x = np.arange(5, dtype="f4") + 1
    out = assert_same_bits(text, [x, np.zeros(8, "f4")], (5, 2**50, 0), 0, 8)[1]
    np.testing.assert_array_equal(out, [2, 3, 4, 5, 6, 2, 3, 4])


def test_bools_are_true_where_a_byte_is_not_zero():
    text = kernel("for i in range(lo, hi):", "    p1[i] = not p0[i]", "    p2[i] = float32(p0[i])", "parallel_loops()",
                  pointers=("bool", "bool", "f32"))
    x = np.array([0, 1, 2, 255, 0], np.uint8)
    _, flags, floats = assert_same_bits(text, [x, np.zeros(5, np.uint8), np.zeros(5, "f4")], (0, 0, 0), 0, 5)
    assert flags.tolist() == [1, 0, 0, 0, 1] and floats.tolist() == [0, 1, 1, 1, 0]


def test_parallel_accesses_are_marked_and_serial_ones_are_not():
    text = kernel("for i in range(lo, hi):", "    p1[i] = p0[i]", "parallel_loops()")
    assert str(translate("probe", text)).count("!llvm.access.group") == 2
    serial = text.replace(" ptr_f32(", " serial_ptr_f32(").replace("import parallel_loops, ptr_f32",
                                                                   "import parallel_loops, serial_ptr_f32")
    assert "!llvm.access.group" not in str(translate("probe", serial))


# -------------------------------------------------------------------------------------------------------------------- refusals

REFUSED = {
    "float32 with float64": ("p1[0] = float32(p0[0] + float64(1.0))",),
    "an untyped literal": ("p1[0] = p0[0] * 0.5",),
    "int64 with uint64": ("p1[0] = float32(a + uint64(b))",),
    "an integer quotient": ("p1[0] = float32(a / b)",),
    "a store of another type": ("p1[0] = float64(1.0)",),
    "a name that changes its type": ("x = p0[0]", "x = float64(x)"),
    "a value from inside a loop": ("for i in range(a):", "    x = p0[i]", "p1[0] = x"),
    "a counter after its loop": ("i = 7", "for i in range(a):", "    p1[i] = p0[i]", "p1[0] = float32(i)"),
    "a counter that is assigned": ("for i in range(a):", "    i = i + 1"),
    "an unknown function": ("p1[0] = tan(p0[0])",),
    "min": ("p1[0] = float32(min(a, b))",),
    "while": ("while a:", "    p1[0] = p0[0]"),
    "a range that counts down": ("for i in range(a, 0, -1):", "    p1[i] = p0[i]"),
    "a step at run time": ("for i in range(0, a, b):", "    p1[i] = p0[i]"),
    "an assignment under if": ("x = a", "if b:", "    x = b"),
    "else": ("if b:", "    p1[0] = p0[0]", "else:", "    p1[1] = p0[0]"),
    "a chain of comparisons": ("p1[0] = float32(a < b < c)",),
    "a guarded load": ("p1[0] = float32(a < 0 and p0[a] > p0[0])",),
    "a slice": ("p1[0:2] = p0[0:2]",),
    "a pointer that moves": ("p0 = ptr_f32(bufs, args, 2)",),
    "a negative word": ("p1[0] = float32(a << 2)",),
    "a float as an index": ("p1[0] = p0[p0[0]]",),
    "parallel loops inside a loop": ("for i in range(a):", "    parallel_loops()"),
    "a return": ("return",),
}


@pytest.mark.parametrize("lines", REFUSED.values(), ids=REFUSED)
def test_what_is_not_surely_understood_is_refused(lines):
    with pytest.raises(Untranslatable, match=r"line \d+"):
        translate("probe", kernel(*lines))


@pytest.mark.parametrize("text", ["x = 1\n", "from os import path\n" + kernel("p1[0] = p0[0]"),
                                  kernel("p1[0] = p0[0]").replace("hi)", "end)"), "",
                                  kernel("p1[0] = p0[0]").replace("import inf,", "import inf as nan,")])
def test_other_files_are_refused(text):
    with pytest.raises(Untranslatable):
        translate("probe", text)


def test_numba_compiles_what_is_refused(tmp_path, monkeypatch, caplog):
    """Said once, counted always."""
    monkeypatch.setenv("HYBRIDNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kernels, "_addresses", {})
    monkeypatch.setattr(compiler, "COUNTS", {"translated": 0, "numba": 0})
    texts = [kernel(f"for i in range(lo, {n} << 0):", "    p1[i] = p0[i]") for n in (2, 3)]
    with caplog.at_level(logging.INFO, "hybridnn.jit"):
        addresses = kernels.load([*texts, kernel("p1[0] = p0[0]")]).addresses
    assert compiler.COUNTS == {"translated": 1, "numba": 2}
    assert [r.message for r in caplog.records if "numba" in r.message and "2 << 0" in r.message]
    assert sum("compiled by numba" in r.message for r in caplog.records) == 1
    x, y = np.ones(5, "f4"), np.zeros(5, "f4")
    bufs, args = np.array([x.ctypes.data, y.ctypes.data], np.int64), np.array([0, 0, 1, 0, 0, 0, 0], np.int64)
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(addresses[1])(bufs.ctypes.data, args.ctypes.data, 0, 5)
    np.testing.assert_array_equal(y, [1, 1, 1, 0, 0])


# ------------------------------------------------------------------------------------------------------------------ the code

def assert_vectorised(text):
    assembly = machine.target_machine().emit_assembly(compiler.compile_ir("probe", text, "<probe>"))
    code = re.split(r"^(?=[A-Za-z_][\w.$]*:)", assembly, flags=re.M)
    (code,) = [part for part in code if part.startswith("probe:")]
    assert PACKED.search(code), "no packed instruction on ymm or zmm registers"
    allowed = (".L", "hnn_rare_", "_GLOBAL_OFFSET", "memset", "turn")
    called = {name for name in LIBRARY_CALL.findall(code) if not name.startswith(allowed)}
    assert not called, f"the loop calls {called}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_function_is_vectorised(dtype):
    key = vecmath_names.SUFFIX[dtype]
    for (name, kind), f in vecmath_names.FUNCTIONS.items():
        if kind == dtype:
            operands = ", ".join(f"p{k}[i]" for k in range(f.arity))
            pointers = [key] * f.arity + ["bool" if f.result == "bool" else key]
            body = "for i in range(lo, hi):", f"    p{f.arity}[i] = {name}_{key}({operands})", "parallel_loops()"
            assert_vectorised(kernel(*body, pointers=pointers, functions=[f"{name}_{key}"]))


@pytest.mark.parametrize("path", [p for p in GOLDEN if p.stem != "label_mask_cpu"], ids=lambda p: p.stem)
def test_golden_kernels_are_vectorised(path):
    assert_vectorised(path.read_text())


def test_scalar_code_is_seen():
    """The check can fail: a recurrence through memory stays scalar."""
    text = kernel("for i in range(lo, hi):", "    p0[i] = p0[i - 1] * p0[i]")
    with pytest.raises(AssertionError, match="no packed"):
        assert_vectorised(text)


def test_a_cold_start_imports_no_numba(tmp_path):
    code = """
import sys, numpy as np
sys.path[:0] = ["tests", "."]
from jit_graphs import graph_of
import hybridnn.ops
from hybridnn import jit
from hybridnn.core.op import OPS
from hybridnn.jit import compiler
x = np.ones((3, 5), "f4")
fn = lambda x: [OPS["tanh"](x) * OPS["softmax"](x, axis=(1,)), OPS["sum"](x, axis=(0,), keepdims=False)]
exe = jit.compile(graph_of(fn, x))
assert np.allclose(exe([x])[1], 3)
print(compiler.COUNTS["translated"] > 0, compiler.COUNTS["numba"], "numba" in sys.modules)
"""
    environment = {**os.environ, "HYBRIDNN_CACHE": str(tmp_path / "kernels")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "0", "False"]


LONG, UNKNOWN = "parallel_long_loops", "parallel_loops"


@pytest.mark.parametrize("wide, promise, line, counts", [
    (False, LONG, "p1[i] = tanh_f32(p0[i])", ["4"]), (False, LONG, "p1[i] = " + "tanh_f32(" * 4 + "p0[i]" + ")" * 4, ["2"]),
    (False, LONG, "p1[i] = " + "tanh_f32(" * 30 + "p0[i]" + ")" * 30, []), (False, LONG, "s = s + tanh_f32(p0[i])", ["2"]),
    (True, LONG, "p1[i] = tanh_f32(p0[i])", []), (False, UNKNOWN, "p1[i] = tanh_f32(p0[i])", []),
], ids=["small", "large", "huge", "sum", "wide", "unknown"])
def test_long_loops_take_several_vectors_at_once(monkeypatch, wide, promise, line, counts):
    """Fewer the larger they are, and none of their own where registers are wide."""
    monkeypatch.setattr(machine, "has_wide_registers", lambda: wide)
    text = kernel("s = float32(0.0)", "for i in range(lo, hi):", "    " + line, "p1[0] = s", f"{promise}()", functions=["tanh_f32", promise])
    assert re.findall(r'"llvm.loop.interleave.count", i32 (\d)', str(translate("probe", text))) == counts


def test_long_loops_are_the_same_to_numba():
    x = np.random.default_rng(0).standard_normal(100).astype("f")
    lines = "s = float32(0.0)", "for i in range(lo, hi):", "    s = s + tanh_f32(p0[i])", "p1[0] = s"
    assert_same_bits(kernel(*lines, f"{LONG}()", functions=["tanh_f32", LONG]), [x, np.zeros(1, "f")], hi=100)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
@pytest.mark.parametrize("key", ["f32", "f64"])
def test_extremes_in_memory_are_stored_without_masks(name, key):
    """The next iteration of an outer loop loads them: a masked store is slow on some CPUs, and to be waited for on all."""
    lines = "for r in range(0, a):", "    for j in range(lo, hi):", f"        p1[j] = {name}_{key}(p0[r * hi + j], p1[j])", "parallel_loops()"
    text = kernel(*lines, pointers=(key, key), functions=[f"{name}_{key}"])
    assembly = machine.target_machine().emit_assembly(compiler.compile_ir("probe", text, "<probe>"))
    assert PACKED.search(assembly)
    assert not re.search(r"maskmov|\)\s*\{%k", assembly)
