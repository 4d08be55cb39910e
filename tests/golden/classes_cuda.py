"""Short: exp, log, max, subtract, sum."""
import math
from math import inf

from numba import cuda, float32


def kernel(p0, p1, n0, n1, s0_0, s1_0):
    for o in range(cuda.grid(1), n0, cuda.gridsize(1)):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v1 = float32(-inf)
        for j in range(n1):
            v0 = p0[o0 + j]
            v1 = v0 if v0 > v1 or v0 != v0 else v1
        v4 = float32(0.0)
        k4 = float32(0.0)
        for b in range(0, n1, 256):
            t4 = float32(0.0)
            e = b + 256 if b + 256 < n1 else n1
            for j in range(b, e):
                v0 = p0[o0 + j]
                v2 = v0 - v1
                v3 = math.exp(v2)
                t4 = t4 + v3
            y = t4 - k4
            u = v4 + y
            k4 = (u - v4) - y
            k4 = k4 if k4 == k4 else float32(0.0)
            v4 = u
        v5 = math.log(v4)
        for j in range(n1):
            v0 = p0[o0 + j]
            v2 = v0 - v1
            v6 = v2 - v5
            p1[o1 + j] = v6
