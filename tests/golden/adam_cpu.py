"""Map: add, cast, divide, multiply, sqrt, subtract."""
from numba import float32, float64, int32

from hybridnn.jit.vecmath import least_i32, parallel_long_loops, ptr_f32, ptr_f64, smallness_f32, sqrt_f32, sqrt_f64


def kernel(bufs, args, lo, hi):
    p0 = ptr_f32(bufs, args, 0)
    p1 = ptr_f32(bufs, args, 2)
    p2 = ptr_f32(bufs, args, 4)
    p3 = ptr_f32(bufs, args, 6)
    p4 = ptr_f64(bufs, args, 8)
    p5 = ptr_f64(bufs, args, 10)
    p6 = ptr_f64(bufs, args, 12)
    p7 = ptr_f64(bufs, args, 14)
    p8 = ptr_f64(bufs, args, 16)
    p9 = ptr_f64(bufs, args, 18)
    p10 = ptr_f32(bufs, args, 20)
    p11 = ptr_f32(bufs, args, 22)
    p12 = ptr_f32(bufs, args, 24)
    v4 = p4[0]
    v5 = p5[0]
    v6 = p6[0]
    v7 = p7[0]
    v8 = p8[0]
    v9 = p9[0]
    v11 = float32(v5)
    v16 = float32(v6)
    v19 = float32(v9)
    v22 = float32(v7)
    v24 = float32(v4)
    v27 = float32(v8)
    d11 = float64(v11)
    d16 = float64(v16)
    d19 = float64(v19)
    d22 = float64(v22)
    d24 = float64(v24)
    d27 = float64(v27)
    for b in range(lo, hi, 256):
        e = b + 256 if b + 256 < hi else hi
        k2 = int32(2147483647)
        for j in range(b, e):
            k2 = least_i32(k2, smallness_f32(p2[j]))
        m = e if k2 < int32(-1556580439) else b
        k1 = int32(2147483647)
        k3 = int32(2147483647)
        for j in range(b, m):
            k1 = least_i32(k1, smallness_f32(p1[j]))
            k3 = least_i32(k3, smallness_f32(p3[j]))
        d = m if k1 < int32(-1556580439) or k3 < int32(-2002376885) else b
        for i in range(b, d):
            d0 = float64(p0[i])
            d1 = float64(p1[i])
            d2 = float64(p2[i])
            d3 = float64(p3[i])
            d10 = d1 - d2
            d12 = d11 * d10
            d13 = d2 + d12
            d14 = d1 * d1
            d15 = d14 - d3
            d17 = d16 * d15
            d18 = d3 + d17
            d20 = d19 * d0
            d21 = sqrt_f64(d18)
            d23 = d21 + d22
            d25 = d24 / d23
            d26 = d25 * d13
            d28 = d27 * d26
            d29 = d20 - d28
            p10[i] = float32(d29)
            p11[i] = float32(d13)
            p12[i] = float32(d18)
        for i in range(d, m):
            v0 = p0[i]
            v1 = p1[i]
            d2 = float64(p2[i])
            v3 = p3[i]
            d10 = float64(v1) - d2
            d12 = d11 * d10
            d13 = d2 + d12
            v14 = v1 * v1
            v15 = v14 - v3
            v17 = v16 * v15
            v18 = v3 + v17
            v20 = v19 * v0
            v21 = sqrt_f32(v18)
            v23 = v21 + v22
            v25 = v24 / v23
            d26 = float64(v25) * d13
            d28 = d27 * d26
            d29 = float64(v20) - d28
            p10[i] = float32(d29)
            p11[i] = float32(d13)
            p12[i] = v18
        for i in range(m, e):
            v0 = p0[i]
            v1 = p1[i]
            v2 = p2[i]
            v3 = p3[i]
            v10 = v1 - v2
            v12 = v11 * v10
            v13 = v2 + v12
            v14 = v1 * v1
            v15 = v14 - v3
            v17 = v16 * v15
            v18 = v3 + v17
            v20 = v19 * v0
            v21 = sqrt_f32(v18)
            v23 = v21 + v22
            v25 = v24 / v23
            v26 = v25 * v13
            v28 = v27 * v26
            v29 = v20 - v28
            p10[i] = v29
            p11[i] = v13
            p12[i] = v18
    parallel_long_loops()
