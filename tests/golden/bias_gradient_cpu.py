"""Column: multiply, subtract, sum."""
from numba import float32

from hybridnn.jit.vecmath import parallel_loops, ptr_f32, where_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    p5 = ptr_f32(bufs, args, 10)
    p6 = ptr_f32(bufs, args, 12)
    n0 = args[14]
    s0_0 = args[16]
    s1_0 = args[17]
    s2_0 = args[18]
    for j in range(lo, hi):
        p5[j] = float32(0.0)
        p6[j] = float32(0)
    for b in range(0, n0, 32):
        for j in range(lo, hi):
            p4[j] = float32(0)
        e = b + 32 if b + 32 < n0 else n0
        for r in range(b, e):
            c0 = r
            q0 = c0 * s0_0
            q1 = c0 * s1_0
            q2 = c0 * s2_0
            for j in range(lo, hi):
                v0 = p0[q0 + j]
                v1 = v0 * v0
                v3 = float32(1.0) - v1
                v4 = p1[q1 + j]
                v5 = v4 * v3
                p4[j] = p4[j] + v5
                p2[q2 + j] = v5
        for j in range(lo, hi):
            y6 = p4[j] - p6[j]
            t6 = p5[j]
            u6 = t6 + y6
            l6 = (u6 - t6) - y6
            p6[j] = where_f32(l6 == l6, l6, float32(0.0))
            p5[j] = u6
    for j in range(lo, hi):
        v6 = p5[j]
        p3[j] = v6
    parallel_loops()
