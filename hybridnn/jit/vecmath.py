"""Scalar math for kernels: numba intrinsics that LLVM vectorises (no SVML, no library calls).

Each name is `<numpy name>_f32` or `<numpy name>_f64`, for code compiled with `error_model="numpy"`. An intrinsic emits its
whole body as LLVM instructions, so a kernel pays neither numba's typing of helper functions nor a call. The tables
`FUNCTIONS` and `POWERS` (constant exponents) are in `vecmath_names`, which imports no numba. Errors: below 2e-7 relative for
float32 (exp, log, tanh, sin: 0.8 to 1.4 units in the last place), below 1e-15 for float64; `vecmath_check` measures them.

A kernel file::

    from numba import float32
    from hybridnn.jit.vecmath import exp_f32, fma_f32, parallel_loops, ptr_f32, where_f32

    def kernel(bufs, args, lo, hi):
        x_ = ptr_f32(bufs, args, 0)
        b_ = ptr_f32(bufs, args, 2)
        y_ = ptr_f32(bufs, args, 4)
        b = b_[0]
        for i in range(lo, hi):
            x = x_[i]
            y_[i] = where_f32(x > float32(0.0), x, exp_f32(fma_f32(x, b, float32(1.5))))
        parallel_loops()

    numba.cfunc(KERNEL_SIGNATURE, error_model="numpy", cache=True)(kernel)

Rules that keep a loop vectorised:

* Take pointers by `ptr_*` before the loop, load each element once, at the top of the body, store at the end; `parallel_loops()`
  is the last statement (see `pointers` for what it promises). Then any number of pointers vectorises, in place too.
* Every literal is typed (`float32(0.5)`), every choice is `where_*` (no `if`, no `and`/`or`, no Python `min`/`max`), and
  comparisons are joined by `&`, `|`. Rounding is `floor_*`, `rint_*`; `math.*` is never called.
* Indices are `i` plus loop-invariant terms. A row-wise kernel loops over columns inside, with `row = i * columns` outside.
* A running sum is `total = reduce_add_f32(total, x)` in a block of bounded length (each lane sums its share), a running maximum
  `reduce_max_f32`; a plain `total += x` stays scalar, because the order of the additions is kept.
* A kernel that scatters or carries values through memory takes those pointers by `serial_ptr_*`.
"""
from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from hybridnn.jit import pointers
from hybridnn.jit.pointers import KERNEL_SIGNATURE, parallel_long_loops, parallel_loops, turn
from hybridnn.jit.vecmath_expr import V
from hybridnn.jit.vecmath_names import FUNCTIONS, POWERS, Function
from hybridnn.jit.vecmath_table import DEFINITIONS, KEYS, body_of

TYPES = {"float32": types.float32, "float64": types.float64, "bool": types.boolean, "int32": types.int32, "int64": types.int64,
         "uint16": types.uint16}


def define(name: str, body, arguments, result: str):
    """The numba intrinsic `name` whose instructions `body` emits; `arguments` and `result` are keys of `TYPES`."""
    signature = TYPES[result](*[TYPES[a] for a in arguments])

    def codegen(context, builder, sig, values):
        return body(*[V(builder, value) for value in values]).v

    typed = {
        1: lambda typingctx, x: (signature, codegen),
        2: lambda typingctx, x, y: (signature, codegen),
        3: lambda typingctx, x, y, z: (signature, codegen),
    }[len(arguments)]
    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


globals().update(pointers.POINTERS | pointers.LOCALS)
__all__ = [
    "FUNCTIONS", "KERNEL_SIGNATURE", "KEYS", "POWERS", "Function", "body_of", "parallel_long_loops", "parallel_loops", *pointers.POINTERS, *pointers.LOCALS,
    *DEFINITIONS, "turn",
]


def __getattr__(name: str):
    """An intrinsic is made when it is first asked for: all 190 would take 50 ms."""
    if name not in DEFINITIONS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = define(name, *DEFINITIONS[name])
    return made
