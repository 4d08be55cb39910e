"""Small helpers, under Chainer v7's names: type checks, argument parsing, output sizes of convolutions, the alias sampler, sparse matrices."""
import collections.abc as collections_abc

from hybridnn.errors import absent as _absent
from hybridnn.utils import argument, array, cache, conv, conv_nd, error, imgproc, meta, precision, sparse, type_check, walker_alias
from hybridnn.utils.array import force_array, force_type, size_of_shape, sum_to
from hybridnn.utils.conv import get_conv_outsize, get_deconv_outsize
from hybridnn.utils.error import _format_array_props
from hybridnn.utils.experimental import experimental
from hybridnn.utils.meta import enable_final, final
from hybridnn.utils.misc import tempdir
from hybridnn.utils.nondeterministic import nondeterministic
from hybridnn.utils.paths import open_paths as _open_paths
from hybridnn.utils.sparse import CooMatrix, get_order, to_coo
from hybridnn.utils.walker_alias import WalkerAlias

__all__ = ["CooMatrix", "WalkerAlias", "argument", "array", "cache", "collections_abc", "conv", "conv_nd",
           "enable_final", "error", "experimental", "final", "force_array", "force_type", "get_conv_outsize", "get_deconv_outsize", "get_order",
           "imgproc", "meta", "nondeterministic", "precision", "size_of_shape", "sparse", "sum_to", "tempdir", "to_coo", "type_check", "walker_alias"]

_open_paths(__name__, {"conv_nd_kernel": {
    name: _absent(name, "utils.conv_nd rearranges arrays of either kind") for name in ("Im2colNDKernel", "Col2imNDKernel")}})
