"""``hybridnn.config``'s classes, where Chainer has them."""
from hybridnn.config import GlobalConfig, LocalConfig, config, global_config, using_config

__all__ = ["GlobalConfig", "LocalConfig", "config", "global_config", "using_config"]
