"""``WeightHook``: base of hooks that put another weight in place for the time of a call."""
from hybridnn.errors import InvalidType
from hybridnn.link_hook import LinkHook
from hybridnn.links.linear import initialize_weight

__all__ = ["WeightHook"]


class WeightHook(LinkHook):
    """Replaces a link's weight by ``new_weight(link, W)`` during forward. One hook serves one link.

    Args:
        weight_name: attribute of the weight.
        name: the hook's name.
    """

    def __init__(self, weight_name="W", name=None):
        self.weight_name = weight_name
        self._ready = False
        if name is not None:
            self.name = name

    def __enter__(self):
        raise NotImplementedError(f"{type(self).__name__} belongs to one link; use link.add_hook")

    def added(self, link):
        """Prepare, if the weight has a shape already."""
        if not hasattr(link, self.weight_name):
            raise ValueError(f"{type(self).__name__}: {type(link).__name__} has no weight {self.weight_name!r}")
        if getattr(link, self.weight_name).is_initialized:
            self._get_ready(link)

    def prepare(self, link):
        """Called once, when the weight has its shape."""

    def new_weight(self, link, W):
        """The weight to be used instead of ``W``."""
        raise NotImplementedError

    def _get_ready(self, link):
        self.prepare(link)
        self._ready = True

    def forward_preprocess(self, cb_args):
        link = cb_args.link
        if not self._ready:
            if not getattr(link, self.weight_name).is_initialized:
                if not cb_args.args:
                    raise InvalidType(type(self).__name__, "an input, to give the weight its shape", "no positional argument")
                initialize_weight(link, cb_args.args[0])
            self._get_ready(link)
        self.original_weight = getattr(link, self.weight_name)
        link.__dict__[self.weight_name] = self.new_weight(link, self.original_weight)

    def forward_postprocess(self, cb_args):
        cb_args.link.__dict__[self.weight_name] = self.original_weight

    forward_failed = forward_postprocess
