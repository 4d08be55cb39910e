"""Chainer's names for how an array lies in memory. Here all lie as NumPy has them, channels first: the layouts of cuDNN that put
the channels last have a name, and a Variable that is asked for one raises ``BackendError``."""
from hybridnn.errors import BackendError

__all__ = ["CUDNN_CHANNEL_FIRST_W", "CUDNN_CHANNEL_FIRST_X", "CUDNN_CHANNEL_LAST_W", "CUDNN_CHANNEL_LAST_X", "get_raw_shape",
           "get_semantic_shape", "require_plain"]

CUDNN_CHANNEL_FIRST_X = None
CUDNN_CHANNEL_FIRST_W = None
CUDNN_CHANNEL_LAST_X = "CUDNN_CHANNEL_LAST_X"
CUDNN_CHANNEL_LAST_W = "CUDNN_CHANNEL_LAST_W"


def get_raw_shape(arr_or_var):
    """The shape of an array or Variable as it lies in memory."""
    return arr_or_var.shape


def get_semantic_shape(arr_or_var, *, assumed_layout=None):
    """The shape of an array or Variable, channels first."""
    require_plain(assumed_layout, "get_semantic_shape")
    return arr_or_var.shape


def _get_layout_transpose_axes(ndim, src_layout, dst_layout, inverse=False):
    """The axes that bring an array of ``ndim`` axes from one layout into the other; None where it lies right."""
    if src_layout == dst_layout:
        return None
    assert None in (src_layout, dst_layout), f"one of the layouts {src_layout} and {dst_layout} has to be None"
    to_last = (0, *range(2, ndim), 1)
    to_first = (0, ndim - 1, *range(1, ndim - 1))
    return to_last if (src_layout is None) != inverse else to_first


def _transpose_array(arr, src_layout, dst_layout):
    axes = _get_layout_transpose_axes(arr.ndim, src_layout, dst_layout)
    return arr if axes is None else arr.transpose(axes)


def _transpose_shape(shape, src_layout, dst_layout):
    axes = _get_layout_transpose_axes(len(shape), src_layout, dst_layout)
    return shape if axes is None else tuple([shape[i] for i in axes])


def require_plain(layout, who):
    """Raise ``BackendError`` for a layout other than NumPy's."""
    if layout is not None:
        raise BackendError(f"{who}: the memory layout {layout!r} is cuDNN's and not part of hybridnn\n  hint: leave layout at None, channels first")
