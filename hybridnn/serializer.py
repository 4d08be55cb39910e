"""What ``serialize`` methods are given: something that saves values by name, or one that gives them back."""

__all__ = ["AbstractSerializer", "Deserializer", "Serializer"]


class AbstractSerializer:
    """``serializer(name, value)`` returns the value to go on with; ``serializer[name]`` is the serializer of a part."""

    def __getitem__(self, key):
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def __call__(self, key, value):
        raise NotImplementedError(f"{type(self).__name__} defines no __call__")


class Serializer(AbstractSerializer):
    """Saves; the object that is saved is not changed."""

    def save(self, obj):
        """Save all that ``obj.serialize`` shows."""
        obj.serialize(self)


class Deserializer(AbstractSerializer):
    """Loads; array values are replaced in place."""

    def load(self, obj):
        """Load all that ``obj.serialize`` asks for."""
        obj.serialize(self)
