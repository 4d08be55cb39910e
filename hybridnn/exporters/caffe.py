"""``export`` for Caffe, which is not taken over from Chainer."""
from hybridnn.errors import not_taken_over

__all__ = ["export"]


def export(model, args, directory=None, export_params=True, graph_name="Graph"):
    """Not taken over from Chainer: raises ``BackendError``."""
    raise not_taken_over("exporters.caffe", "write the model with save_npz, read that in Chainer, and export it there")
