"""Debug mode: every operation, forward and backward, raises ``RuntimeError`` where it makes a NaN."""
from hybridnn.config import config, using_config, warn

__all__ = ["DebugMode", "is_debug", "set_debug"]


def is_debug():
    """Whether the current thread is in debug mode."""
    return bool(config.debug)


def set_debug(debug):
    """Switch debug mode on or off for the current thread."""
    config.debug = debug


class DebugMode:
    """A block in debug mode (or out of it, with False); deprecated in Chainer for ``using_config("debug", True)``."""

    def __init__(self, debug):
        warn('DebugMode is deprecated; use using_config("debug", True)', DeprecationWarning, stacklevel=2)
        self._block = using_config("debug", debug)

    def __enter__(self):
        self._block.__enter__()

    def __exit__(self, *exc):
        self._block.__exit__(*exc)
