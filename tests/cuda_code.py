"""Machine code of the kernels for NVIDIA GPUs, made and looked at without one: registers, spills, instructions, precision.

usage: PYTHONPATH=.:tests:benchmarks python tests/cuda_code.py [--report FILE.md] [NAME ...]

Needs the extra ``cuda-compiler`` and SciPy. Every function that kernels may call, and every kernel that the ten workloads plan or the programs of
``kernel_cases`` need (or those whose name begins with a NAME), is compiled to PTX and assembled for compute capabilities 8.0 and 9.0. The exit status is
1 if one of them spills registers or needs more than the ceiling, computes in float64 what is float32, flushes numbers to zero, or calls an approximate
function.
"""
import argparse
import importlib.metadata
import importlib.util
import re
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cuda_kernels import collect, functions

from hybridnn.jit import cuda

CAPABILITIES = (8, 0), (9, 0)
CEILING = 96        # registers of a thread, of the 255 that it may have: with more, fewer than 640 threads fit a multiprocessor
BYTES = 16          # of a machine instruction
# What libdevice's functions in full precision are made of, in float32: seeds that are refined, and powers of two. Others have no approximate instruction.
PARTS = {"exp": "ex2", "exp2": "ex2", "expm1": "ex2", "erf": "ex2", "erfc": "ex2 rcp", "tanh": "ex2 rcp", "sinh": "ex2 div", "cosh": "ex2 div",
         "tan": "rcp", "asin": "rsqrt", "acos": "rsqrt", "atan": "rcp", "asinh": "rcp rsqrt", "acosh": "rsqrt", "atanh": "rcp", "pow": "rcp", "fmod": "div rcp"}
IN_DOUBLE = "sin", "cos", "tan"     # reduce large arguments with a product in float64


@dataclass(frozen=True)
class Code:
    """One kernel for one capability."""
    name: str
    capability: tuple
    registers: int
    spilled: int
    stack: int
    instructions: int
    defects: tuple


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="only kernels whose name begins so")
    parser.add_argument("--report", type=Path, help="where to write a table in Markdown")
    options = parser.parse_args(arguments)
    codes = []
    for kernel in [*functions(), *collect()]:
        if not options.names or kernel.name.startswith(tuple(options.names)):
            codes += [examined(kernel, capability) for capability in CAPABILITIES]
            print(line(codes[-2:]), flush=True)
    found = [f"{c.name} sm_{c.capability[0]}{c.capability[1]}: {d}" for c in codes for d in c.defects]
    print(*summary(codes), *found, sep="\n")
    if options.report:
        options.report.write_text(report(codes), encoding="utf-8")
    return 1 if found else 0


def examined(kernel, capability):
    """PTX, assembled, and what is wrong with it."""
    try:
        ptx = cuda.emit_ptx(kernel.text, cuda.signature(kernel.structure), capability)
    except Exception as error:
        return Code(kernel.name, capability, 0, 0, 0, 0, (f"does not compile: {type(error).__name__}: {str(error)[:200]}",))
    said, code = assembled(ptx, capability)
    registers = int(re.search(r"Used (\d+) registers", said)[1])
    stack, stores, loads = map(int, re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", said).groups())
    defects = list(precision(kernel, ptx))
    defects += [f"{stores + loads} bytes of spills"] * (stores + loads > 0) + [f"{registers} registers"] * (registers > CEILING)
    return Code(kernel.name, capability, registers, stores + loads, stack, instructions(code), tuple(defects))


# ------------------------------------------------------------------------------------------------------------------- precision

def precision(kernel, ptx):
    """What is computed otherwise than the text says: in float64, flushed to zero, or nearly."""
    used = set(re.findall(r"math\.(\w+)\(", kernel.text))
    single = not any(i.kind == "f8" and (i.axes or i.fn not in ("weak", "const")) for i in kernel.structure.items)
    for name in sorted(set(re.findall(r"^\s+(?:@!?%p\d+ )?([a-z][a-z0-9]*(?:\.[a-z0-9_]+)+)\s", ptx, re.M))):
        operation, *parts = name.split(".")
        if single and "f64" in parts and not is_number_from_python(kernel, operation, parts) and not used & set(IN_DOUBLE):
            yield f"{name} in a float32 kernel"
        if "approx" in parts or "full" in parts:
            allowed = {p for f in used for p in PARTS.get(f, "").split()} | ({"rcp", "rsqrt"} if "f64" in parts else set())
            if operation not in allowed:
                yield f"{name}: approximate"
        elif "ftz" in parts:
            yield f"{name}: flushes to zero"


def is_number_from_python(kernel, operation, parts):
    """A Python number is loaded as a float64 and rounded."""
    return (operation == "ld" or (operation, parts) == ("cvt", ["rn", "f32", "f64"])) and any(p.role == "weak" for p in kernel.structure.pointers)


# -------------------------------------------------------------------------------------------------------------------- assembly

def assembled(ptx, capability):
    """What ``ptxas`` says of the PTX, and the machine code."""
    with tempfile.TemporaryDirectory() as folder:
        source, code = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx, encoding="utf-8")
        command = [assembler(), "-v", f"-arch=sm_{capability[0]}{capability[1]}", str(source), "-o", str(code)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout + run.stderr, code.read_bytes()


def assembler():
    folder = next(iter(importlib.util.find_spec("nvidia.cu13").submodule_search_locations))
    return str(Path(folder) / "bin" / "ptxas")


def instructions(code):
    """Machine instructions in the sections of an ELF file that hold code."""
    start, = struct.unpack_from("<Q", code, 0x28)
    size, count, names = struct.unpack_from("<HHH", code, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", code, start + k * size) for k in range(count)]
    table = sections[names][4]
    called = [code[table + s[0]:code.index(b"\0", table + s[0])] for s in sections]
    return sum(s[5] for s, name in zip(sections, called, strict=True) if name.startswith(b".text")) // BYTES


# ---------------------------------------------------------------------------------------------------------------------- report

def line(codes):
    first, *others = codes
    return " ".join([f"{first.name:28}", *(f"sm_{c.capability[0]}{c.capability[1]}: {c.registers:3} registers, {c.instructions:5} instructions;"
                                          for c in [first, *others]), *first.defects])


def summary(codes):
    for capability in CAPABILITIES:
        own = [c for c in codes if c.capability == capability]
        registers, counts = sorted(c.registers for c in own), sorted(c.instructions for c in own)
        if own:
            yield (f"sm_{capability[0]}{capability[1]}: {len(own)} kernels, {sum(c.spilled > 0 for c in own)} spill; registers: median "
                   f"{registers[len(own) // 2]}, most {registers[-1]}; instructions: median {counts[len(own) // 2]}, most {counts[-1]}")


def report(codes):
    """A row per kernel."""
    rows = [f"| {a.name} | {a.registers} | {a.instructions} | {b.registers} | {b.instructions} |" for a, b in zip(codes[::2], codes[1::2], strict=True)]
    return "\n".join([*head(summary(codes)), *rows]) + "\n"


def head(lines):
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc"))
    return ["# Machine code for GPUs", "",
            f"Written by `tests/cuda_code.py` with {versions}:",
            "compiled and assembled without a GPU. Registers are those of a thread; instructions are of 16 bytes, with what fills up the end.",
            "Nothing here says how fast a kernel is.", "", *(f"* {text}" for text in lines), "",
            "| kernel | registers, sm_80 | instructions, sm_80 | registers, sm_90 | instructions, sm_90 |", "|---|---|---|---|---|"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
