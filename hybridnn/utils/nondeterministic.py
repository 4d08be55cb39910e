"""A warning that results may differ."""

from hybridnn.config import config, warn

__all__ = ["nondeterministic"]


def nondeterministic(f_name):
    """Warn, if ``config.warn_nondeterministic`` is set, that results may differ from run to run."""
    if config.warn_nondeterministic:
        warn(f"{f_name} may give other results in every run (config.warn_nondeterministic is set)", stacklevel=3)
