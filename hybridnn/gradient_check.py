"""Gradients against finite differences, in first and second order. Names and defaults are Chainer v7's.

``check_backward`` compares directional derivatives: one random unit direction over all inputs and parameters, so that a check
costs a few forward passes whatever the size of the inputs. ``numerical_grad`` differentiates element by element.
"""
import warnings
from dataclasses import dataclass

import numpy as np

from hybridnn.backend import get_array_module, is_array, there
from hybridnn.config import using_config
from hybridnn.core import OPS, Parameter, Variable, apply, as_array, backward

__all__ = ["NondifferentiableError", "assert_allclose", "check_backward", "check_double_backward", "numerical_grad"]


class NondifferentiableError(Exception):
    """The numerical gradient was asked for at a point where the function has none."""


# -------------------------------------------------------------------------------------------------------- numerical gradient

def numerical_grad(f, inputs, grad_outputs, eps=1e-3, detect_nondifferentiable=False, diff_atol=0, diff_rtol=1e-2,
                   center_outputs=None):
    """Gradients of ``f`` with respect to arrays, by central differences in float64.

    Args:
        f: takes nothing, returns a tuple of arrays (or None) computed from ``inputs``, which are changed in place and restored.
        inputs: float arrays.
        grad_outputs: gradients of the outputs: arrays, numbers or None.
        eps: step.
        detect_nondifferentiable: raise ``NondifferentiableError`` where a parabola through five points does not fit within
            ``diff_atol + diff_rtol * (max - min)``, or where some values are finite and others are not.
        center_outputs: accepted for Chainer's signature; the outputs are computed anew.

    Returns:
        One gradient per input, in its dtype.
    """
    if not eps > 0:
        raise AssertionError(f"eps is positive, not {eps}")
    for x in inputs:
        if x.dtype.kind != "f":
            raise RuntimeError(f"a numerical gradient needs floating-point inputs, not {x.dtype}")
    with there(*inputs):
        gys = [None if g is None else np.float64(g) if np.isscalar(g) else g.astype(np.float64) for g in grad_outputs]
    steps = (-1.0, -0.5, 0.0, 0.5, 1.0) if detect_nondifferentiable else (-1.0, 1.0)
    with using_config("type_check", False), there(*inputs):
        return [_grad_of_one(f, i, x, gys, eps, steps, (diff_atol, diff_rtol)) for i, x in enumerate(inputs)]


def _grad_of_one(f, number, x, gys, eps, steps, tolerances):
    gx, original = np.zeros(x.shape), x.copy()
    for index in np.ndindex(x.shape):
        values = []
        for step in steps:
            x[index] = original[index] + step * eps
            values.append(_float64(f()))
            x[index] = original[index]
        if len(steps) == 5:
            _check_smooth(values, f"input {number}{list(index)} = {original[index]}, eps = {eps}", tolerances)
        gx[index] = sum(_difference([ys[i] for ys in values], gy, eps) for i, gy in enumerate(gys))
    return get_array_module(x).asarray(gx).astype(x.dtype)


def _float64(ys):
    return [None if y is None else get_array_module(y).array(y, dtype=np.float64) for y in ys]


def _difference(points, gy, eps):
    """The directional derivative from two or five points (central differences of second or fourth order)."""
    if gy is None or points[0] is None:
        return 0.0
    if len(points) == 2:
        change = (points[1] - points[0]) / (2 * eps)
    else:
        change = (8 * (points[3] - points[1]) - (points[4] - points[0])) / (6 * eps)
    return float((change * gy).sum())


def _check_smooth(values, where, tolerances):
    for i, points in enumerate(zip(*values, strict=True)):
        if points[0] is None or points[0].size == 0:
            continue
        table = np.stack([np.asarray(p if isinstance(p, np.ndarray) else p.get()).reshape(-1) for p in points])
        finite = np.isfinite(table)
        if (finite != finite[0]).any():
            raise NondifferentiableError(f"output {i} is finite on one side only: {where}\n{table}")
        if finite.all():
            _check_parabola(table, f"output {i}: {where}", tolerances)


def _check_parabola(table, where, tolerances):
    design = np.vander(np.arange(5.0), 3)
    fitted = design @ np.linalg.lstsq(design, table, rcond=None)[0]
    error = np.sqrt(((table - fitted) ** 2).mean(axis=0))
    spread = np.ptp(table, axis=0)
    bad = (error > tolerances[0] + tolerances[1] * spread) & (spread != 0)
    if bad.any():
        allowed = f"{tolerances[0]} + {tolerances[1]} * {spread[bad]}"
        raise NondifferentiableError(f"not differentiable here, {where}\n  values at five points:\n{table[:, bad]}\n"
                                     f"  error of a parabola: {error[bad]}, allowed: {allowed}")


# ------------------------------------------------------------------------------------------------------------ first order

@dataclass(frozen=True)
class _Check:
    """What is compared, and how."""
    func: object
    xs: tuple
    params: tuple
    no_grads: tuple
    eps: float
    atol: float
    rtol: float
    dtype: object
    detect_nondifferentiable: bool
    functional: bool          # params are arrays, given to func as a second argument


def _as_tuple(xs):
    return tuple(xs) if isinstance(xs, (tuple, list)) else (xs,)


def check_backward(func, x_data, y_grad, params=(), eps=0.001, atol=1e-5, rtol=1e-4, no_grads=None, dtype=None,
                   detect_nondifferentiable=False):
    """Compare the gradients that ``backward`` computes with finite differences, along one random direction.

    Args:
        func: takes Variables, returns a Variable or a tuple of them.
        x_data: input array, or several.
        y_grad: gradients of the outputs; None for a scalar loss.
        params: Parameters that ``func`` uses and that are checked too.
        eps, atol, rtol: step and tolerances.
        no_grads: for each input, whether to leave it out (default: those that are not floating point).
        dtype: dtype of the numerical side; float64 tells rounding apart from errors.
        detect_nondifferentiable: raise ``NondifferentiableError`` where the function has a kink.
    """
    _run(func, x_data, y_grad, params, eps, atol, rtol, no_grads, dtype, detect_nondifferentiable, False)


def _check_backward_with_params(func, x_data, y_grad, params=(), eps=0.001, atol=1e-5, rtol=1e-4, no_grads=None, dtype=None,
                                detect_nondifferentiable=False):
    """Like ``check_backward`` for ``func(xs, params)`` with parameters as arrays, which are given as Parameters."""
    _run(func, x_data, y_grad, params, eps, atol, rtol, no_grads, dtype, detect_nondifferentiable, True)


def _run(func, x_data, y_grad, params, eps, atol, rtol, no_grads, dtype, detect, functional):
    xs, params = _as_tuple(x_data), _as_tuple(params)
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise ValueError(f"dtype is a floating-point type, not {np.dtype(dtype)}")
    if functional and not all(is_array(p) for p in params):
        raise ValueError(f"params are arrays here, not {', '.join(type(p).__name__ for p in params)}")
    if no_grads is None:
        no_grads = [x is not None and x.dtype.kind != "f" for x in xs]
    if len(no_grads) != len(xs):
        raise ValueError(f"no_grads has one entry per input: {len(xs)}, not {len(no_grads)}")
    check = _Check(func, xs, params, tuple(no_grads), eps, atol, rtol, dtype, detect, functional)
    with there(*xs, *params):
        _compare(check, None if y_grad is None else _as_tuple(y_grad))


def _compare(check, gys):
    variables, ys, params = _forward(check)
    gys = _output_gradients(ys, gys)
    directions = _directions([x for x, skip in zip(check.xs, check.no_grads) if not skip] + [p.array for p in params])
    analytic = _backward_derivative(check, variables, ys, params, gys, directions)
    numeric = _numeric_derivative(check, gys, directions)
    try:
        np.testing.assert_allclose(numeric, analytic, atol=check.atol, rtol=check.rtol)
    except AssertionError as error:
        raise AssertionError(_report(check, gys, directions, numeric, analytic, error)) from None


def _report(check, gys, directions, numeric, analytic, error):
    parts = [f"check_backward failed (eps={check.eps} atol={check.atol} rtol={check.rtol})"]
    for title, arrays in (("inputs", check.xs), ("grad_outputs", gys), ("directions", directions)):
        parts += [f"{title}[{i}]:\n{a}" for i, a in enumerate(arrays)]
    return "\n".join([*parts, f"gradients (numeric):  {numeric}", f"gradients (backward): {analytic}", str(error)])


def _forward(check):
    variables = [None if x is None else Variable(x, requires_grad=x.dtype.kind == "f") for x in check.xs]
    params = tuple([Parameter(p) for p in check.params]) if check.functional else check.params
    for p in params:
        p.cleargrad()
    ys = _as_tuple(check.func(variables, params) if check.functional else check.func(*variables))
    for v in (*variables, *params):
        if v is not None:
            v.cleargrad()
    return variables, ys, params


def _output_gradients(ys, gys):
    if gys is None:
        if len(ys) != 1 or ys[0].shape != ():
            shapes = ", ".join(str(y.shape) for y in ys)
            raise ValueError(f"y_grad can be left out for one output of shape () only; the outputs here are {shapes}")
        return (get_array_module(ys[0]).ones((), ys[0].dtype),)
    _check_fit(ys, gys)
    return tuple([None if y is None else g for y, g in zip(ys, gys)])


def _check_fit(ys, gys):
    """Gradients are as many as outputs and have their shapes and dtypes."""
    if len(ys) != len(gys) or not all(_fits(y, g) for y, g in zip(ys, gys)):
        raise ValueError("output gradients do not fit the outputs\n"
                         f"  outputs:          {_props(ys)}\n  output gradients: {_props(gys)}")


def _fits(y, g):
    if g is None:
        return True
    return not as_array(g).any() if y is None else (y.shape, y.dtype) == (g.shape, g.dtype)


def _props(arrays):
    return ", ".join("None" if a is None else f"{a.shape}:{a.dtype}" for a in arrays)


def _directions(arrays):
    """A unit vector over all arrays together, no element of which is nearly zero: an error in any element shows."""
    size = sum(a.size for a in arrays if a is not None)
    v = np.random.normal(size=(size,))
    if size:
        v = np.copysign(np.sqrt(0.99 * v ** 2 / (v ** 2).sum() + 0.01 / size), v)
    parts, at = [], 0
    for a in arrays:
        parts.append(None if a is None else get_array_module(a).asarray(v[at:at + a.size].reshape(a.shape)))
        at += 0 if a is None else a.size
    return parts


def _backward_derivative(check, variables, ys, params, gys, directions):
    _backward_from(ys, [None if g is None else Variable(g.copy(), requires_grad=False) for g in gys])
    for x, skip in zip(variables, check.no_grads):
        if skip and x is not None and x.grad is not None:
            raise RuntimeError(f"backward stored a gradient in an input of dtype {x.dtype} that no_grads says has none")
    grads = [None if x is None else x.grad for x, skip in zip(variables, check.no_grads) if not skip]
    grads += [p.grad for p in params]
    return sum(float((g.astype(np.float64) * d).sum()) for g, d in zip(grads, directions, strict=True) if g is not None)


def _backward_from(ys, gys, enable_double_backprop=False):
    """Backward from several outputs at once, with their gradients; an output that comes twice gets the sum of both."""
    roots = {}
    for y, g in zip(ys, gys):
        if y is not None and g is not None and y.requires_grad:
            roots[y] = roots[y] + g if y in roots else g
    for y, g in roots.items():
        y.grad_var = g
    if roots:
        backward(list(roots), enable_double_backprop=enable_double_backprop)


def _numeric_derivative(check, gys, directions):
    """The derivative of the outputs along the direction, as a gradient with respect to its length."""
    delta = np.zeros(())
    points = _points(check, directions)
    gx, = numerical_grad(lambda: _evaluate(check, points, delta), (delta,), gys, check.eps, check.detect_nondifferentiable,
                         diff_rtol=check.rtol)
    return gx


def _points(check, directions):
    """For each input and parameter: the array to start from, and its direction (None: it stays)."""
    remaining = iter(directions)
    pairs = [(_cast(x, check.dtype), None if skip else next(remaining)) for x, skip in zip(check.xs, check.no_grads)]
    return pairs + [(_cast(as_array(p), check.dtype), next(remaining)) for p in check.params]


def _cast(x, dtype):
    return x if x is None or dtype is None or x.dtype.kind != "f" else x.astype(dtype, copy=False)


def _evaluate(check, points, delta):
    moved = [x if d is None or x is None else _moved(x, d, delta) for x, d in points]
    n = len(check.xs)
    xs = [None if x is None else Variable(x, requires_grad=d is not None) for x, (_, d) in zip(moved, points[:n])]
    if check.functional:
        ys = check.func(xs, tuple([Parameter(p) for p in moved[n:]]))
    else:
        ys = _with_arrays(check.params, moved[n:], lambda: check.func(*xs))
    return [None if y is None else y.array for y in _as_tuple(ys)]


def _moved(x, direction, delta):
    xp = get_array_module(x)
    return xp.asarray((x.astype(np.float64) + float(delta) * direction).astype(x.dtype))


def _with_arrays(params, arrays, call):
    """Call with other arrays in the parameters, and put their own back."""
    before = [p.array for p in params]
    for p, a in zip(params, arrays):
        p.array = a
        p.cleargrad()
    try:
        return call()
    finally:
        for p, a in zip(params, before):
            p.array = a


# ----------------------------------------------------------------------------------------------------------- second order

def check_double_backward(func, x_data, y_grad, x_grad_grad, params=(), params_grad_grad=(), eps=1e-3, atol=1e-4, rtol=1e-3,
                          no_grads=None, dtype=None, detect_nondifferentiable=False):
    """Check the gradients of gradients: ``check_backward`` of the function from inputs and output gradients to input gradients.

    Args:
        func, x_data, y_grad, params, eps, atol, rtol, dtype, detect_nondifferentiable: as for ``check_backward``.
        x_grad_grad, params_grad_grad: gradients of the input and parameter gradients.
        no_grads: for each input and then each output gradient, whether to leave it out.
    """
    xs, gys = _as_tuple(x_data), _as_tuple(y_grad)
    ggs = _as_tuple(x_grad_grad) + _as_tuple(params_grad_grad)
    params = _as_tuple(params)
    first_order = _first_order(func, len(xs), params)
    try:
        check_backward(first_order, xs + gys, ggs, params, eps, atol, rtol, no_grads, dtype, detect_nondifferentiable)
    except AssertionError as error:
        text = f"check_double_backward failed (eps={eps} atol={atol} rtol={rtol})\n{error}"
        raise AssertionError(text) from None


def _first_order(func, n, params):
    """The function from n inputs and the output gradients to the gradients of the floating-point inputs and of ``params``."""
    def first_order_grad(*inputs):
        xs, gys = inputs[:n], inputs[n:]
        ys = _as_tuple(func(*xs))
        gys = [None if g is None else g if y is None or g.dtype == y.dtype else apply(OPS["cast"], (g,), {"dtype": y.dtype.str})
               for y, g in zip(ys, gys, strict=True)]
        _check_fit(ys, gys)
        _backward_from(ys, gys, enable_double_backprop=True)
        wrong = [i for i, x in enumerate(xs) if x is not None and x.dtype.kind != "f" and x.grad_var is not None]
        if wrong:
            raise RuntimeError(f"backward stored gradients in inputs {wrong}, which are not floating point")
        return tuple([x.grad_var for x in xs if x is not None and x.dtype.kind == "f"] + [p.grad_var for p in params])
    return first_order_grad


def assert_allclose(x, y, atol=1e-5, rtol=1e-4, verbose=True):
    """Deprecated: ``hybridnn.testing.assert_allclose``."""
    warnings.warn("use hybridnn.testing.assert_allclose", DeprecationWarning, stacklevel=2)
    np.testing.assert_allclose(x, y, atol, rtol, verbose=verbose)
