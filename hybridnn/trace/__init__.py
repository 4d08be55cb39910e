"""Tracing: record, verify, replay."""
