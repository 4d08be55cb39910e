"""Blocks: max, multiply, sum."""
from math import inf

from numba import float32

from hybridnn.jit.vecmath import maximum_f32, parallel_loops, ptr_f32, where_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    p5 = ptr_f32(bufs, args, 10)
    p6 = ptr_f32(bufs, args, 12)
    p7 = ptr_f32(bufs, args, 14)
    p8 = ptr_f32(bufs, args, 16)
    n1 = args[19]
    n2 = args[20]
    s0_0 = args[21]
    s0_1 = args[22]
    s1_0 = args[23]
    s1_1 = args[24]
    s2_0 = args[25]
    s2_1 = args[26]
    s3_0 = args[27]
    s4_0 = args[28]
    z = lo * n2
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        o2 = c0 * s2_0
        o3 = c0 * s3_0
        o4 = c0 * s4_0
        for j in range(n2):
            p6[z + j] = float32(0.0)
            p7[z + j] = float32(0)
            p8[z + j] = float32(-inf)
        for b in range(0, n1, 32):
            for j in range(n2):
                p5[z + j] = float32(0)
            e = b + 32 if b + 32 < n1 else n1
            for r in range(b, e):
                c1 = r
                q0 = o0 + c1 * s0_1
                q1 = o1 + c1 * s1_1
                q2 = o2 + c1 * s2_1
                for j in range(n2):
                    v0 = p0[q0 + j]
                    v1 = p1[q1 + j]
                    v2 = v0 * v1
                    p5[z + j] = p5[z + j] + v2
                    p8[z + j] = maximum_f32(v1, p8[z + j])
                    p2[q2 + j] = v2
            for j in range(n2):
                y3 = p5[z + j] - p7[z + j]
                t3 = p6[z + j]
                u3 = t3 + y3
                l3 = (u3 - t3) - y3
                p7[z + j] = where_f32(l3 == l3, l3, float32(0.0))
                p6[z + j] = u3
        for j in range(n2):
            v3 = p6[z + j]
            v4 = p8[z + j]
            p3[o3 + j] = v3
            p4[o4 + j] = v4
    parallel_loops()
