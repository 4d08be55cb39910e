"""Hyperparameters with values, and setting those that were given."""
import numpy as np

from hybridnn.optimizer import Hyperparameter


def defaults(**values):
    """A Hyperparameter with these values."""
    return set_given(Hyperparameter(), **values)


def check_eps(name, eps, dtype):
    """Raise if ``eps`` is zero in the dtype of the computation (float32 for float16 parameters)."""
    if 0 != eps < 1e-30 and (dtype != np.float64 and np.float32(eps) == 0):
        raise ValueError(f"{name}'s eps = {eps} is zero in the precision of {dtype} parameters\n  hint: a larger eps, or float64")


def set_given(hyperparam, **values):
    """Set the values that are not None; returns the Hyperparameter."""
    for name, value in values.items():
        if value is not None:
            setattr(hyperparam, name, value)
    return hyperparam
