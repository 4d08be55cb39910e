"""Flat: exp, multiply, sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import exp_f32, local_f32, parallel_long_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    n0 = args[10]
    n1 = args[11]
    s2_0 = args[12]
    h1 = local_f32(512)
    h2 = local_f32(512)
    c = 512 // n1
    for o in range(lo, hi):
        m = n0 if n0 < c else c
        for j in range(n1):
            for x in range(m):
                h1[x * n1 + j] = p1[j]
        v6 = float32(0.0)
        k6 = float32(0.0)
        for a in range((n0 + c - 1) // c):
            b = a * c
            e = b + c if b + c < n0 else n0
            q = e - b
            t6 = float32(0.0)
            m = q * n1
            z = b * n1
            for j in range(n1):
                for x in range(q):
                    h2[x * n1 + j] = p2[(b + x) * s2_0]
            for j in range(m):
                v0 = p0[z + j]
                v1 = h1[j]
                v2 = v0 * v1
                v3 = exp_f32(v2)
                v4 = h2[j]
                v5 = v3 * v4
                t6 = sum_f32(t6, v5)
                p3[z + j] = v5
            y = t6 - k6
            u = v6 + y
            k6 = (u - v6) - y
            k6 = k6 if k6 == k6 else float32(0.0)
            v6 = u
        p4[0] = v6
    parallel_long_loops()
