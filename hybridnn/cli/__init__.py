"""The command line: ``python -m hybridnn demo | profile SCRIPT | explain SCRIPT | cache show | cache clear | info``."""
import argparse

from hybridnn.cli import cache, demo, info, scripts

__all__ = ["main"]


def main(argv=None):
    """Run a command; returns the exit code."""
    args = _parser().parse_args(argv)
    return args.run(args)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m hybridnn", description="Look at what hybridnn does.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "demo", "train a small network, eagerly and traced", lambda args: demo.demo())
    profile = _command(commands, "profile", "run a script, then profile its traced functions",
                       lambda args: scripts.profile_script(args.script, args.arguments, args.repeat, args.html))
    profile.add_argument("--repeat", type=_positive, default=50, help="timed calls of each kind (default: 50)")
    profile.add_argument("--html", metavar="FOLDER", help="also write a page per function into this folder")
    explain = _command(commands, "explain", "run a script, then tell what its traced functions have learned",
                       lambda args: scripts.explain_script(args.script, args.arguments))
    for parser_of in (profile, explain):
        parser_of.add_argument("script", metavar="SCRIPT", help="a Python file")
        parser_of.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="its arguments")
    kept = _command(commands, "cache", "the kernels kept on disk", None).add_subparsers(required=True, metavar="show|clear")
    _command(kept, "show", "folder, number and size of files", lambda args: cache.show())
    _command(kept, "clear", "delete them", lambda args: cache.clear())
    _command(commands, "info", "versions, CPU, libraries, cache, CUDA", lambda args: info.info())
    return parser


def _command(commands, name, text, run):
    parser = commands.add_parser(name, help=text, description=text)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return value
