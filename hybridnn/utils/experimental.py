"""A warning that an interface may change."""
import sys

from hybridnn.config import warn

__all__ = ["experimental"]


def experimental(api_name):
    """Warn (``FutureWarning``) that an interface may change, unless ``hybridnn.disable_experimental_feature_warning`` is set."""
    if not getattr(sys.modules.get("hybridnn"), "disable_experimental_feature_warning", False):
        warn(f"{api_name} is experimental. Its interface may change.", FutureWarning, stacklevel=3)
