"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import parallel_loops, ptr_f32, ptr_f64, sqrt_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f64(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    n1 = args[9]
    s0_0 = args[10]
    s3_0 = args[11]
    v8 = p1[0]
    v9 = float32(v8)
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o3 = c0 * s3_0
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
        v3 = v1 * float32(0.1428571492433548)
        v6 = float32(0.0)
        k6 = float32(0.0)
        for b in range(0, n1, 256):
            t6 = float32(0.0)
            e = b + 256 if b + 256 < n1 else n1
            for j in range(b, e):
                v0 = p0[o0 + j]
                v4 = v0 - v3
                v5 = v4 * v4
                t6 = sum_f32(t6, v5)
            y = t6 - k6
            u = v6 + y
            k6 = (u - v6) - y
            k6 = k6 if k6 == k6 else float32(0.0)
            v6 = u
        v7 = v6 * float32(0.1428571492433548)
        v10 = v7 + v9
        v11 = sqrt_f32(v10)
        v13 = float32(1.0) / v11
        for j in range(n1):
            v0 = p0[o0 + j]
            v4 = v0 - v3
            v14 = v4 * v13
            v15 = p2[j]
            v16 = v14 * v15
            p3[o3 + j] = v16
    parallel_loops()
