"""Small helpers, under Chainer v7's names: type checks, argument parsing, output sizes of convolutions, the alias sampler."""
from hybridnn.utils import argument, array, cache, conv, conv_nd, type_check, walker_alias
from hybridnn.utils.array import force_array, force_type, size_of_shape, sum_to
from hybridnn.utils.conv import get_conv_outsize, get_deconv_outsize
from hybridnn.utils.misc import experimental, nondeterministic, tempdir
from hybridnn.utils.walker_alias import WalkerAlias

__all__ = ["WalkerAlias", "experimental", "force_array", "force_type", "get_conv_outsize", "get_deconv_outsize",
           "nondeterministic", "size_of_shape", "sum_to", "tempdir"]
