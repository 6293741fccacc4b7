"""The command: one module a subcommand, help, and what the terminal shows."""
