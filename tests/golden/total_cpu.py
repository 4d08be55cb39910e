"""Row: sum."""
from numba import float32

from hybridnn.jit.reducers import sum_f32
from hybridnn.jit.vecmath import parallel_long_loops, ptr_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    n0 = args[4]
    for o in range(lo, hi):
        v1 = float32(0.0)
        k1 = float32(0.0)
        for b in range(0, n0, 256):
            t1 = float32(0.0)
            e = b + 256 if b + 256 < n0 else n0
            for j in range(b, e):
                v0 = p0[j]
                t1 = sum_f32(t1, v0)
            y = t1 - k1
            u = v1 + y
            k1 = (u - v1) - y
            k1 = k1 if k1 == k1 else float32(0.0)
            v1 = u
        p1[0] = v1
    parallel_long_loops()
