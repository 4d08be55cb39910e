"""Functions and links against PyTorch on the same inputs and parameters: outputs and first gradients.

usage: PEERS_PYTHON=/path/to/python python benchmarks/compare_torch.py [case ...]

Prints the largest relative error of each case in float64 and float32; the exit status is 1 where one exceeds its tolerance.
PyTorch runs in its own environment, hybridnn never imports it.
"""

import sys

import numpy as np
from exchange import ask, python_of, relative_error
from torch_cases import CASES, FUNCTIONS, LINKS, weights

import hybridnn as hnn
import hybridnn.functions as F
import hybridnn.links as L

TOLERANCE = {"float64": 1e-9, "float32": 5e-5}


def leaves(y):
    return [leaf for part in y for leaf in leaves(part)] if isinstance(y, (tuple, list)) else [y]


def link_of(case, dtype):
    """The link, with parameters drawn anew: initial biases of zero would hide mistakes."""
    with hnn.using_config("dtype", np.dtype(dtype)):
        link = case.link(L)
    rng = np.random.default_rng(3)
    for _, p in sorted(link.namedparams()):
        p.array[...] = rng.uniform(-1, 1, p.shape)
    return link


def parameters(case, link, what):
    """PyTorch's names: arrays, from the parameters' ``array`` or ``grad``."""
    held = dict(link.namedparams())
    return case.params(lambda path: getattr(held[path], what))


def ours(case, dtype):
    """(what the other side is given, what hybridnn says), both by key."""
    key, xs = f"{dtype}|{case.name}", case.inputs(dtype)
    link = case.link and link_of(case, dtype)
    question = {f"{key}|x|{i}": x for i, x in enumerate(xs)}
    question |= {f"{key}|p|{n}": a for n, a in (parameters(case, link, "array") if link else {}).items()}
    vs = [hnn.Variable(x) if x.dtype.kind == "f" else x for x in xs]
    ys = leaves(case.ours(link or F, *vs))
    loss = sum(F.sum(y * weights(y.array)) for y in ys if getattr(y, "requires_grad", False))
    if link:
        link.cleargrads()
    loss.backward()
    found = {f"{key}|y|{i}": np.asarray(getattr(y, "array", y)) for i, y in enumerate(ys)}
    found |= {f"{key}|gx|{i}": v.grad for i, v in enumerate(vs) if isinstance(v, hnn.Variable) and v.grad is not None}
    found |= {f"{key}|gp|{n}": a for n, a in (parameters(case, link, "grad") if link else {}).items()}
    return question, found


def chosen(names):
    """The cases that are named, by their whole name or what stands before the comma; all if none is."""
    known = {name for c in CASES for name in (c.name, c.name.partition(",")[0])}
    if unknown := sorted(set(names) - known):
        sys.exit(f"no case {', '.join(unknown)}")
    return [c for c in CASES if not names or {c.name, c.name.partition(",")[0]} & set(names)]


def errors(found, answer, key):
    """(relative error, what was compared), worst first; infinite for what only one side has.

    PyTorch's second biases of recurrent layers, which are kept at zero, have no partner.
    """
    wanted = dict.fromkeys(k for k in [*found, *answer] if k.startswith(key + "|") and (k in found or "|gp|" not in k))
    return sorted(((relative_error(found[k], answer[k]) if k in found and k in answer else np.inf, k.removeprefix(key + "|"))
                   for k in wanted), reverse=True)


def main():
    python = python_of("PEERS_PYTHON", "PyTorch")
    question, found, cases = {}, {}, chosen(sys.argv[1:])
    for case in cases:
        for dtype in TOLERANCE:
            asked, said = ours(case, dtype)
            question |= asked
            found |= said
    answer = ask(python, "torch_side.py", question)
    failed = 0
    print(f"{'':40}{'compared':>9}{'float64':>11}{'float32':>11}")
    for case in cases:
        rows = {dtype: errors(found, answer, f"{dtype}|{case.name}") for dtype in TOLERANCE}
        worst = {dtype: row[0] for dtype, row in rows.items()}
        over = [f"{dtype} {what}" for dtype, (e, what) in worst.items() if not e <= TOLERANCE[dtype]]
        failed += bool(over)
        print(f"{case.name:40}{len(rows['float64']):9}{worst['float64'][0]:11.1e}{worst['float32'][0]:11.1e}", *over)
    kinds = f"{sum(c in FUNCTIONS for c in cases)} functions, {sum(c in LINKS for c in cases)} links"
    print(f"{kinds}; {failed} above the tolerance of {TOLERANCE['float64']:.0e} and {TOLERANCE['float32']:.0e}")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
