"""How the bundled model is made: its backbone, its pictures, its training. Nothing here is in the wheel."""
