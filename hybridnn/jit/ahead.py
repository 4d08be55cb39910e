"""Native code that most plans ask for, compiled by another thread while Python is still followed.

It takes up to a second, once on a machine, and whoever calls a function the second time would wait for it.
"""
import logging
import threading

from hybridnn.jit import gemm, moves, native, objects

__all__ = ["compile_ahead"]

logger = logging.getLogger("hybridnn.jit")
_begun = set()


def compile_ahead(multiplies):
    """Begin with the code that a plan will ask for, as far as the disk lacks it, and return. ``multiplies``: whether the plan has products of matrices."""
    if multiplies in _begun or objects.folder() is None:      # where nothing is kept, the plan would not find it
        return
    _begun.add(multiplies)
    missing = [s for s in _wanted(multiplies) if not objects.is_kept(s.key())]
    if missing:
        try:
            threading.Thread(target=_compile, args=(missing,), name="hybridnn compiles").start()
        except RuntimeError:        # no thread is to be had, as at the end of the interpreter
            logger.info("nothing is compiled ahead: no thread could be started")


def _wanted(multiplies):
    """In the order in which a plan asks for it."""
    tile = gemm.host_tile() if multiplies else None
    return [*([] if tile is None else [gemm.source(tile)]), moves.source("copy4"), native.walker_source()]


def _compile(sources):
    try:
        for source in sources:
            source.load()
    except Exception as error:
        logger.info("nothing more is compiled ahead: %r", error)       # the plan meets it again, and tells
