from .bosz import fetch_bosz as fetch_bosz
from .calibrator import Calibrator as Calibrator
from .calibrator import calibrate as calibrate
from .curve.apply import apply_curve as apply_curve
from .curve.apply import band_error as band_error
from .curve.combine import combine as combine
from .curve.curve import Curve as Curve
from .frames.files import CalibratedFrame as CalibratedFrame
from .frames.files import read_curve as read_curve
from .frames.reading import read_frame as read_frame
from .frames.reading import write_frame as write_frame
from .frames.spectra import from_specutils as from_specutils
from .frames.spectra import to_specutils as to_specutils
from .job_options import FluxcalJob as FluxcalJob
from .kspecdr import apply_fluxcal as apply_fluxcal
from .night.arms import calibrate_arms as calibrate_arms
from .night.night import NightCalibration as NightCalibration
from .night.night import transfer_function as transfer_function
from .night.shared import calibrate_frames as calibrate_frames
from .options import Options as Options
from .quality import Limits as Limits
from .result import FluxCalibration as FluxCalibration
from .stars.catalogue import read_catalogue as read_catalogue
from .stars.dust import DustMap as DustMap
from .stars.dust import read_dust_map as read_dust_map
from .stars.dust import with_dust as with_dust
from .stars.extinction import SiteExtinction as SiteExtinction
from .stars.filters import load_filter as load_filter
from .stars.photometry import Filter as Filter
from .stars.photometry import ab_magnitude as ab_magnitude
from .stars.photometry import vega_to_ab as vega_to_ab
from .stars.sites import read_site as read_site
from .stars.template_files import load_templates as load_templates
from .stars.templates import TemplateLibrary as TemplateLibrary
from .types import CalibrationVector as CalibrationVector
from .types import Catalogue as Catalogue
from .types import Fibres as Fibres
from .types import Frame as Frame
from .types import StarFit as StarFit
from .types import StarStatus as StarStatus

__all__ = [
    "CalibratedFrame",
    "CalibrationVector",
    "Calibrator",
    "Catalogue",
    "Curve",
    "DustMap",
    "Fibres",
    "Filter",
    "FluxCalibration",
    "FluxcalJob",
    "Frame",
    "Limits",
    "NightCalibration",
    "Options",
    "SiteExtinction",
    "StarFit",
    "StarStatus",
    "TemplateLibrary",
    "ab_magnitude",
    "apply_curve",
    "apply_fluxcal",
    "band_error",
    "calibrate",
    "calibrate_arms",
    "calibrate_frames",
    "combine",
    "fetch_bosz",
    "from_specutils",
    "load_filter",
    "load_templates",
    "read_catalogue",
    "read_curve",
    "read_dust_map",
    "read_frame",
    "read_site",
    "to_specutils",
    "transfer_function",
    "vega_to_ab",
    "with_dust",
    "write_frame",
]
