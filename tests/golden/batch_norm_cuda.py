"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, n0, n1, n2, s0_0, s0_1, s2_1, s3_1, s4_0, s4_1):
    v8 = p1[0]
    v9 = float32(v8)
    for o in range(cuda.grid(1), n1, cuda.gridsize(1)):
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
                    t1 = t1 + v0
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
                    t6 = t6 + v5
                y = t6 - k6
                u = v6 + y
                k6 = (u - v6) - y
                k6 = k6 if k6 == k6 else float32(0.0)
                v6 = u
        v7 = v6 * float32(0.05000000074505806)
        v10 = v7 + v9
        v11 = math.sqrt(v10)
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
