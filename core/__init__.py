"""Frames, catalogues and data sets, their files, and measurements common to all detectors.

Positions are 0-based with integers at pixel centres, x the column and y the
row; 1-based positions of files are converted when they are read or written.
"""

from skyduel.core.catalog import KINDS, SCHEMA, Catalog
from skyduel.core.columnar_catalogs import pack_catalogs
from skyduel.core.detector import Detector, DetectorInfo, detector_info
from skyduel.core.errors import BadInputError, SkyduelError
from skyduel.core.frame import Frame
from skyduel.core.io.atomic_files import atomic_path, safe_name
from skyduel.core.io.coco import write_coco
from skyduel.core.io.dataset import Dataset, Entry, Split, entry_of, open_dataset, write_manifest
from skyduel.core.io.ds9_regions import write_regions
from skyduel.core.io.fits_frames import write_frame
from skyduel.core.io.frames import frame_name, read_frame
from skyduel.core.io.tables import TABLE_ENDINGS, read_catalog, write_catalog
from skyduel.core.measure.aperture_photometry import (
    aperture_radius,
    forced_photometry,
)
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.pixel_features import PIXEL_FEATURES, gaussian_sharpness, pixel_features
from skyduel.core.registry import available, make_detector
from skyduel.core.sections.large_image import (
    LargeImage,
    Section,
    Sectioning,
    open_large_image,
)
from skyduel.core.sections.merge_sections import merge_sections
from skyduel.core.settings import build_settings
from skyduel.core.wcs import add_sky_positions, pixel_positions

__all__ = [
    "KINDS",
    "PIXEL_FEATURES",
    "SCHEMA",
    "TABLE_ENDINGS",
    "Background",
    "BadInputError",
    "Catalog",
    "Dataset",
    "Detector",
    "DetectorInfo",
    "Entry",
    "Frame",
    "LargeImage",
    "Section",
    "Sectioning",
    "SkyduelError",
    "Split",
    "add_sky_positions",
    "aperture_radius",
    "atomic_path",
    "available",
    "build_settings",
    "detector_info",
    "entry_of",
    "estimate_background",
    "forced_photometry",
    "frame_name",
    "gaussian_sharpness",
    "make_detector",
    "merge_sections",
    "open_dataset",
    "open_large_image",
    "pack_catalogs",
    "pixel_features",
    "pixel_positions",
    "read_catalog",
    "read_frame",
    "safe_name",
    "write_catalog",
    "write_coco",
    "write_frame",
    "write_manifest",
    "write_regions",
]
