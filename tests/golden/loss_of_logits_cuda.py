"""Map: absolute, add, exp, log1p, maximum, multiply, negative, subtract."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, n0):
    for i in range(cuda.grid(1), n0, cuda.gridsize(1)):
        v0 = p0[i]
        v1 = p1[i]
        v3 = (v0 if v0 > float32(0.0) or v0 != v0 else float32(0.0))
        v4 = v0 * v1
        v5 = v3 - v4
        v6 = abs(v0)
        v7 = -v6
        v8 = math.exp(v7)
        v9 = math.log1p(v8)
        v10 = v5 + v9
        p2[i] = v10
