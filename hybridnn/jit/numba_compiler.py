"""From a kernel's text to LLVM IR by numba: what ``translate`` does not know, and the oracle of its tests."""
import re

from numba.core import typed_passes, types, untyped_passes
from numba.core.compiler import CompilerBase
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import cpu_target

from hybridnn.jit.pointers import KERNEL_SIGNATURE

__all__ = ["lowered"]


PASSES = (untyped_passes.TranslateByteCode, untyped_passes.FixupArgs, untyped_passes.IRProcessing,
          typed_passes.NopythonTypeInference,
          typed_passes.AnnotateTypes, typed_passes.IRLegalization, typed_passes.NativeLowering, typed_passes.NoPythonBackend)


class _Pipeline(CompilerBase):
    """What kernels need of numba's passes, a third less time: variables keep one type, nothing is inlined or rewritten."""

    def define_pipelines(self):
        manager = PassManager("kernel")
        for each in PASSES:
            manager.add_pass(each, each.__name__)
        manager.finalize()
        return [manager]


class _Frontend(_FunctionCompiler):
    """numba without its wrappers and without its code generation."""

    def _customize_flags(self, flags):
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        flags.enable_pyobject = False
        return flags


def lowered(symbol, text, filename):
    """The text of an LLVM module with the function ``symbol(bufs, args, lo, hi)`` that ``kernel`` in ``text`` is."""
    return _wrapped(symbol, _lower(text, filename))


def _lower(text, filename):
    namespace = {"__name__": "hybridnn_kernel"}
    exec(compile(text, filename, "exec"), namespace)
    with global_compiler_lock:
        compiler = _Frontend(namespace["kernel"], cpu_target, {"error_model": "numpy"}, {}, _Pipeline)
        result = compiler.compile(KERNEL_SIGNATURE.args, types.void)
    return result.library.get_llvm_str(), result.fndesc.mangled_name


def _wrapped(symbol, lowered):
    """The module with ``symbol`` around numba's function, which becomes internal; numba's frame of exceptions is unused."""
    ir, name = lowered
    ir, found = re.subn(rf"^define (?=[^@\n]*@{re.escape(name)}\()", "define internal ", ir, flags=re.M)
    assert found == 1, f"{name} is not in the module that numba made"
    stray = re.findall(r"^declare [^@\n]*@(_ZN5numba\w*)", ir, flags=re.M)
    assert not stray, f"a kernel calls {stray}, which is not in its module"
    ir = re.sub(r"^(@_ZN08NumbaEnv\S* =) common global", r"\1 internal global", ir, flags=re.M)
    return f"""{ir}
define void @{symbol}(ptr %bufs, ptr %args, i64 %lo, i64 %hi) {{
  %frame = alloca [2 x ptr]
  %slot = getelementptr ptr, ptr %frame, i64 1
  %status = call i32 @{name}(ptr %frame, ptr %slot, ptr %bufs, ptr %args, i64 %lo, i64 %hi)
  ret void
}}
"""
