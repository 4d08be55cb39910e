"""Tiled: absolute, add, divide, exp, less, negative, where."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, n0, n1):
    for i in range(cuda.grid(1), n0 * n1, cuda.gridsize(1)):
        c1 = i % n1
        r1 = i // n1
        c0 = r1
        o0 = c0 * n1
        o2 = c0 * n1
        v0 = p0[o0 + c1]
        v1 = p1[c1]
        v2 = v0 + v1
        v3 = abs(v2)
        v4 = -v3
        v5 = math.exp(v4)
        v7 = v2 < float32(0.0)
        v9 = (v5 if v7 else float32(1.0))
        v10 = float32(1.0) + v5
        v11 = v9 / v10
        p2[o2 + c1] = v11
