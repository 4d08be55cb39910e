"""iDeep, as code that asks for it sees a machine without it: ``is_ideep_available()`` is False."""
from hybridnn.backend import Intel64Device
from hybridnn.errors import not_taken_over

__all__ = ["Intel64Device", "check_ideep_available", "inputs_all_ready", "is_ideep_available", "mdarray", "should_use_ideep"]


class mdarray:
    """Stands for iDeep's array class; nothing is an instance of it."""


def is_ideep_available():
    """False: iDeep is not taken over."""
    return False


def check_ideep_available():
    """Raises ``BackendError``."""
    raise not_taken_over("iDeep", "the CPU's own kernels need no setting; leave config.use_ideep at 'never'")


def should_use_ideep(level):
    """False, for the levels ``"==always"`` and ``">=auto"``."""
    if level not in ("==always", ">=auto"):
        raise ValueError(f"level is '==always' or '>=auto', not {level!r}")
    return False


def inputs_all_ready(inputs, supported_ndim=(2, 4)):
    """False: no array belongs to iDeep."""
    return False
