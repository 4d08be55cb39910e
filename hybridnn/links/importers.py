"""Links that run models of other libraries: Chainer's names, for code that imports them. None is taken over."""
from hybridnn.errors import BackendError, absent

__all__ = ["CaffeFunction", "TheanoFunction"]

CaffeFunction = absent("CaffeFunction", "load the model in Chainer, write it with save_npz, and read that into links of yours")


class TheanoFunction:
    """Not taken over from Chainer: making one raises ``BackendError``."""

    def __init__(self, inputs, outputs):
        raise BackendError("TheanoFunction is not part of hybridnn\n  hint: call the compiled function in a FunctionNode of yours")
