"""What PyTorch says to the cases of torch_cases.py. Run by compare_torch.py in PyTorch's environment."""

import torch
from exchange import answer_with
from torch_cases import CASES, weights


def module_of(case, given, dtype):
    """The case's module with the given parameters; those that are not given (a second bias) are zero."""
    module = case.module(torch.nn).to(dtype)
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(given[name]) if name in given else p.zero_()
    return module


def several(y):
    return list(y) if isinstance(y, (tuple, list)) else [y]


def answer(case, key, arrays):
    """Outputs, gradients of the operands and of the parameters."""
    def tensors(kind):
        return {k.rsplit("|", 1)[1]: torch.from_numpy(a) for k, a in arrays.items() if k.startswith(f"{key}|{kind}|")}
    given = tensors("x")
    xs = [given[str(i)] for i in range(len(given))]
    xs = [x.requires_grad_() if x.is_floating_point() else x for x in xs]
    module = case.module and module_of(case, tensors("p"), getattr(torch, key.split("|")[0]))
    ys = several(case.theirs(module, torch, *xs) if module else case.theirs(torch, *xs))
    loss = sum((y * torch.from_numpy(weights(y.detach().numpy()))).sum() for y in ys if y.requires_grad)
    loss.backward()
    found = {f"{key}|y|{i}": y.detach().numpy() for i, y in enumerate(ys)}
    found |= {f"{key}|gx|{i}": x.grad.numpy() for i, x in enumerate(xs) if x.grad is not None}
    params = module.named_parameters() if module else ()
    return found | {f"{key}|gp|{n}": p.grad.numpy() for n, p in params if p.grad is not None}


def answers(arrays):
    keys = dict.fromkeys(k.rsplit("|", 2)[0] for k in arrays)
    cases = {case.name: case for case in CASES}
    torch.set_num_threads(1)
    return {k: a for key in keys for k, a in answer(cases[key.split("|")[1]], key, arrays).items()}


if __name__ == "__main__":
    answer_with(answers)
