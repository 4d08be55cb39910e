"""Short: exp, multiply, subtract, sum."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, n0, n1, n2, s0_0, s1_1, s2_0, s2_1, s3_0, s3_1):
    for o in range(cuda.grid(1), n0 * n1, cuda.gridsize(1)):
        c1 = o % n1
        r1 = o // n1
        c0 = r1
        o0 = c0 * s0_0
        o1 = c1 * s1_1
        o2 = c0 * s2_0 + c1 * s2_1
        o3 = c0 * s3_0 + c1 * s3_1
        v3 = float32(0.0)
        v5 = float32(0.0)
        k3 = float32(0.0)
        k5 = float32(0.0)
        for b in range(0, n2, 256):
            t3 = float32(0.0)
            t5 = float32(0.0)
            e = b + 256 if b + 256 < n2 else n2
            for j in range(b, e):
                v0 = p0[o0 + j]
                v1 = p1[o1 + j]
                v2 = v0 - v1
                v4 = v2 * v2
                t3 = t3 + v2
                t5 = t5 + v4
            y = t3 - k3
            u = v3 + y
            k3 = (u - v3) - y
            k3 = k3 if k3 == k3 else float32(0.0)
            v3 = u
            y = t5 - k5
            u = v5 + y
            k5 = (u - v5) - y
            k5 = k5 if k5 == k5 else float32(0.0)
            v5 = u
        v6 = math.exp(v5)
        for j in range(n2):
            v0 = p0[o0 + j]
            v1 = p1[o1 + j]
            v2 = v0 - v1
            v7 = v2 * v6
            p3[o3 + j] = v7
        p2[o2] = v3
