"""Folded: multiply, sum."""
from numba import cuda, float32


def kernel(p0, p1, p2, p3, n0, n1, n2, s0_0, s1_0, s2_0, s3_0):
    for o in range(cuda.grid(1), n0 * n2, cuda.gridsize(1)):
        c2 = o % n2
        r2 = o // n2
        c0 = r2
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        o2 = c0 * s2_0
        o3 = c0 * s3_0
        v3 = float32(0.0)
        k3 = float32(0)
        for b in range(0, n1, 32):
            t3 = float32(0)
            e = b + 32 if b + 32 < n1 else n1
            for r in range(b, e):
                c1 = r
                q0 = o0 + c1 * n2
                q1 = o1 + c1 * n2
                q2 = o2 + c1 * n2
                v0 = p0[q0 + c2]
                v1 = p1[q1 + c2]
                v2 = v0 * v1
                t3 = t3 + v2
                p2[q2 + c2] = v2
            y = t3 - k3
            u = v3 + y
            k3 = (u - v3) - y
            k3 = k3 if k3 == k3 else float32(0.0)
            v3 = u
        p3[o3 + c2] = v3
