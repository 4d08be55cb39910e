"""Map: exp, greater, log1p, multiply, where."""
import math

from numba import cuda, float64


def kernel(p0, p1, n0):
    for i in range(cuda.grid(1), n0, cuda.gridsize(1)):
        v0 = p0[i]
        v2 = v0 > float64(0.0)
        v3 = math.exp(v0)
        v5 = v0 * float64(0.5)
        v6 = math.log1p(v5)
        v7 = (v3 if v2 else v6)
        p1[i] = v7
