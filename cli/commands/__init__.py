"""The subcommands of `skyduel`: one module per command."""
