"""``FunctionHook``: code that runs before and after each operation."""
from hybridnn.config import settle_hooks, state

__all__ = ["FunctionHook", "get_function_hooks", "put_on"]


def get_function_hooks():
    """The current thread's function hooks, by name; a dict that may be changed."""
    if type(state.hooks) is not dict:       # None, or what all threads have in debug mode
        state.hooks = {}
    if state.tracer is not None:
        state.tracer.note_hooks()
    return state.hooks


def put_on(hooks, name, hook, owner, taken):
    """``hook`` is among the ``hooks`` of ``owner`` from now on (of all there are, if that is None); ``taken`` is said if another has its name."""
    if name in hooks:
        raise KeyError(taken)
    hooks[name] = hook
    hook.added(owner)


class FunctionHook:
    """Base of function hooks; a ``with`` block puts it on for the current thread.

    Override what you need of ``added(function)``, ``deleted(function)``, ``forward_preprocess(function, in_data)``,
    ``forward_postprocess(function, in_data)``, ``backward_preprocess(function, in_data, out_grad)`` and
    ``backward_postprocess(...)``. ``function.label`` names the operation; ``in_data`` is a tuple of arrays.
    """
    name = "FunctionHook"

    def __enter__(self):
        put_on(get_function_hooks(), self.name, self, None, f"a function hook called {self.name!r} is on already; give the second another name")
        return self

    def __exit__(self, *_):
        hooks = get_function_hooks()
        hooks[self.name].deleted(None)
        del hooks[self.name]
        settle_hooks()

    def added(self, function):
        """Called when the hook is put on."""

    def deleted(self, function):
        """Called when the hook is taken off."""

    def forward_preprocess(self, function, in_data):
        """Called before an operation."""

    def forward_postprocess(self, function, in_data):
        """Called after an operation."""

    def backward_preprocess(self, function, in_data, out_grad):
        """Called before the gradient of an operation."""

    def backward_postprocess(self, function, in_data, out_grad):
        """Called after the gradient of an operation."""
