"""Tiled: absolute, add, divide, exp, less, negative, where."""
from numba import float32

from hybridnn.jit.vecmath import absolute_f32, exp_down_f32, local_f32, parallel_long_loops, ptr_f32, where_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    n0 = args[6]
    n1 = args[7]
    h1 = local_f32(512)
    c = 512 // n1
    m = n0 if n0 < c else c
    for j in range(n1):
        for x in range(m):
            h1[x * n1 + j] = p1[j]
    for a in range((hi - lo + c - 1) // c):
        b = lo + a * c
        e = b + c if b + c < hi else hi
        q = e - b
        m = q * n1
        z = b * n1
        for i in range(m):
            v0 = p0[z + i]
            v1 = h1[i]
            v2 = v0 + v1
            v3 = absolute_f32(v2)
            v4 = -v3
            v5 = exp_down_f32(v4)
            v7 = v2 < float32(0.0)
            v9 = where_f32(v7, v5, float32(1.0))
            v10 = float32(1.0) + v5
            v11 = v9 / v10
            p2[z + i] = v11
    parallel_long_loops()
