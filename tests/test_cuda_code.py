"""The checks of ``cuda_code`` themselves, which need no compiler: what is found in PTX, and what is counted in an object file."""
import sys
from pathlib import Path
from types import SimpleNamespace

import cuda_code
import cuda_kernels
import pytest

from hybridnn.jit.layout import Instruction, Output, Pointer, Structure

LOAD, WEAK = Pointer("f4", "load", ("1",)), Pointer("f8", "weak", ("0",))
STORE = Output(0, 1, (0,))


def defects(line, text="", pointers=(LOAD,), kind="f4"):
    items = (Instruction("load", (), kind, (0,), 0),)
    kernel = SimpleNamespace(text=text, structure=Structure("map", (False,), items, (STORE,), pointers))
    return list(cuda_code.precision(kernel, f"ld.f32 %f1, [%rd1];\n\t{line}\n\t@%p1 bra $L;\n"))


@pytest.mark.parametrize("line, text, found", [
    ("add.f32 %f1, %f2, %f3;", "", False), ("div.rn.f32 %f1, %f2, %f3;", "", False), ("fma.rn.f32 %f1, %f2, %f3, %f4;", "", False),
    ("add.f64 %fd1, %fd2, %fd3;", "", True), ("cvt.f64.f32 %fd1, %f1;", "", True), ("mul.f64 %fd1, %fd2, %fd3;", "math.sin(v0)", False),
    ("add.ftz.f32 %f1, %f2, %f3;", "", True), ("div.full.f32 %f1, %f2, %f3;", "", True), ("sqrt.approx.f32 %f1, %f2;", "math.sqrt(v0)", True),
    ("tanh.approx.f32 %f1, %f2;", "math.tanh(v0)", True), ("ex2.approx.ftz.f32 %f1, %f2;", "math.exp(v0)", False),
    ("ex2.approx.ftz.f32 %f1, %f2;", "", True), ("@%p1 sin.approx.f32 %f1, %f2;", "math.sin(v0)", True),
])
def test_what_is_computed_otherwise_is_found(line, text, found):
    assert bool(defects(line, text)) == found


def test_numbers_from_python_are_rounded():
    for line in ("ld.f64 %fd1, [%rd1];", "cvt.rn.f32.f64 %f1, %fd1;"):
        assert defects(line) and not defects(line, pointers=(LOAD, WEAK))
    assert defects("mul.f64 %fd1, %fd2, %fd3;", pointers=(LOAD, WEAK)) and not defects("mul.f64 %fd1, %fd2, %fd3;", kind="f8")


def test_instructions_are_counted_in_an_object_file():
    code = Path(sys.executable).resolve().read_bytes()
    assert 0 < cuda_code.instructions(code) * cuda_code.BYTES < len(code)


def test_the_report_has_a_row_per_kernel():
    codes = [cuda_code.Code("k", c, 20 + c[0], 0, 0, 100, ()) for c in cuda_code.CAPABILITIES]
    assert cuda_code.line(codes).startswith("k ") and "sm_90:  29 registers" in cuda_code.line(codes)
    assert next(cuda_code.summary(codes)).startswith("sm_80: 1 kernels, 0 spill; registers: median 28, most 28")


def test_every_function_has_a_kernel():
    functions = {f.name: f.text for f in cuda_kernels.functions()}
    assert len(functions) == len(cuda_kernels.FUNCTIONS) + len(cuda_kernels.POWERS)
    assert "v1 = math.exp(v0)" in functions["exp_f32"] and "math" not in functions["power_3_f32"]
    names = {line.split("|")[1].strip() for line in (Path(__file__).parent.parent / "docs" / "cuda_kernels.md").read_text().splitlines() if line[:1] == "|"}
    assert set(functions) <= names, "docs/cuda_kernels.md lacks functions: run tests/cuda_code.py --report"
