"""Row: add, cast, divide, multiply, sqrt, subtract, sum."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, n0, n1, s0_0, s4_0):
    v2 = p1[0]
    v3 = float32(v2)
    v9 = p2[0]
    v10 = float32(v9)
    for o in range(cuda.grid(1), n0, cuda.gridsize(1)):
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
                t1 = t1 + v0
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
        for j in range(n1):
            v0 = p0[o0 + j]
            v5 = v0 - v4
            v15 = v5 * v14
            v16 = p3[j]
            v17 = v15 * v16
            p4[o4 + j] = v17
