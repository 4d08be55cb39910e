"""Map: cast, equal, multiply."""
from numba import float32, int32

from hybridnn.jit.vecmath import parallel_loops, ptr_f32, ptr_i32


def kernel(bufs, args, lo, hi):
    p0 = ptr_i32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    n1 = args[5]
    s0_0 = args[6]
    s1_0 = args[7]
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v0 = p0[o0]
        for i in range(n1):
            v1 = int32(i)
            v2 = v0 == v1
            v3 = float32(v2)
            v5 = v3 * float32(2.0)
            p1[o1 + i] = v5
    parallel_loops()
