"""Short: exp, log, max, subtract, sum."""
from math import inf

from numba import float32

from hybridnn.jit.reducers import max_f32, sum_f32
from hybridnn.jit.vecmath import exp_f32, log_f32, parallel_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    p5 = ptr_f32(bufs, args, 10)
    p6 = ptr_f32(bufs, args, 12)
    n0 = args[14]
    n1 = args[15]
    s0_0 = args[16]
    s1_0 = args[17]
    for b in range(lo, hi, 256):
        e = b + 256 if b + 256 < hi else hi
        for o in range(b, e):
            for j in range(n1):
                p2[j * n0 + o] = p0[o * s0_0 + j]
        for o in range(b, e):
            p4[o] = float32(-inf)
        for j in range(n1):
            z = j * n0
            for o in range(b, e):
                v0 = p2[z + o]
                m1 = p4[o]
                m1 = max_f32(m1, v0)
                p4[o] = m1
        for o in range(b, e):
            p5[o] = float32(0.0)
        for j in range(n1):
            z = j * n0
            for o in range(b, e):
                v0 = p2[z + o]
                v1 = p4[o]
                v2 = v0 - v1
                v3 = exp_f32(v2)
                m4 = p5[o]
                m4 = sum_f32(m4, v3)
                p5[o] = m4
        for o in range(b, e):
            v4 = p5[o]
            v5 = log_f32(v4)
            p6[o] = v5
        for j in range(n1):
            z = j * n0
            for o in range(b, e):
                v0 = p2[z + o]
                v1 = p4[o]
                v2 = v0 - v1
                v5 = p6[o]
                v6 = v2 - v5
                p3[z + o] = v6
        for o in range(b, e):
            for j in range(n1):
                p1[o * s1_0 + j] = p3[j * n0 + o]
    parallel_loops()
