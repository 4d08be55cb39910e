"""Names for type annotations, as in Chainer."""
import typing

from hybridnn.backend import Device, numpy

__all__ = ["TYPE_CHECKING", "AbstractInitializer", "CudaDeviceSpec", "DTypeSpec", "DeviceSpec", "InitializerSpec", "NdArray", "ScalarValue",
           "Shape", "ShapeSpec", "Xp"]

TYPE_CHECKING = typing.TYPE_CHECKING
Shape = tuple[int, ...]
ShapeSpec = int | typing.Sequence[int]
DTypeSpec = typing.Any
NdArray = numpy.ndarray
Xp = typing.Any
ScalarValue = numpy.generic | bytes | str | memoryview | float | complex


class AbstractInitializer(typing.Protocol):
    """What fills an array in place."""
    dtype: DTypeSpec = None

    def __call__(self, array: NdArray) -> None: ...


InitializerSpec = AbstractInitializer | ScalarValue | NdArray
DeviceSpec = Device | str | tuple[str, int]
CudaDeviceSpec = typing.Any
