"""The reference catalogue of a frame, made from a deeper table or a service of archives."""
