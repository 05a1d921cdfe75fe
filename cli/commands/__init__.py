"""One module a subcommand, each with its `NAME` and its `command`."""
