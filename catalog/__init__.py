"""What every room speaks: frames, catalogues and data sets, and the files they live in.

Positions are 0-based with integers at pixel centres, x the column and y the
row; whatever a file counts from 1 is converted when it is read or written.
"""

from catalog.background import Background, estimate_background
from catalog.coco import write_coco
from catalog.dataset import Dataset, Entry, Split, entry_of, open_dataset, write_manifest
from catalog.detector import Detector
from catalog.errors import BadInputError, SkyduelError
from catalog.files import atomic_path, safe_name
from catalog.frame import Frame
from catalog.images import frame_name, read_frame, write_frame
from catalog.packed import pack_catalogs
from catalog.photometry import (
    PillSums,
    aperture_radius,
    forced_photometry,
    pill_sums,
    segment_of,
    with_flux,
)
from catalog.pixel_facts import PIXEL_FACTS, gaussian_sharpness, pixel_facts
from catalog.regions import write_regions
from catalog.seams import join_sections
from catalog.sections import Cutting, Mosaic, PackedMask, Section, open_mosaic
from catalog.settings import build_settings, nearest, settings_error
from catalog.sky import pixel_positions, with_sky
from catalog.sources import KINDS, SCHEMA, Catalog
from catalog.tables import TABLE_ENDINGS, read_catalog, write_catalog

__all__ = [
    "KINDS",
    "PIXEL_FACTS",
    "SCHEMA",
    "TABLE_ENDINGS",
    "Background",
    "BadInputError",
    "Catalog",
    "Cutting",
    "Dataset",
    "Detector",
    "Entry",
    "Frame",
    "Mosaic",
    "PackedMask",
    "PillSums",
    "Section",
    "SkyduelError",
    "Split",
    "aperture_radius",
    "atomic_path",
    "build_settings",
    "entry_of",
    "estimate_background",
    "forced_photometry",
    "frame_name",
    "gaussian_sharpness",
    "join_sections",
    "nearest",
    "open_dataset",
    "open_mosaic",
    "pack_catalogs",
    "pill_sums",
    "pixel_facts",
    "pixel_positions",
    "read_catalog",
    "read_frame",
    "safe_name",
    "segment_of",
    "settings_error",
    "with_flux",
    "with_sky",
    "write_catalog",
    "write_coco",
    "write_frame",
    "write_manifest",
    "write_regions",
]
