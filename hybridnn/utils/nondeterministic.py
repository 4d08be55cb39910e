"""A warning that results may differ."""
import warnings

from hybridnn.config import config

__all__ = ["nondeterministic"]


def nondeterministic(f_name):
    """Warn, if ``config.warn_nondeterministic`` is set, that results may differ from run to run."""
    if config.warn_nondeterministic:
        warnings.warn(f"{f_name} may give other results in every run (config.warn_nondeterministic is set)", stacklevel=3)
