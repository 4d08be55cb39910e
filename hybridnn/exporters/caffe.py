"""``export`` for Caffe, which is not taken over from Chainer."""
from hybridnn.errors import BackendError

__all__ = ["export"]


def export(model, args, directory=None, export_params=True, graph_name="Graph"):
    """Not taken over from Chainer: raises ``BackendError``."""
    raise BackendError("exporters.caffe is not part of hybridnn\n  hint: write the model with save_npz, read that in Chainer, and export it there")
