"""Folded: multiply, sum."""
from numba import float32

from hybridnn.jit.vecmath import local_f32, parallel_long_loops, ptr_f32, where_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    n1 = args[9]
    n2 = args[10]
    s0_0 = args[11]
    s1_0 = args[12]
    s2_0 = args[13]
    s3_0 = args[14]
    p3_ = local_f32(256)
    l3_ = local_f32(256)
    t3_ = local_f32(256)
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        o2 = c0 * s2_0
        o3 = c0 * s3_0
        d = 16 * n2 if n1 > 16 else n1 * n2
        for j in range(d):
            t3_[j] = float32(0.0)
            l3_[j] = float32(0.0)
        for b in range(0, n1, 512):
            for j in range(d):
                p3_[j] = float32(0.0)
            e = b + 512 if b + 512 < n1 else n1
            for r in range(b, e, 16):
                q = 16 if e - r > 16 else e - r
                m = q * n2
                z = r * n2
                for i in range(m):
                    v0 = p0[o0 + z + i]
                    v1 = p1[o1 + z + i]
                    v2 = v0 * v1
                    p3_[i] = p3_[i] + v2
                    p2[o2 + z + i] = v2
            for j in range(d):
                y3 = p3_[j] - l3_[j]
                t3 = t3_[j]
                u3 = t3 + y3
                l3 = (u3 - t3) - y3
                l3_[j] = where_f32(l3 == l3, l3, float32(0.0))
                t3_[j] = u3
        m = d // n2
        for j in range(n2):
            v3 = float32(0.0)
            for r in range(m):
                v3 = v3 + t3_[r * n2 + j]
            p3[o3 + j] = v3
    parallel_long_loops()
