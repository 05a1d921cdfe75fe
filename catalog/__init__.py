"""What every room speaks: frames, catalogues, data sets, and the files they live in."""
