"""Categories of warnings, where Chainer has them; the library's own are in ``hybridnn.errors``."""

__all__ = ["PerformanceWarning"]


class PerformanceWarning(RuntimeWarning):
    """Something is slower than it could be. hybridnn raises it nowhere: code that filters it finds it here."""
