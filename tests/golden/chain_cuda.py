"""Map: absolute, add, divide, exp, less, multiply, negative, tanh, where."""
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
        v10 = v0 < float32(0.0)
        v12 = (v8 if v10 else float32(1.0))
        v13 = float32(1.0) + v8
        v14 = v12 / v13
        v15 = v5 * v14
        p2[o2 + c1] = v15
