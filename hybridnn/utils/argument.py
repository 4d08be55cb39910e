"""Checks of keyword arguments: ``hybridnn.core.argument``, where Chainer has it."""
from hybridnn.core.argument import assert_kwargs_empty, check_unexpected_kwargs, parse_kwargs

__all__ = ["assert_kwargs_empty", "check_unexpected_kwargs", "parse_kwargs"]
