"""How accurate and how fast `vecmath` is: `python -m hybridnn.jit.vecmath_check [--samples N] [NAME ...]`.

Every function runs in a kernel of its own on random bit patterns and on dense samples of its interesting ranges, and is
compared with NumPy in long double (`erf` and `erfc`: a series and a continued fraction in long double). The table shows the
largest error in units in the last place and relative to the result, and the time for 1e5 elements beside NumPy's for the same
dtype. Needs an 80-bit long double (x86).
"""
from __future__ import annotations

import argparse
import ctypes
import time
from dataclasses import dataclass
from functools import cache

import numba
import numpy as np

from hybridnn.jit import vecmath

LONG = np.longdouble
POINTER_NAMES = {"float32": "f32", "float64": "f64", "bool": "bool"}
RELATIVE = {"float32": 2e-7, "float64": 1e-15}


@dataclass(frozen=True)
class Kernel:
    """One function in a loop over arrays."""

    call: object
    assembly: str

    def __call__(self, out, *xs):
        arrays = [*xs, out]
        bufs = np.array([a.ctypes.data for a in arrays], np.int64)
        args = np.array([[k, 0] for k in range(len(arrays))], np.int64)
        self.call(bufs.ctypes.data, args.ctypes.data, 0, out.size)
        return out


def source(function: str, arguments, result: str) -> str:
    """A kernel file's text, as the emitter writes it: `function` over arrays."""
    loads = [f"    x{k}_ = ptr_{POINTER_NAMES[t]}(bufs, args, {2 * k})" for k, t in enumerate(arguments)]
    operands = ", ".join(f"x{k}_[i]" for k in range(len(arguments)))
    out = f"    y_ = ptr_{POINTER_NAMES[result]}(bufs, args, {2 * len(arguments)})"
    return "\n".join(["def kernel(bufs, args, lo, hi):", *loads, out, "    for i in range(lo, hi):",
                      f"        y_[i] = {function}({operands})", "    parallel_loops()", ""])


def compile_source(text: str) -> Kernel:
    """The function `kernel` that `text` defines, compiled."""
    names = {name: getattr(vecmath, name) for name in vecmath.__all__}
    exec(text, names)
    compiled = numba.cfunc(vecmath.KERNEL_SIGNATURE, error_model="numpy")(names["kernel"])
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(compiled.address)
    call.keep = compiled
    return Kernel(call, compiled._library.get_asm_str())


@cache
def kernel_of(name: str, dtype: str) -> Kernel:
    f = vecmath.FUNCTIONS[name, dtype]
    return compile_source(source(f.name, [dtype] * f.arity, f.result))


def erf_series(x):
    """2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!, for |x| <= 1.5."""
    term, total = x.copy(), x.copy()
    for n in range(1, 60):
        term = term * (2 * x * x / (2 * n + 1))
        total = total + term
    return total * np.exp(-x * x) * 2 / np.sqrt(LONG(np.pi) + LONG(1.2246467991473532e-16))


def erfc_fraction(a):
    """exp(-a^2) / (a sqrt(pi)) / (1 + q/(1 + 2q/(1 + 3q/...))), q = 1/(2a^2), for a >= 1.5."""
    q, f = 1 / (2 * a * a), np.ones_like(a)
    for n in range(200, 0, -1):
        f = 1 + n * q / f
    return np.exp(-a * a) / (a * np.sqrt(LONG(np.pi) + LONG(1.2246467991473532e-16)) * f)


def erf(x):
    a = np.abs(x)
    near, far = erf_series(np.where(a < 1.5, x, LONG(0))), erfc_fraction(np.where(a < 1.5, LONG(1.5), a))
    return np.where(np.isnan(x), x, np.where(a < 1.5, near, np.copysign(1 - far, x)))


def erfc(x):
    a = np.abs(x)
    far = erfc_fraction(np.where(a < 1.5, LONG(1.5), a))
    near = 1 - erf_series(np.where(a < 1.5, x, LONG(0)))
    return np.where(np.isnan(x), x, np.where(a < 1.5, near, np.where(x > 0, far, 2 - far)))


def sigmoid(x):
    z = np.exp(-np.abs(x))
    return np.where(x < 0, z, 1) / (1 + z)


REFERENCES = {
    "erf": erf, "erfc": erfc, "sigmoid": sigmoid,
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


def reference(name: str):
    return REFERENCES.get(name) or getattr(np, name)


def specials(dtype) -> np.ndarray:
    info = np.finfo(dtype)
    positive = [0.0, info.smallest_subnormal, info.tiny, 1e-3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.5, 1e9, 1e30, info.max, np.inf, np.nan]
    return np.array([s * v for v in positive for s in (1, -1)], dtype)


def samples(dtype, count: int, seed: int = 0) -> np.ndarray:
    """Random bit patterns, and numbers around 0, around 1, over the range of exp and over magnitudes; then the specials."""
    dtype, rng = np.dtype(dtype), np.random.default_rng(seed)
    top = float(np.log(np.finfo(dtype).max)) * 1.1
    parts = [
        rng.integers(0, 2 ** (8 * dtype.itemsize), count, dtype=f"u{dtype.itemsize}").view(dtype),
        rng.normal(size=count) * 10, rng.uniform(-1.2, 1.2, count), rng.uniform(-top, top, count),
        np.exp(rng.uniform(-20, 20, count)) * rng.choice([-1, 1], count),
        1 + rng.normal(size=count) * 10.0 ** rng.uniform(-7, 0, count),
        np.rint(rng.normal(size=count) * 30) * (np.pi / 2), specials(dtype),
    ]
    return np.concatenate([part.astype(dtype) for part in parts])


@dataclass(frozen=True)
class Error:
    """Largest errors: in units in the last place, relative (of normal results), and where the class of value is wrong."""

    ulp: float
    relative: float
    worst: tuple
    wrong: list


def compare(y, exact, operands) -> Error:
    """Errors of `y` against the long double `exact`; `wrong` lists operands that got another NaN, infinity or sign."""
    rounded = exact.astype(y.dtype)
    finite = np.isfinite(y) & np.isfinite(rounded)
    same = np.where(finite, True, (np.isnan(y) & np.isnan(rounded)) | (y == rounded))
    same &= np.isnan(rounded) | (np.signbit(y) == np.signbit(rounded))
    difference = np.where(finite, np.abs(y.astype(LONG) - exact), 0)
    ulp = np.where(finite, difference / np.spacing(np.abs(rounded)).astype(LONG), 0)
    relative = np.where(finite & (np.abs(rounded) >= np.finfo(y.dtype).tiny), difference / np.abs(exact), 0)
    at = int(ulp.argmax())
    wrong = [(*(x[k] for x in operands), y[k], rounded[k]) for k in np.flatnonzero(~same)[:5]]
    return Error(float(ulp[at]), float(relative.max()), tuple(x[at] for x in operands), wrong)


def measure(name: str, dtype: str, count: int) -> Error:
    """Errors of the unary function `name` on `7 * count` samples."""
    x = samples(dtype, count)
    with np.errstate(all="ignore"):
        return compare(kernel_of(name, dtype)(np.empty_like(x), x), reference(name)(x.astype(LONG)), (x,))


def microseconds(call, repeat: int = 15) -> float:
    """The best time of a call."""
    def once():
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    return 1e6 * min(once() for _ in range(repeat))


def throughput(name: str, dtype: str, count: int = 100_000) -> tuple[float, float]:
    """Microseconds for `count` elements: the kernel, and NumPy's function or composition."""
    rng = np.random.default_rng(0)
    xs = [np.abs(rng.normal(size=count)).astype(dtype) * 0.9 for _ in range(vecmath.FUNCTIONS[name, dtype].arity)]
    out, kernel = np.empty(count, vecmath.FUNCTIONS[name, dtype].result), kernel_of(name, dtype)
    bufs = np.array([a.ctypes.data for a in (*xs, out)], np.int64)
    args = np.array([[k, 0] for k in range(len(bufs))], np.int64)
    peer = reference(name)
    if name in ("erf", "erfc"):
        return microseconds(lambda: kernel.call(bufs.ctypes.data, args.ctypes.data, 0, count)), float("nan")
    with np.errstate(all="ignore"):
        ours = microseconds(lambda: kernel.call(bufs.ctypes.data, args.ctypes.data, 0, count))
        return ours, microseconds(lambda: peer(*xs))


def main(argv=None):
    parser = argparse.ArgumentParser(description="accuracy and throughput of hybridnn.jit.vecmath")
    parser.add_argument("--samples", type=int, default=300_000, help="samples of each kind")
    parser.add_argument("names", nargs="*", help="functions (all)")
    options = parser.parse_args(argv)
    print(f"{'function':12} {'dtype':8} {'ulp':>6} {'relative':>9} {'us/1e5':>7} {'numpy':>7}  worst at")
    for (name, dtype), f in vecmath.FUNCTIONS.items():
        if options.names and name not in options.names:
            continue
        ours, peer = throughput(name, dtype)
        if f.arity == 1 and f.result == dtype:
            e = measure(name, dtype, options.samples)
            text = f"{e.ulp:6.2f} {e.relative:9.1e} {ours:7.0f} {peer:7.0f}  {float(e.worst[0])!r} {e.wrong or ''}"
        else:
            text = f"{'':6} {'':9} {ours:7.0f} {peer:7.0f}"
        print(f"{name:12} {dtype:8} {text}", flush=True)


if __name__ == "__main__":
    main()
