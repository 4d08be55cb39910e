"""Column: max, min."""
from math import inf

from numba import float32

from hybridnn.jit.vecmath import maximum_f32, minimum_f32, parallel_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f32(bufs, args, 8)
    n0 = args[10]
    s0_0 = args[12]
    for j in range(lo, hi):
        p3[j] = float32(-inf)
        p4[j] = float32(inf)
    for b in range(0, n0, 32):
        e = b + 32 if b + 32 < n0 else n0
        for r in range(b, e):
            c0 = r
            q0 = c0 * s0_0
            for j in range(lo, hi):
                v0 = p0[q0 + j]
                p3[j] = maximum_f32(v0, p3[j])
                p4[j] = minimum_f32(v0, p4[j])
    for j in range(lo, hi):
        v1 = p3[j]
        v2 = p4[j]
        p1[j] = v1
        p2[j] = v2
    parallel_loops()
