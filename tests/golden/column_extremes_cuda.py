"""Column: max, min."""
from math import inf

from numba import cuda, float32


def kernel(p0, p1, p2, n0, n1, s0_0):
    for o in range(cuda.grid(1), n1, cuda.gridsize(1)):
        c1 = o
        v1 = float32(-inf)
        v2 = float32(inf)
        for b in range(0, n0, 32):
            e = b + 32 if b + 32 < n0 else n0
            for r in range(b, e):
                c0 = r
                q0 = c0 * s0_0
                v0 = p0[q0 + c1]
                v1 = v0 if v0 > v1 or v0 != v0 else v1
                v2 = v0 if v0 < v2 or v0 != v0 else v2
        p1[c1] = v1
        p2[c1] = v2
