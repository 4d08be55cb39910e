"""Map: add, cast, multiply, subtract."""
from numba import float32, float64, int32

from hybridnn.jit.vecmath import least_i32, parallel_long_loops, ptr_f32, ptr_f64, smallness_f32


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f64(bufs, args, 6)
    p4 = ptr_f64(bufs, args, 8)
    p5 = ptr_f32(bufs, args, 10)
    p6 = ptr_f32(bufs, args, 12)
    v3 = p3[0]
    v4 = p4[0]
    v5 = float32(v4)
    v7 = float32(v3)
    d5 = float64(v5)
    d7 = float64(v7)
    for b in range(lo, hi, 256):
        e = b + 256 if b + 256 < hi else hi
        k2 = int32(2147483647)
        for j in range(b, e):
            k2 = least_i32(k2, smallness_f32(p2[j]))
        m = e if k2 < int32(-2086001628) else b
        for i in range(b, m):
            d0 = float64(p0[i])
            d1 = float64(p1[i])
            d2 = float64(p2[i])
            d6 = d5 * d2
            d8 = d7 * d1
            d9 = d6 - d8
            d10 = d0 + d9
            p5[i] = float32(d10)
            p6[i] = float32(d9)
        for i in range(m, e):
            v0 = p0[i]
            v1 = p1[i]
            v2 = p2[i]
            v6 = v5 * v2
            v8 = v7 * v1
            v9 = v6 - v8
            v10 = v0 + v9
            p5[i] = v10
            p6[i] = v9
    parallel_long_loops()
