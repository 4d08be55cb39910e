"""Short: exp, log, max, subtract, sum."""
from math import inf

from numba import float32

from hybridnn.jit.reducers import max_f32, sum_f32
from hybridnn.jit.vecmath import exp_down_f32, local_f32, log_f32, parallel_long_loops, ptr_f32, turn


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    n1 = args[5]
    s0_0 = args[6]
    s1_0 = args[7]
    t0 = local_f32(4096)
    t1 = local_f32(4096)
    w1 = local_f32(64)
    w4 = local_f32(64)
    w5 = local_f32(64)
    for b in range(lo, hi, 64):
        m = hi - b if hi - b < 64 else 64
        turn(t0, 0, 64, p0, b * s0_0, s0_0, m, n1)
        for o in range(m):
            w1[o] = float32(-inf)
        for j in range(n1):
            z = j * 64
            for o in range(m):
                v0 = t0[z + o]
                m1 = w1[o]
                m1 = max_f32(m1, v0)
                w1[o] = m1
        for o in range(m):
            w4[o] = float32(0.0)
        for j in range(n1):
            z = j * 64
            for o in range(m):
                v0 = t0[z + o]
                v1 = w1[o]
                v2 = v0 - v1
                v3 = exp_down_f32(v2)
                m4 = w4[o]
                m4 = sum_f32(m4, v3)
                w4[o] = m4
        for o in range(m):
            v4 = w4[o]
            v5 = log_f32(v4)
            w5[o] = v5
        for j in range(n1):
            z = j * 64
            for o in range(m):
                v0 = t0[z + o]
                v1 = w1[o]
                v2 = v0 - v1
                v5 = w5[o]
                v6 = v2 - v5
                t1[z + o] = v6
        turn(p1, b * s1_0, s1_0, t1, 0, 64, n1, m)
    parallel_long_loops()
