"""``ProgressBar``: lines on the terminal that are drawn over each other."""
import collections
import os
import sys
import time

__all__ = ["ProgressBar"]

if os.name == "nt":
    os.system("")            # makes Windows' console understand the escape sequences


class ProgressBar:
    """Draws what ``get_lines()`` of a subclass gives, over what it drew before.

    The cursor waits at the head of the lines, so that whoever writes next writes over them.

    Args:
        bar_length: characters of a bar; None: 50.
        out: where to write; None: standard output at the time of writing.
    """

    def __init__(self, bar_length=None, out=None):
        self._bar_length, self._stream = 50 if bar_length is None else bar_length, out
        self._recent_timing = collections.deque(maxlen=100)

    @property
    def _out(self):
        return sys.stdout if self._stream is None else self._stream

    def update_speed(self, iteration, epoch_detail):
        """Iterations and epochs per second over the last 100 calls; infinite as long as no time has passed."""
        now = time.perf_counter()
        self._recent_timing.append((iteration, epoch_detail, now))
        first_iteration, first_epoch, start = self._recent_timing[0]
        if now == start:
            return float("inf"), float("inf")
        return (iteration - first_iteration) / (now - start), (epoch_detail - first_epoch) / (now - start)

    def get_lines(self):
        """The lines, each with its line feed."""
        raise NotImplementedError(f"{type(self).__name__} defines no get_lines")

    def update(self):
        """Draw anew."""
        self.erase_console()
        lines = self.get_lines()
        for line in lines:
            self._out.write(line)
        self.move_cursor_up(len(lines))
        self.flush()

    def close(self):
        """Remove what was drawn."""
        self.erase_console()
        self.flush()

    def erase_console(self):
        """Clear from the cursor to the end of the screen."""
        self._out.write("\033[J")

    def move_cursor_up(self, n):
        """Move the cursor ``n`` lines up."""
        self._out.write(f"\033[{n}A")

    def flush(self):
        """Let the terminal show it."""
        if hasattr(self._out, "flush"):
            self._out.flush()
