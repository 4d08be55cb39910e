"""Row: sum."""
from numba import cuda, float32


def kernel(p0, p1, n0):
    for o in range(cuda.grid(1), 1, cuda.gridsize(1)):
        v1 = float32(0.0)
        k1 = float32(0.0)
        for b in range(0, n0, 256):
            t1 = float32(0.0)
            e = b + 256 if b + 256 < n0 else n0
            for j in range(b, e):
                v0 = p0[j]
                t1 = t1 + v0
            y = t1 - k1
            u = v1 + y
            k1 = (u - v1) - y
            k1 = k1 if k1 == k1 else float32(0.0)
            v1 = u
        p1[0] = v1
