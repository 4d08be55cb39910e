"""Links that run models of other libraries: Chainer's names, for code that imports them. None is taken over."""
from hybridnn.errors import absent, not_taken_over

__all__ = ["CaffeFunction", "TheanoFunction"]

CaffeFunction = absent("CaffeFunction", "load the model in Chainer, write it with save_npz, and read that into links of yours")


class TheanoFunction:
    """Not taken over from Chainer: making one raises ``BackendError``."""

    def __init__(self, inputs, outputs):
        raise not_taken_over("TheanoFunction", "call the compiled function in a FunctionNode of yours")
