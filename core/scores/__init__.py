"""What scores mean on one telescope."""
