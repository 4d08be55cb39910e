"""Row: cast, max."""
from numba import int32

from hybridnn.jit.vecmath import parallel_long_loops, ptr_f32, ptr_i32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_i32(bufs, args, 2)
    n1 = args[5]
    s0_0 = args[6]
    s1_0 = args[7]
    for o in range(lo, hi):
        c0 = o
        o0 = c0 * s0_0
        o1 = c0 * s1_0
        v2 = int32(-2147483648)
        for j in range(n1):
            v0 = p0[o0 + j]
            v1 = int32(v0)
            v2 = v1 if v1 > v2 else v2
        p1[o1] = v2
    parallel_long_loops()
