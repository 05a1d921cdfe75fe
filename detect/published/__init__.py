"""The network of Jia, Liu & Sun (2020), as published and with its faults mended."""
