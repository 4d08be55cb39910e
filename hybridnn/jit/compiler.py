"""From a kernel's text to object code: ``translate`` or else numba writes LLVM IR, LLVM optimises it for this CPU."""
import logging

import llvmlite.binding as llvm

from hybridnn.jit import machine
from hybridnn.jit.translate import Untranslatable, translate

__all__ = ["COUNTS", "compile_ir", "compile_objects", "optimised"]

COUNTS = {"translated": 0, "numba": 0}       # kernels compiled in this process, by how
logger = logging.getLogger("hybridnn.jit")


def compile_objects(kernels):
    """ELF objects, one for each triple (symbol, text, filename): it has the function ``symbol(bufs, args, lo, hi)`` that ``kernel`` in ``text`` is."""
    return machine.objects([_lowered(*k) for k in kernels])


def compile_ir(symbol, text, filename):
    """The optimised LLVM module of one of these."""
    return optimised(_lowered(symbol, text, filename))


def optimised(ir):
    """The LLVM module of this text, optimised."""
    module = llvm.parse_assembly(ir)
    module.triple = machine.target_machine().triple
    module.data_layout = str(machine.target_machine().target_data)
    machine.optimise(module, machine.target_machine())
    return module


def _lowered(symbol, text, filename):
    try:
        ir = str(translate(symbol, text))
    except Untranslatable as error:
        return _by_numba(symbol, text, filename, error)
    COUNTS["translated"] += 1
    return ir


def _by_numba(symbol, text, filename, error):
    """numba loads here, a second for the first kernel, and only if there is one that is not translated."""
    from hybridnn.jit import numba_compiler
    logger.log(logging.DEBUG if COUNTS["numba"] else logging.INFO, "%s is compiled by numba: %s", filename, error)
    COUNTS["numba"] += 1
    return numba_compiler.lowered(symbol, text, filename)
