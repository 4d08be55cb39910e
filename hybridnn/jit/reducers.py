"""Accumulators that LLVM may vectorise: a sum whose terms may be regrouped, and extremes that keep NaN.

A kernel uses ``sum_*`` within blocks of ``source_row.BLOCK`` elements only, and adds blocks with compensation, so that accuracy is at
least that of pairwise summation.
"""
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

FLOATS = {"f32": types.float32, "f64": types.float64}


def _define(name, kind, emit):
    def typed(typingctx, acc, x):
        def codegen(context, builder, sig, args):
            return emit(builder, *args)
        return kind(kind, kind), codegen
    typed.__name__ = typed.__qualname__ = name
    return intrinsic(typed)


def _sum(builder, acc, x):
    return builder.fadd(acc, x, flags=("reassoc",))


def _extreme(name):
    """``llvm.maximum`` and ``llvm.minimum`` return NaN if either operand is one, as NumPy does."""
    def emit(builder, acc, x):
        fn = builder.module.declare_intrinsic(name, [x.type], ir.FunctionType(x.type, [x.type, x.type]))
        return builder.call(fn, [acc, x])
    return emit


for _suffix, _kind in FLOATS.items():
    for _name, _emit in (("sum", _sum), ("max", _extreme("llvm.maximum")), ("min", _extreme("llvm.minimum"))):
        globals()[f"{_name}_{_suffix}"] = _define(f"{_name}_{_suffix}", _kind, _emit)
