"""Map: cast, equal, multiply."""
from numba import cuda, float32, int32


def kernel(p0, p1, n0, n1, s0_0, s1_0):
    for i in range(cuda.grid(1), n0 * n1, cuda.gridsize(1)):
        c1 = i % n1
        r1 = i // n1
        c0 = r1
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v0 = p0[o0]
        v1 = int32(c1)
        v2 = v0 == v1
        v3 = float32(v2)
        v5 = v3 * float32(2.0)
        p1[o1 + c1] = v5
