"""Lines of reductions that rows and columns have in common."""
from hybridnn.jit.nest import REDUCTIONS
from hybridnn.jit.support import NUMBA, SUFFIX, literal

__all__ = ["accumulate", "compensate", "compensated", "initial", "stages_of"]

LOWEST = {"i1": -2**7, "i2": -2**15, "i4": -2**31, "i8": -2**63, "u1": 0, "u2": 0, "u4": 0, "u8": 0}
HIGHEST = {"i1": 2**7 - 1, "i2": 2**15 - 1, "i4": 2**31 - 1, "i8": 2**63 - 1, "u1": 2**8 - 1, "u2": 2**16 - 1, "u4": 2**32 - 1,
           "u8": 2**64 - 1}


def stages_of(s):
    """Per item the number of reductions that must be complete, one after the other, before it is known."""
    stage = []
    for fn, args, _, _, _ in s.items:
        below = max([stage[a] for a in args], default=0)
        stage.append(below + 1 if fn in REDUCTIONS else below)
    return stage


def initial(item):
    """What the reduction ``item`` starts with."""
    fn, _, kind, _, _ = item
    if fn == "sum":
        return literal(0.0 if kind[0] == "f" else 0, kind)
    if kind[0] == "f":
        return literal(float("-inf") if fn == "max" else float("inf"), kind)
    return literal((LOWEST if fn == "max" else HIGHEST)[kind], kind)


def accumulate(w, item, target, value):
    """``target`` combined with ``value`` by the reduction ``item``."""
    fn, _, kind, _, _ = item
    if kind in ("f4", "f8") and not w.cuda:
        w.line(f"{target} = {w.call(f'{fn}_{SUFFIX[kind]}', target, value)}")
    elif fn == "sum":
        text = f"{target} + {value}"
        w.line(f"{target} = {text if kind in ('f4', 'f8') else f'{NUMBA[kind]}({text})'}")
    else:
        sign = ">" if fn == "max" else "<"
        nan = f" or {value} != {value}" if kind in ("f4", "f8") else ""
        w.line(f"{target} = {value} if {value} {sign} {target}{nan} else {target}")


def compensate(w, part, total, lost, kind):
    """Kahan's addition of a block's sum; infinities drop the correction."""
    w.line(f"y = {part} - {lost}")
    w.line(f"u = {total} + y")
    w.line(f"{lost} = (u - {total}) - y")
    w.line(f"{lost} = {lost} if {lost} == {lost} else {literal(0.0, kind)}")
    w.line(f"{total} = u")


def compensated(i, part, total, lost, kind):
    """The lines of the same addition for elements of arrays, in a loop that stays vectorised; ``i`` makes their names."""
    return [f"y{i} = {part} - {lost}", f"t{i} = {total}", f"u{i} = t{i} + y{i}", f"l{i} = (u{i} - t{i}) - y{i}",
            f"{lost} = where_{SUFFIX[kind]}(l{i} == l{i}, l{i}, {literal(0.0, kind)})", f"{total} = u{i}"]
