"""The command line `skyduel`, one module per subcommand, and the pytest plugin."""
