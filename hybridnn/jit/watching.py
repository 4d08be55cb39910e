"""Who wants to know about runs of executables."""

__all__ = ["on_run"]

# Functions of (executable, start, end), put here by profiles: called after each run, with time.perf_counter values.
on_run = []
