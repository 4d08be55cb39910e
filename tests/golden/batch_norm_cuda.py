"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, p5, n0, n1, n2, s0_0, s0_1, s3_1, s4_1, s5_0, s5_1):
    v2 = p1[0]
    v3 = float32(v2)
    v9 = p2[0]
    v10 = float32(v9)
    for o in range(cuda.grid(1), n1, cuda.gridsize(1)):
        c1 = o
        o0 = c1 * s0_1
        o3 = c1 * s3_1
        o4 = c1 * s4_1
        o5 = c1 * s5_1
        v1 = float32(0.0)
        k1 = float32(0.0)
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q5 = o5 + c0 * s5_0
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
        v4 = v1 * v3
        v7 = float32(0.0)
        k7 = float32(0.0)
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q5 = o5 + c0 * s5_0
            for b in range(0, n2, 256):
                t7 = float32(0.0)
                e = b + 256 if b + 256 < n2 else n2
                for j in range(b, e):
                    v0 = p0[q0 + j]
                    v5 = v0 - v4
                    v6 = v5 * v5
                    t7 = t7 + v6
                y = t7 - k7
                u = v7 + y
                k7 = (u - v7) - y
                k7 = k7 if k7 == k7 else float32(0.0)
                v7 = u
        v8 = v7 * v3
        v11 = v8 + v10
        v12 = math.sqrt(v11)
        v14 = float32(1.0) / v12
        for c0 in range(n0):
            q0 = o0 + c0 * s0_0
            q5 = o5 + c0 * s5_0
            for j in range(n2):
                v0 = p0[q0 + j]
                v5 = v0 - v4
                v15 = v5 * v14
                p5[q5 + j] = v15
        p3[o3] = v4
        p4[o4] = v8
