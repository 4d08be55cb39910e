"""``LinkHook``: code that runs before and after the forward of links, and what it is shown."""
import threading
from dataclasses import dataclass
from typing import Any

from hybridnn.function_hook import put_on

__all__ = ["ForwardPostprocessArgs", "ForwardPreprocessArgs", "LinkHook", "active", "get_link_hooks"]


class _Active(threading.local):
    """The hooks that are on for every link of this thread: a dict by name, or None while there are none."""
    hooks = None


active = _Active()


def get_link_hooks():
    """The current thread's hooks for all links, by name; a dict that may be changed."""
    if active.hooks is None:
        active.hooks = {}
    return active.hooks


@dataclass
class ForwardPreprocessArgs:
    """What ``forward_preprocess`` sees: the link, the method's name, and its arguments."""
    link: Any
    forward_name: str
    args: tuple
    kwargs: dict


@dataclass
class ForwardPostprocessArgs:
    """What ``forward_postprocess`` sees: as before the call, and the output ``out``."""
    link: Any
    forward_name: str
    args: tuple
    kwargs: dict
    out: Any


_ForwardPreprocessCallbackArgs = ForwardPreprocessArgs      # as Chainer calls them
_ForwardPostprocessCallbackArgs = ForwardPostprocessArgs


class LinkHook:
    """Base of link hooks. As a ``with`` block it applies to all links of the thread; ``link.add_hook(hook)`` applies it to one.

    Override what you need of ``added(link)``, ``deleted(link)`` (the link, or None for a block), ``forward_preprocess(args)`` and
    ``forward_postprocess(args)``. ``name`` tells hooks apart: two of one name cannot be on at once.
    """
    name = "LinkHook"

    def __enter__(self):
        put_on(get_link_hooks(), self.name, self, None, f"a link hook called {self.name!r} is on already; give the second another name")
        return self

    def __exit__(self, *_):
        hooks = get_link_hooks()
        hooks[self.name].deleted(None)
        del hooks[self.name]
        if not hooks:
            active.hooks = None

    def added(self, link):
        """Called when the hook is put on."""

    def deleted(self, link):
        """Called when the hook is taken off."""

    def forward_preprocess(self, args):
        """Called before forward, with ``ForwardPreprocessArgs``."""

    def forward_postprocess(self, args):
        """Called after forward, with ``ForwardPostprocessArgs``."""

    def forward_failed(self, args):
        """Called instead of ``forward_postprocess`` when forward raises, with ``ForwardPreprocessArgs``: undo what was changed
        for the call."""
