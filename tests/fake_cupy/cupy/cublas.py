"""Its libraries are there."""
