"""Python threads for tests."""
import functools
import threading

__all__ = ["at_once"]


def at_once(work, marks):
    """Run ``work(mark)`` for each of ``marks``, every one in a thread of its own, until all have ended."""
    threads = [threading.Thread(target=functools.partial(work, mark)) for mark in marks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
