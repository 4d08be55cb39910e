"""Map: exp, greater, log1p, multiply, where."""
from numba import float64

from hybridnn.jit.vecmath import exp_f64, log1p_f64, parallel_long_loops, ptr_f64, where_f64


def kernel(bufs, args, lo, hi):
    p0 = ptr_f64(bufs, args, 0)
    p1 = ptr_f64(bufs, args, 2)
    for i in range(lo, hi):
        v0 = p0[i]
        v2 = v0 > float64(0.0)
        v3 = exp_f64(v0)
        v5 = v0 * float64(0.5)
        v6 = log1p_f64(v5)
        v7 = where_f64(v2, v3, v6)
        p1[i] = v7
    parallel_long_loops()
