"""The host as LLVM's target: one machine description for all that is compiled, and an engine that object code is loaded into."""
import functools

import llvmlite.binding as llvm

__all__ = ["engine", "optimise", "target_machine"]


@functools.cache
def target_machine():
    """Code for this CPU, fast to generate and position independent."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    host = llvm.get_host_cpu_features()
    # LLVM's tuning of many CPUs leaves half of an AVX-512 register unused; loops of elementary functions take 1.35 times as long then.
    features = host.flatten() + (",-prefer-256-bit" if host.get("avx512f") else "")
    return llvm.Target.from_default_triple().create_target_machine(cpu=llvm.get_host_cpu_name(), features=features, opt=2,
                                                                   reloc="pic",
                                                                   codemodel="jitdefault", jit=True)


def engine(code):
    """An engine that holds the functions of an ELF object. Asking for the first address makes it ready; ``finalize_object`` would compile the empty module
    first, which takes twice as long as all else."""
    target_machine()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    result = llvm.create_mcjit_compiler(llvm.parse_assembly(f'target triple = "{llvm.get_process_triple()}"'), machine)
    result.add_object_file(llvm.ObjectFileRef.from_data(code))
    return result


def optimise(module):
    """LLVM's standard pipeline at level 2 with loop vectorisation.

    Straight-line code is not vectorised: what is worth it stands in loops.
    """
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.loop_interleaving = True
    options.slp_vectorization = False
    builder = llvm.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)
