"""Many clips and pictures, into one folder."""
