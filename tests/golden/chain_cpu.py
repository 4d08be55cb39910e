"""Map: absolute, add, divide, exp, less, multiply, negative, tanh, where."""
from numba import float32

from hybridnn.jit.vecmath import absolute_f32, exp_down_f32, parallel_long_loops, ptr_f32, tanh_f32, where_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    n1 = args[7]
    s0_0 = args[8]
    s2_0 = args[9]
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o2 = c0 * s2_0
        for i in range(n1):
            v0 = p0[o0 + i]
            v2 = float32(1.5) * v0
            v3 = p1[i]
            v4 = v2 + v3
            v5 = tanh_f32(v4)
            v6 = absolute_f32(v0)
            v7 = -v6
            v8 = exp_down_f32(v7)
            v10 = v0 < float32(0.0)
            v12 = where_f32(v10, v8, float32(1.0))
            v13 = float32(1.0) + v8
            v14 = v12 / v13
            v15 = v5 * v14
            p2[o2 + i] = v15
    parallel_long_loops()
