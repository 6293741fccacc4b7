"""``python -m streammatte``: the command, where its script is not on the path."""

import sys

from streammatte.cli.main import main

sys.exit(main())
