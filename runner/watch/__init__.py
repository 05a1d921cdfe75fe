"""A warm process that writes a catalogue of every frame that is finished in a folder."""
