"""What the examples share: options, progress, timing, tables. Nothing here is about networks."""
import argparse
import sys
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

import hybridnn as hnn

RUNS = {"both": ("eager", "traced"), "trace": ("traced",), "no-trace": ("eager",)}
CLOSE = 1e-3         # relative difference of the losses of the first steps
FIRST = 20


@dataclass
class Log:
    """Losses and times of the steps of a run; calling it runs a step."""
    show: object
    losses: list = field(default_factory=list)
    seconds: list = field(default_factory=list)

    def __call__(self, step, *args):
        """The loss that ``step(*args)`` returns, as a number."""
        start = perf_counter()
        loss = float(step(*args))
        self.seconds.append(perf_counter() - start)
        self.losses.append(loss)
        self.show(f"loss {loss:.4f}")
        return loss


@dataclass
class Result:
    """What a run came to: how well it does, its log, and the step that it trained with."""
    score: float
    log: Log
    step: object

    @property
    def milliseconds(self):
        """Median time of a step."""
        return 1e3 * float(np.median(self.log.seconds))


def options(text, **defaults):
    """A parser with an option for each default, ``--seed``, and ``--trace``, ``--no-trace`` or ``--both`` (the default)."""
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    for name, value in {**defaults, "seed": 0}.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default: {value}")
    which = parser.add_mutually_exclusive_group()
    for name, runs in RUNS.items():
        which.add_argument(f"--{name}", dest="runs", action="store_const", const=runs, default=RUNS["both"])
    return parser


def compare(train, args):
    """``train(args, decorator)`` from the same seed with each decorator that was asked for: name of the run -> result."""
    results = {}
    for name in args.runs:
        print(f"{name}:", flush=True)
        np.random.seed(args.seed)
        results[name] = train(args, hnn.trace if name == "traced" else lambda f: f)
    return results


@contextmanager
def training(text, total):
    """A ``Log`` for ``total`` steps: with a bar on a terminal, some lines elsewhere."""
    if sys.stdout.isatty():
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        text_of = TextColumn("{task.description}"), TextColumn("{task.fields[note]}")
        with Progress(text_of[0], BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), text_of[1]) as bars:
            task = bars.add_task(text, total=total, note="")
            yield Log(lambda note: bars.update(task, advance=1, note=note))
    else:
        log = Log(lambda note: print_some(text, len(log.losses), total, note))
        yield log


def print_some(text, done, total, note):
    if done % max(1, total // 4) == 0:
        print(f"  {text} {done}/{total}  {note}", flush=True)


def table(title, *rows):
    """Print rows of texts; the first row holds the titles."""
    print(f"\n{title}")
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table
        shown = Table(*rows[0])
        for row in rows[1:]:
            shown.add_row(*row)
        Console().print(shown)
        return
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    print("\n".join("  " + "  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip() for r in rows))


def difference(results, steps):
    """Greatest relative difference of the losses of the first steps, eager against traced."""
    a, b = (np.array(results[name].log.losses[:steps]) for name in ("eager", "traced"))
    return float(np.max(np.abs(a - b) / np.maximum(np.abs(a), 1e-6)))


def conclude(what, baseline, results, better, text="{:.3f}", **checks):
    """Print the scores beside the baseline (a name and a score), and how the runs compare; the exit code.

    ``better(score, of the baseline)`` says whether something was learned.
    """
    rows = [(name, text.format(r.score), f"{r.milliseconds:.2f} ms") for name, r in results.items()]
    table(what, ("", what, "median step"), (baseline[0], text.format(baseline[1]), "-"), *rows)
    checks["learned"] = all(better(r.score, baseline[1]) for r in results.values())
    if len(results) == 2:
        apart = difference(results, FIRST)
        checks["losses agree"] = apart < CLOSE
        print(f"losses of the first {FIRST} steps, eager against traced: relative difference {apart:.1e}")
    if "traced" in results:
        print(f"trace: {results['traced'].step.stats}")
    return verdict(checks)


def verdict(checks):
    """Print which of the expectations (name -> whether it holds) failed; the exit code."""
    failed = [name for name, good in checks.items() if not good]
    print(f"FAILED: {', '.join(failed)}" if failed else "all expectations met")
    return 1 if failed else 0
