"""Tables of the report as plain data."""
