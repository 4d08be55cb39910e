"""Row: divide, exp, max, subtract, sum."""
from math import inf

from numba import float32, int32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import exp_down_f32, larger_f32, magnitude_f32, most_i32, nan_if_f32, parallel_long_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    n1 = args[5]
    s0_0 = args[6]
    s1_0 = args[7]
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v1 = float32(-inf)
        x1 = int32(0)
        for j in range(n1):
            v0 = p0[o0 + j]
            v1 = larger_f32(v1, v0)
            x1 = most_i32(x1, magnitude_f32(v0))
        v1 = nan_if_f32(x1, v1)
        v4 = float32(0.0)
        k4 = float32(0.0)
        for b in range(0, n1, 256):
            t4 = float32(0.0)
            e = b + 256 if b + 256 < n1 else n1
            for j in range(b, e):
                v0 = p0[o0 + j]
                v2 = v0 - v1
                v3 = exp_down_f32(v2)
                t4 = sum_f32(t4, v3)
                p1[o1 + j] = v3
            y = t4 - k4
            u = v4 + y
            k4 = (u - v4) - y
            k4 = k4 if k4 == k4 else float32(0.0)
            v4 = u
        for j in range(n1):
            v3 = p1[o1 + j]
            v5 = v3 / v4
            p1[o1 + j] = v5
    parallel_long_loops()
