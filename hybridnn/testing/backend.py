"""Running one test on several back ends."""
import contextlib
import functools
import inspect

from hybridnn.backend import CpuDevice, GpuDevice, using_device
from hybridnn.config import using_config
from hybridnn.errors import BackendError
from hybridnn.testing import attr
from hybridnn.testing.bundle import make_decorator

__all__ = ["BackendConfig", "inject_backend_tests"]

_DEFAULTS = dict(use_chainerx=False, chainerx_device=None, use_cuda=False, cuda_device=None, use_cudnn="never",
                cudnn_deterministic=False, autotune=False, cudnn_fast_batch_normalization=False, use_ideep="never")


class BackendConfig:
    """A device and its settings; ``with config:`` makes them current.

    Args:
        params: a dict with keys of Chainer's: ``use_cuda``, ``cuda_device``, ``use_cudnn``, ... ChainerX and iDeep can be named;
            tests that name them are skipped with that reason.
    """

    def __init__(self, params):
        if not isinstance(params, dict):
            raise TypeError(f"params is a dict, not {type(params).__name__}")
        unknown = sorted(set(params) - set(_DEFAULTS))
        if unknown:
            raise ValueError(f"unknown backend parameter {', '.join(unknown)}; known: {', '.join(_DEFAULTS)}")
        self.__dict__.update({**_DEFAULTS, **params})
        if self.use_cuda and self.cuda_device is None:
            self.cuda_device = 0
        self._blocks = []

    @functools.cached_property
    def device(self):
        """The device."""
        if self.use_chainerx or self.use_ideep != "never":
            raise BackendError("ChainerX and iDeep are not part of hybridnn")
        return GpuDevice.from_device_id(self.cuda_device) if self.use_cuda else CpuDevice()

    @property
    def xp(self):
        return self.device.xp

    def __enter__(self):
        block = contextlib.ExitStack()
        for key in ("use_cudnn", "cudnn_deterministic", "autotune", "cudnn_fast_batch_normalization"):
            block.enter_context(using_config(key, getattr(self, key)))
        block.enter_context(using_device(self.device))
        self._blocks.append(block)
        return self

    def __exit__(self, *exc):
        self._blocks.pop().__exit__(*exc)

    def __repr__(self):
        return f"<BackendConfig {' '.join(f'{k}={getattr(self, k)!r}' for k in _DEFAULTS)}>"

    def get_func_str(self):
        """A part of a class name, as Chainer has it."""
        values = {k: getattr(self, k) for k in _DEFAULTS}
        return "__".join(f"{k}_{str(v).lower() if isinstance(v, bool) else v}" for k, v in values.items())

    def get_pytest_marks(self):
        """Decorators that skip a test where this back end is missing."""
        if self.use_chainerx:
            return [attr.chainerx]
        if self.use_cuda:
            return [attr.multi_gpu(self.cuda_device + 1)]
        return [] if self.use_ideep == "never" else [attr.ideep]

    def get_array(self, np_array):
        """A NumPy array (or a sequence of them) on this device."""
        return self.device.send(np_array)


def inject_backend_tests(method_names, params):
    """Class decorator: test methods run once per dict of ``params`` and get a BackendConfig as their first argument.

    Args:
        method_names: list of names, or None for all.
        params: list of dicts for ``BackendConfig``.
    """
    if not (method_names is None or isinstance(method_names, list)):
        raise TypeError(f"method_names is a list or None, not {type(method_names).__name__}")
    if not (isinstance(params, list) and all(isinstance(p, dict) for p in params)):
        raise TypeError("params is a list of dicts")
    return make_decorator(lambda base: _cases(base, method_names, params))


def _cases(base, names, params):
    if names is not None:
        yield base.__name__, {}, lambda method: None if method.__name__ in names else method
    for param in params:
        config = BackendConfig(param)
        yield f"{base.__name__}_{config.get_func_str()}", {}, functools.partial(_with_config, config, names)


def _with_config(config, names, method):
    if names is not None and method.__name__ not in names:
        return None

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        return method(self, config, *args, **kwargs)
    # The runner looks at the signature for fixtures: the config is not one of them.
    signature = inspect.signature(method)
    names_left = [p for i, p in enumerate(signature.parameters.values()) if i != 1 or p.kind is p.VAR_POSITIONAL]
    run.__signature__ = signature.replace(parameters=names_left)
    for mark in config.get_pytest_marks():
        run = mark(run)
    return run
