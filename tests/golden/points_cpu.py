"""Short: exp, multiply, subtract, sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import exp_f32, local_f32, parallel_long_loops, ptr_f32, turn


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    n1 = args[9]
    n2 = args[10]
    s0_0 = args[11]
    s1_1 = args[12]
    s2_0 = args[13]
    s2_1 = args[14]
    s3_0 = args[15]
    s3_1 = args[16]
    t1 = local_f32(4096)
    t3 = local_f32(4096)
    w3 = local_f32(64)
    w5 = local_f32(64)
    w6 = local_f32(64)
    for g in range(lo // n1, (hi + n1 - 1) // n1):
        c0 = g
        f0 = c0 * s0_0
        f2 = c0 * s2_0
        f3 = c0 * s3_0
        first = lo - g * n1 if lo > g * n1 else 0
        last = hi - g * n1 if hi < (g + 1) * n1 else n1
        for b in range(first, last, 64):
            m = last - b if last - b < 64 else 64
            turn(t1, 0, 64, p1, b * s1_1, s1_1, m, n2)
            for o in range(m):
                w3[o] = float32(0.0)
                w5[o] = float32(0.0)
            for j in range(n2):
                z = j * 64
                for o in range(m):
                    v0 = p0[f0 + j]
                    v1 = t1[z + o]
                    v2 = v0 - v1
                    v4 = v2 * v2
                    m3 = w3[o]
                    m3 = sum_f32(m3, v2)
                    w3[o] = m3
                    m5 = w5[o]
                    m5 = sum_f32(m5, v4)
                    w5[o] = m5
            for o in range(m):
                v5 = w5[o]
                v6 = exp_f32(v5)
                w6[o] = v6
            for j in range(n2):
                z = j * 64
                for o in range(m):
                    v0 = p0[f0 + j]
                    v1 = t1[z + o]
                    v2 = v0 - v1
                    v6 = w6[o]
                    v7 = v2 * v6
                    t3[z + o] = v7
            for o in range(m):
                v3 = w3[o]
                p2[f2 + (b + o) * s2_1] = v3
            turn(p3, f3 + b * s3_1, s3_1, t3, 0, 64, n2, m)
    parallel_long_loops()
