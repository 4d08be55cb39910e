"""What ``serialize`` methods are given: something that saves values by name, or one that gives them back."""

from hybridnn.errors import InvalidType

__all__ = ["AbstractSerializer", "Deserializer", "Serializer"]


class AbstractSerializer:
    """``serializer(name, value)`` returns the value to go on with; ``serializer[name]`` is the serializer of a part."""

    def __getitem__(self, key):
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __call__(self, key, value):
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


def _check(obj, usage):
    if not hasattr(obj, "serialize"):
        raise InvalidType(usage.partition("_")[0], "a link, an optimizer or what else has serialize", type(obj).__name__, usage)


class Serializer(AbstractSerializer):
    """Saves; the object that is saved is not changed."""

    def save(self, obj):
        """Save all that ``obj.serialize`` shows."""
        _check(obj, "save_npz(file, model)")
        obj.serialize(self)


class Deserializer(AbstractSerializer):
    """Loads; array values are replaced in place."""

    def load(self, obj):
        """Load all that ``obj.serialize`` asks for."""
        _check(obj, "load_npz(file, model)")
        obj.serialize(self)
