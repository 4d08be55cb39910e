"""Flat: exp, multiply, sum."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, n0, n1, s2_0):
    for o in range(cuda.grid(1), 1, cuda.gridsize(1)):
        v6 = float32(0.0)
        k6 = float32(0.0)
        for c0 in range(n0):
            q0 = c0 * n1
            q2 = c0 * s2_0
            q3 = c0 * n1
            for b in range(0, n1, 256):
                t6 = float32(0.0)
                e = b + 256 if b + 256 < n1 else n1
                for j in range(b, e):
                    v0 = p0[q0 + j]
                    v1 = p1[j]
                    v2 = v0 * v1
                    v3 = math.exp(v2)
                    v4 = p2[q2]
                    v5 = v3 * v4
                    t6 = t6 + v5
                    p3[q3 + j] = v5
                y = t6 - k6
                u = v6 + y
                k6 = (u - v6) - y
                k6 = k6 if k6 == k6 else float32(0.0)
                v6 = u
        p4[0] = v6
