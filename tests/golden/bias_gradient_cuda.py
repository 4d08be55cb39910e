"""Column: multiply, subtract, sum."""
from numba import cuda, float32


def kernel(p0, p1, p2, p3, n0, n1, s0_0, s1_0, s2_0):
    for o in range(cuda.grid(1), n1, cuda.gridsize(1)):
        c1 = o
        v6 = float32(0.0)
        k6 = float32(0)
        for b in range(0, n0, 32):
            t6 = float32(0)
            e = b + 32 if b + 32 < n0 else n0
            for r in range(b, e):
                c0 = r
                q0 = c0 * s0_0
                q1 = c0 * s1_0
                q2 = c0 * s2_0
                v0 = p0[q0 + c1]
                v1 = v0 * v0
                v3 = float32(1.0) - v1
                v4 = p1[q1 + c1]
                v5 = v4 * v3
                t6 = t6 + v5
                p2[q2 + c1] = v5
            y = t6 - k6
            u = v6 + y
            k6 = (u - v6) - y
            k6 = k6 if k6 == k6 else float32(0.0)
            v6 = u
        p3[c1] = v6
