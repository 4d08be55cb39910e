"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import parallel_long_loops, ptr_f32, ptr_f64, sqrt_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f64(bufs, args, 2)
    p2 = ptr_f64(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    n1 = args[11]
    s0_0 = args[12]
    s4_0 = args[13]
    v2 = p1[0]
    v3 = float32(v2)
    v9 = p2[0]
    v10 = float32(v9)
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o4 = c0 * s4_0
        v1 = float32(0.0)
        k1 = float32(0.0)
        for b in range(0, n1, 256):
            t1 = float32(0.0)
            e = b + 256 if b + 256 < n1 else n1
            for j in range(b, e):
                v0 = p0[o0 + j]
                t1 = sum_f32(t1, v0)
            y = t1 - k1
            u = v1 + y
            k1 = (u - v1) - y
            k1 = k1 if k1 == k1 else float32(0.0)
            v1 = u
        v4 = v1 * v3
        v7 = float32(0.0)
        k7 = float32(0.0)
        for b in range(0, n1, 256):
            t7 = float32(0.0)
            e = b + 256 if b + 256 < n1 else n1
            for j in range(b, e):
                v0 = p0[o0 + j]
                v5 = v0 - v4
                v6 = v5 * v5
                t7 = sum_f32(t7, v6)
            y = t7 - k7
            u = v7 + y
            k7 = (u - v7) - y
            k7 = k7 if k7 == k7 else float32(0.0)
            v7 = u
        v8 = v7 * v3
        v11 = v8 + v10
        v12 = sqrt_f32(v11)
        v14 = float32(1.0) / v12
        for j in range(n1):
            v0 = p0[o0 + j]
            v5 = v0 - v4
            v15 = v5 * v14
            v16 = p3[j]
            v17 = v15 * v16
            p4[o4 + j] = v17
    parallel_long_loops()
