"""What Chainer says to the cases of chainer_cases.py. Run by compare_chainer.py in Chainer's environment."""

import chainer
import chainer.link_hooks
import numpy as np
from chainer_cases import cases
from exchange import answer_with


def answers(arrays):
    table, names = cases(chainer), [str(n) for n in arrays["names"]]
    return {n + "|" + k: np.asarray(a) for n in names for k, a in table[n](lambda f: f).items()}


if __name__ == "__main__":
    answer_with(answers)
