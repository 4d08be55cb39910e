"""``summary``: what a model is made of, and what a call of it costs."""
import copy
import time
from dataclasses import dataclass

import numpy as np

from hybridnn.backend import is_array
from hybridnn.config import no_backprop_mode, using_config
from hybridnn.core import Variable
from hybridnn.link_hook import LinkHook

__all__ = ["LinkRow", "ModelSummary", "summary"]


@dataclass
class LinkRow:
    """One link: its path, class, output shape (None if it was not called), numbers of parameters, bytes of parameters and
    output, seconds and calls.

    Parameters and bytes of parameters include those of the links inside, as time does.
    """
    name: str
    link: str
    output_shape: object
    parameters: int
    memory: int
    seconds: float
    calls: int
    depth: int


@dataclass
class ModelSummary:
    """The rows of all links, parents first; ``str()`` makes a table. The first row is the model itself."""
    rows: list

    @property
    def total_parameters(self):
        return self.rows[0].parameters

    @property
    def total_seconds(self):
        return self.rows[0].seconds

    def __str__(self):
        cells = [("name", "link", "output shape", "parameters", "memory", "time")]
        cells += [("  " * r.depth + r.name, r.link, _shape_text(r.output_shape), f"{r.parameters:,}", _bytes_text(r.memory),
                   _time_text(r))
                  for r in self.rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join(_aligned(c, w, i) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in cells]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def summary(model, *inputs, **kwargs):
    """Call a copy of ``model`` on ``inputs`` (twice: once to give parameters their shapes, once for times) and tabulate its
    links.

    The model itself, its state and NumPy's random stream stay as they are; the call runs without graph and with
    ``config.train`` False.

    Returns:
        A ``ModelSummary``: rows for people (``print(summary(model, x))``) and programs (``.rows``).
    """
    model = copy.deepcopy(model)
    random_state = np.random.get_state()
    watch = _Watch()
    try:
        with no_backprop_mode(), using_config("train", False):
            model(*inputs, **kwargs)
            with watch:
                model(*inputs, **kwargs)
    finally:
        np.random.set_state(random_state)
    return ModelSummary([_row(path, link, watch) for path, link in _in_order_of_calls(dict(model.namedlinks()), watch)])


def _in_order_of_calls(links, watch):
    """(path, link), parents before their children; those never called come last."""
    position = {path: k for k, path in enumerate(links)}

    def key(item):
        path = item[0]
        parts = [path[:k] for k, c in enumerate(path + "/") if c == "/" and k and path != "/"]
        return [(watch.begun.get(id(links[p]), len(links)), position[p]) for p in parts]
    return sorted(links.items(), key=key)


class _Watch(LinkHook):
    """Notes output and time of every call by link."""
    name = "_summary"

    def __init__(self):
        self.seconds, self.calls, self.outputs, self.started, self.begun = {}, {}, {}, [], {}

    def forward_preprocess(self, args):
        self.begun.setdefault(id(args.link), len(self.begun))
        self.started.append(time.perf_counter())

    def forward_postprocess(self, args):
        key = id(args.link)
        self.seconds[key] = self.seconds.get(key, 0) + time.perf_counter() - self.started.pop()
        self.calls[key] = self.calls.get(key, 0) + 1
        self.outputs[key] = args.out

    def forward_failed(self, args):
        self.started.pop()


def _row(path, link, watch):
    params = list({id(p): p for p in link.params(include_uninit=False)}.values())
    out = watch.outputs.get(id(link))
    bytes_of_params = sum(p.size * p.dtype.itemsize for p in params)
    return LinkRow(path, type(link).__name__, _shape_of(out), sum(p.size for p in params), bytes_of_params + _bytes_of(out),
                   watch.seconds.get(id(link), 0.0), watch.calls.get(id(link), 0), path.strip("/").count("/") + (path != "/"))


def _shape_of(x):
    """Shapes in the structure of an output."""
    if isinstance(x, Variable) or is_array(x):
        return x.shape
    if isinstance(x, dict):
        return {k: _shape_of(v) for k, v in x.items()}
    return [_shape_of(v) for v in x] if isinstance(x, (tuple, list)) else None


def _bytes_of(x):
    if isinstance(x, Variable) or is_array(x):
        return x.size * x.dtype.itemsize
    return sum(map(_bytes_of, x.values() if isinstance(x, dict) else x)) if isinstance(x, (tuple, list, dict)) else 0


def _shape_text(shape):
    if shape is None:
        return "-"
    if isinstance(shape, list) and len(shape) > 4:
        return f"{len(shape)} x {shape[0]}"
    return ", ".join(map(str, shape)) if isinstance(shape, list) else str(shape)


def _bytes_text(n):
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
        n /= 1024
    return f"{n:.1f} GiB"


def _time_text(row):
    if not row.calls:
        return "-"
    text = f"{row.seconds * 1e3:.3f} ms"
    return text if row.calls == 1 else f"{text} ({row.calls} calls)"


def _aligned(text, width, column):
    return text.rjust(width) if column >= 3 else text.ljust(width)
