"""Native code that most plans ask for, compiled by another thread while Python is still followed.

It takes up to a second, once on a machine, and whoever calls a function the second time would wait for it.
"""
import logging
import threading

from hybridnn.jit import fpstatus, gemm, moves, native, objects
from hybridnn.openblas import crowd

__all__ = ["compile_ahead"]

logger = logging.getLogger("hybridnn.jit")
_begun = set()
ALWAYS = "copy4", "fill4"
BY_KIND = {"gather": ("gather_i32", "scatter_f32_i32")}      # functions of ``moves``


def compile_ahead(kinds):
    """Begin with the code that plans of operations of these kinds will ask for, as far as the disk lacks it, and return."""
    if objects.folder() is None:      # the plan would not find it
        return
    new = [s for s in _wanted(kinds) if s not in _begun]
    _begun.update(new)
    missing = [s for s in new if not objects.is_kept(s.key())]
    if missing:
        try:
            threading.Thread(target=_compile, args=(missing,), name="hybridnn compiles").start()
        except RuntimeError:        # no thread is to be had, as at the end of the interpreter
            logger.info("nothing is compiled ahead: no thread could be started")


def _wanted(kinds):
    """In the order in which a plan asks for it."""
    tile = gemm.host_tile() if "matmul" in kinds else None
    products = [] if tile is None else [gemm.source(tile)]
    moving = [name for kind, names in BY_KIND.items() if kind in kinds for name in names]
    return [native.walker_source(), *products, *map(moves.source, (*ALWAYS, *moving)), *([fpstatus.source()] if fpstatus.supported() else [])]


def _compile(sources):
    try:
        with crowd():
            for source in sources:
                source.load()
    except Exception as error:
        logger.info("nothing more is compiled ahead: %r", error)       # the plan meets it again, and tells
