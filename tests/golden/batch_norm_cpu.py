"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import parallel_loops, ptr_f32, ptr_f64, sqrt_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f64(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    n0 = args[10]
    n2 = args[12]
    s0_0 = args[13]
    s0_1 = args[14]
    s2_1 = args[15]
    s3_1 = args[16]
    s4_0 = args[17]
    s4_1 = args[18]
    v8 = p1[0]
    v9 = float32(v8)
    for o in range(lo, hi):
        c1 = o
        o0 = c1 * s0_1
        o2 = c1 * s2_1
        o3 = c1 * s3_1
        o4 = c1 * s4_1
        v1 = float32(0.0)
        k1 = float32(0.0)
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q4 = o4 + c0 * s4_0
            for b in range(0, n2, 256):
                t1 = float32(0.0)
                e = b + 256 if b + 256 < n2 else n2
                for j in range(b, e):
                    v0 = p0[q0 + j]
                    t1 = sum_f32(t1, v0)
                y = t1 - k1
                u = v1 + y
                k1 = (u - v1) - y
                k1 = k1 if k1 == k1 else float32(0.0)
                v1 = u
        v3 = v1 * float32(0.05000000074505806)
        v6 = float32(0.0)
        k6 = float32(0.0)
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q4 = o4 + c0 * s4_0
            for b in range(0, n2, 256):
                t6 = float32(0.0)
                e = b + 256 if b + 256 < n2 else n2
                for j in range(b, e):
                    v0 = p0[q0 + j]
                    v4 = v0 - v3
                    v5 = v4 * v4
                    t6 = sum_f32(t6, v5)
                y = t6 - k6
                u = v6 + y
                k6 = (u - v6) - y
                k6 = k6 if k6 == k6 else float32(0.0)
                v6 = u
        v7 = v6 * float32(0.05000000074505806)
        v10 = v7 + v9
        v11 = sqrt_f32(v10)
        v13 = float32(1.0) / v11
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q4 = o4 + c0 * s4_0
            for j in range(n2):
                v0 = p0[q0 + j]
                v4 = v0 - v3
                v14 = v4 * v13
                p4[q4 + j] = v14
        p2[o2] = v3
        p3[o3] = v7
    parallel_loops()
