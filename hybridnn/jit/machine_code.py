"""Machine code of the functions that are written in :mod:`hybridnn.jit.lowlevel`: from the text of a module to memory."""

from __future__ import annotations

import functools
import threading
from typing import Any

import llvmlite.binding as llvm

from hybridnn.jit import machine

__all__ = ["LOCK", "host", "link", "object_code"]

LOCK = threading.Lock()     # of the linker: it is not for several threads at once


@functools.cache
def host() -> tuple[str, str, str]:
    """What LLVM calls this system, its CPU, and what that can do."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.get_default_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _machine() -> Any:
    triple, cpu, features = host()
    return llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=2, jit=True)


def object_code(text: str, as_written: bool = False) -> bytes:
    """The object file of a module's text. ``as_written``: LLVM tidies the code, but widens and unrolls no loops."""
    return bytes(machine.object_code(text, _machine(), _tidy if as_written else _optimise))


def _optimise(module: Any, target: Any) -> None:
    machine.run_passes(llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2)), module)


def _tidy(module: Any, target: Any) -> None:
    """Variables to registers, and what is left without effect goes: a ninth of the time of the standard passes, for code that gains nothing by those."""
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    builder = llvm.create_pass_builder(target, llvm.create_pipeline_tuning_options(speed_level=2))
    for function in module.functions:
        if not function.is_declaration:
            passes.run(function, builder)


def link(code: bytes) -> Any:
    """An engine that gives the addresses of the functions of an object file, under ``LOCK``."""
    with LOCK:
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))      # ready once the first address is asked for, see ``machine.engine``
        return engine
