"""Row: cast, max."""
from numba import cuda, int32


def kernel(p0, p1, n0, n1, s0_0, s1_0):
    for o in range(cuda.grid(1), n0, cuda.gridsize(1)):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v2 = int32(-2147483648)
        for j in range(n1):
            v0 = p0[o0 + j]
            v1 = int32(v0)
            v2 = v1 if v1 > v2 else v2
        p1[o1] = v2
