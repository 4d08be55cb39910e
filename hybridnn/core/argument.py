"""Checks of keyword arguments."""
import sys

__all__ = ["assert_kwargs_empty", "check_unexpected_kwargs", "parse_kwargs", "refuse_kwargs", "unexpected_kwargs"]

HINTS = {        # of keywords that earlier versions of the interface had
    "train": "there is no argument train; using_config('train', value) says whether this is training",
    "test": "there is no argument test; using_config('train', False) says that this is no training",
    "volatile": "there is no argument volatile; using_config('enable_backprop', False) keeps no graph",
    "use_cudnn": "there is no argument use_cudnn; using_config('use_cudnn', 'always', 'never' or 'auto') chooses",
    "deterministic": "there is no argument deterministic; using_config('cudnn_deterministic', True or False) chooses",
    "requires_x_grad": "there is no argument requires_x_grad; backward computes the gradient of x where something needs it",
    "use_bi_direction": "there is no argument use_bi_direction; the classes with Bi in their names go in both directions",
    "invoke_before_training": "there is no argument invoke_before_training; an extension's initialize(trainer) runs before training",
    "activation": "there is no argument activation; the classes NStepRNNTanh and NStepRNNReLU have one each",
}

CALLED = {"kernel_size": "ksize", "padding": "pad", "dilation": "dilate", "p": "ratio", "bias": "nobias, which is the contrary",
          "training": "using_config('train', value) says whether this is training"}      # of PyTorch's and Keras's keywords


def check_unexpected_kwargs(kwargs, **unexpected):
    """Raise ``ValueError`` with the message given for a key, if that key is in ``kwargs``."""
    for key, message in unexpected.items():
        if key in kwargs:
            raise ValueError(message)


def parse_kwargs(kwargs, *name_and_values, **unexpected):
    """Values of the named keywords, each with a default; a keyword that is left over raises ``TypeError`` in the caller's name.

    Args:
        kwargs: the dict of keywords; what is found is removed from it.
        name_and_values: pairs of name and default.
        unexpected: messages for keywords that deserve one of their own (``ValueError``).
    """
    values = tuple([kwargs.pop(name, default) for name, default in name_and_values])
    if kwargs:
        check_unexpected_kwargs(kwargs, **unexpected)
        raise unexpected_kwargs(_caller(), kwargs, CALLED)
    return values


def refuse_kwargs(kwargs, *former):
    """Raise for keywords that a function does not have: ``ValueError`` with a hint for one of the ``former`` names, else ``TypeError``."""
    check_unexpected_kwargs(kwargs, **{name: HINTS[name] for name in former})
    raise unexpected_kwargs(_caller(), kwargs, CALLED)


def _caller():
    return sys._getframe(2).f_code.co_qualname.rpartition("<locals>.")[2]


def unexpected_kwargs(caller, kwargs, hints):
    """The ``TypeError`` about keywords that are not known; ``hints`` says what some of them are called here."""
    known = "; ".join(hints[name] for name in sorted(kwargs) if name in hints)
    return TypeError(f"{caller}() got unexpected keyword argument(s) {', '.join(map(repr, sorted(kwargs)))}" + (f"\n  hint: {known}" if known else ""))


def assert_kwargs_empty(kwargs):
    """Raise ``TypeError`` if any keyword is left."""
    parse_kwargs(kwargs)
