"""Read and write frames, catalogues and data sets: FITS, tables, DS9 regions, COCO."""
