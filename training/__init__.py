"""How the bundled model is made: its backbone, its pictures, its training run. Not part of the wheel."""
