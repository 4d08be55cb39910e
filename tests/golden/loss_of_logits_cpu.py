"""Map: absolute, add, exp, log1p, maximum, multiply, negative, subtract."""
from numba import float32

from hybridnn.jit.vecmath import absolute_f32, exp_down_f32, log1p_unit_f32, maximum_f32, parallel_long_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    for i in range(lo, hi):
        v0 = p0[i]
        v1 = p1[i]
        v3 = maximum_f32(v0, float32(0.0))
        v4 = v0 * v1
        v5 = v3 - v4
        v6 = absolute_f32(v0)
        v7 = -v6
        v8 = exp_down_f32(v7)
        v9 = log1p_unit_f32(v8)
        v10 = v5 + v9
        p2[i] = v10
    parallel_long_loops()
