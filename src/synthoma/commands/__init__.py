"""The command line: one thin file a verb, which reads arguments, calls one function of the package, and prints."""

from synthoma.commands.app import main

__all__ = ["main"]
