"""Profiles: a function eager against traced, timed in turn from the same state; ``hnn.profile`` is the function."""
