"""Timelines as trace events, the JSON format that chrome://tracing and Perfetto read."""
import json

__all__ = ["chrome_trace"]

TRACKS = {"eager": 1, "traced": 2}


def chrome_trace(report):
    """The JSON text: one process named after the function, a thread for eager and one for traced calls, times in microseconds."""
    names = [_name("thread_name", tid, track) for track, tid in TRACKS.items()]
    events = [_name("process_name", 0, f"profile of {report.name}"), *names, *[_event(span) for span in report.spans]]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}, indent=1)


def _name(what, tid, name):
    return {"ph": "M", "name": what, "pid": 1, "tid": tid, "args": {"name": name}}


def _event(span):
    args = {"steps": [" ".join([s.kind, s.name, *s.lines[:1]]) for s in span.steps]} if span.steps else {}
    return {"ph": "X", "name": span.name, "cat": span.track, "pid": 1, "tid": TRACKS[span.track], "ts": span.start * 1e6,
            "dur": (span.end - span.start) * 1e6, "args": args}
