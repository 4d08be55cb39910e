"""Map: cast, maximum, multiply."""
from numba import cuda, float32


def kernel(p0, p1, p2, n0):
    v3 = p1[0]
    v4 = float32(v3)
    for i in range(cuda.grid(1), n0, cuda.gridsize(1)):
        v0 = p0[i]
        v2 = (v0 if v0 > float32(0.0) or v0 != v0 else float32(0.0))
        v5 = v2 * v4
        p2[i] = v5
