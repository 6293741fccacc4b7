"""``python -m streammatte``: the command, where its script is not on the path."""

from streammatte.cli.main import process

process()
