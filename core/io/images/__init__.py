"""Image formats: the protocol of a reader, the list of formats, and one module for each."""
