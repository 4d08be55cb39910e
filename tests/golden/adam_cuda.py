"""Map: add, cast, divide, multiply, sqrt, subtract."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, n0):
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
    for i in range(cuda.grid(1), n0, cuda.gridsize(1)):
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
        v21 = math.sqrt(v18)
        v23 = v21 + v22
        v25 = v24 / v23
        v26 = v25 * v13
        v28 = v27 * v26
        v29 = v20 - v28
        p10[i] = v29
        p11[i] = v13
        p12[i] = v18
