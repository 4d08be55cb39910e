"""Warnings and temporary folders."""
import contextlib
import shutil
import sys
import tempfile
import warnings

from hybridnn.config import config

__all__ = ["experimental", "nondeterministic", "tempdir"]


def experimental(api_name):
    """Warn (``FutureWarning``) that an interface may change, unless ``hybridnn.disable_experimental_feature_warning`` is set."""
    if not getattr(sys.modules.get("hybridnn"), "disable_experimental_feature_warning", False):
        warnings.warn(f"{api_name} is experimental. Its interface may change.", FutureWarning, stacklevel=3)


def nondeterministic(f_name):
    """Warn, if ``config.warn_nondeterministic`` is set, that results may differ from run to run."""
    if config.warn_nondeterministic:
        warnings.warn(f"{f_name} may give other results in every run (config.warn_nondeterministic is set)", stacklevel=3)


@contextlib.contextmanager
def tempdir(**kwargs):
    """A temporary folder for a block. Keywords as ``tempfile.mkdtemp``, and ``ignore_errors`` for its removal."""
    ignore_errors = kwargs.pop("ignore_errors", False)
    path = tempfile.mkdtemp(**kwargs)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=ignore_errors)
