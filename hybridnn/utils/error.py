"""Parts of the texts of errors."""

__all__: list[str] = []


def _format_array_props(arrays):
    """``"(2, 3):float32, None"`` for a list of arrays."""
    return ", ".join("None" if a is None else f"{a.shape}:{a.dtype.name}" for a in arrays)
