"""Map: cast, maximum, multiply."""
from numba import float32

from hybridnn.jit.vecmath import maximum_f32, parallel_long_loops, ptr_f32, ptr_f64


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f64(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    v3 = p1[0]
    v4 = float32(v3)
    for i in range(lo, hi):
        v0 = p0[i]
        v2 = maximum_f32(v0, float32(0.0))
        v5 = v2 * v4
        p2[i] = v5
    parallel_long_loops()
