"""Map: absolute, add, divide, exp, maximum, multiply, negative, sign, tanh."""
import math

from numba import cuda, float32


def kernel(p0, p1, p2, n0, n1, s0_0, s2_0):
    for i in range(cuda.grid(1), n0 * n1, cuda.gridsize(1)):
        c1 = i % n1
        r1 = i // n1
        c0 = r1
        o0 = c0 * s0_0
        o2 = c0 * s2_0
        v0 = p0[o0 + c1]
        v2 = float32(1.5) * v0
        v3 = p1[c1]
        v4 = v2 + v3
        v5 = math.tanh(v4)
        v6 = abs(v0)
        v7 = -v6
        v8 = math.exp(v7)
        v9 = (float32(v0 > float32(0)) - float32(v0 < float32(0)) if v0 == v0 else v0)
        v10 = (v8 if v8 > v9 or v8 != v8 else v9)
        v12 = float32(1.0) + v8
        v13 = v10 / v12
        v14 = v5 * v13
        p2[o2 + c1] = v14
