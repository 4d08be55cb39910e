"""Map: add, cast, multiply, subtract."""
from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, p5, p6, n0):
    v3 = p3[0]
    v4 = p4[0]
    v5 = float32(v4)
    v7 = float32(v3)
    for i in range(cuda.grid(1), n0, cuda.gridsize(1)):
        v0 = p0[i]
        v1 = p1[i]
        v2 = p2[i]
        v6 = v5 * v2
        v8 = v7 * v1
        v9 = v6 - v8
        v10 = v0 + v9
        p5[i] = v10
        p6[i] = v9
