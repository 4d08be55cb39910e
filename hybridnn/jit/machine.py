"""The host as LLVM's target: one machine description for all that is compiled, and an engine that object code is loaded into."""
import ctypes
import functools
import os
import threading

import llvmlite.binding as llvm

__all__ = ["engine", "has_wide_registers", "object_code", "objects", "optimise", "run_passes", "target_machine"]

MOST_THREADS = 8


@functools.cache
def target_machine():
    """Code for this CPU, fast to generate and position independent."""
    return _new_target_machine()


def _new_target_machine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    host = llvm.get_host_cpu_features()
    # LLVM's tuning of many CPUs leaves half of an AVX-512 register unused; loops of elementary functions take 1.35 times as long then.
    features = host.flatten() + (",-prefer-256-bit" if has_wide_registers() else "")
    return llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2,
                                                                   reloc="pic",
                                                                   codemodel="jitdefault", jit=True)


@functools.cache
def has_wide_registers():
    """Whether vectors are of 512 bits, which come with twice as many registers."""
    return bool(llvm.get_host_cpu_features().get("avx512f"))


def engine(code):
    """An engine that holds the functions of an ELF object. Asking for the first address makes it ready; ``finalize_object`` would compile the empty module
    first, which takes twice as long as all else."""
    target_machine()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    result = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{llvm.get_process_triple()}"'), machine)
    result.add_object_file(llvm.ObjectFileRef.from_data(code))
    return result


def optimise(module, machine):
    """LLVM's standard pipeline at level 2 with loop vectorisation.

    Straight-line code is not vectorised: what is worth it stands in loops.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.loop_interleaving = True
    options.slp_vectorization = False
    run_passes(llvm.create_pass_builder(machine, options), module)


# --------------------------------------------------------------------------------------------------------------- many modules

def objects(texts):
    """ELF objects of LLVM modules, by their texts: optimised, on as many threads as there are CPUs for this process."""
    found, left, errors = [None] * len(texts), iter(range(len(texts))), []

    def work():
        try:
            machine = _new_target_machine()
            for k in left:       # each number goes to one thread
                found[k] = object_code(texts[k], machine, optimise)
        except BaseException as error:
            errors.append(error)
    target_machine()        # the target is set up once
    helpers = _started(work, min(len(texts), _cpus(), MOST_THREADS) - 1)
    try:
        work()
    finally:
        for _ in left:       # after an exception, nobody begins another one
            pass
        for h in helpers:
            h.join()
    if errors:
        raise errors[0]
    return found


def _started(work, count):
    """So many threads that do it, or as many as there can be: none at the end of the interpreter."""
    started = []
    for _ in range(count):
        thread = threading.Thread(target=work, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        started.append(thread)
    return started


def _cpus():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def object_code(text, machine, optimise):
    """The ELF object of an LLVM module, after ``optimise(module, machine)``. The module has a context of its own: threads share nothing."""
    with llvm.create_context() as context, llvm.parse_assembly(text, context) as module:
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        optimise(module, machine)
        calls = _long_calls()
        return machine.emit_object(module) if calls is None else _emitted(calls[1], machine, module)


def run_passes(builder, module):
    """The standard passes as ``builder`` is set up."""
    passes, calls = builder.getModulePassManager(), _long_calls()
    if calls is None:
        passes.run(module, builder)
    else:
        calls[0](passes, module, builder)


def _emitted(emit, machine, module):
    lib = llvm.ffi.lib
    with llvm.ffi.OutputString() as problem:
        buffer = emit(machine, module, 1, problem)
        if not buffer:
            raise RuntimeError(str(problem))
    try:
        return ctypes.string_at(lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer))
    finally:
        lib.LLVMPY_DisposeMemoryBuffer(buffer)


@functools.cache
def _long_calls():
    """What takes long, optimising and emitting code, without llvmlite's lock, under which one thread at a time would compile. None where llvmlite is another
    inside than these functions of its library suppose: then its own calls do the work."""
    lib = llvm.ffi.lib
    try:
        library = ctypes.CDLL(lib._name)
        calls = [(getattr(lib, name), getattr(library, name)) for name in ("LLVMPY_RunNewModulePassManager", "LLVMPY_TargetMachineEmitToMemory")]
        for locked, call in calls:
            call.argtypes, call.restype = locked.argtypes, locked.restype
        lib.LLVMPY_GetBufferStart, lib.LLVMPY_GetBufferSize, lib.LLVMPY_DisposeMemoryBuffer     # noqa: B018
    except (AttributeError, OSError, TypeError):
        return None
    return [call for _, call in calls]
