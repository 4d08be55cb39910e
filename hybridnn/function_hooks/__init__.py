"""Function hooks: time every operation, or print what goes into it."""
from hybridnn.errors import absent as _absent
from hybridnn.function_hooks.print_hook import PrintHook
from hybridnn.function_hooks.timer import TimerHook
from hybridnn.utils.paths import open_paths as _open_paths

__all__ = ["CUDAProfileHook", "CupyMemoryProfileHook", "PrintHook", "TimerHook"]

CUDAProfileHook = _absent("CUDAProfileHook", "TimerHook tells how long operations take")
CupyMemoryProfileHook = _absent("CupyMemoryProfileHook", "CuPy's memory pool tells how much is allocated")

_open_paths(__name__, {
    "cuda_profile": "CUDAProfileHook", "cupy_memory_profile": "CupyMemoryProfileHook", "debug_print": "PrintHook"})
