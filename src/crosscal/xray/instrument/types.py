"""The types of this package in one place."""

from crosscal.xray.instrument.response import Response
from crosscal.xray.instrument.spectrum import Spectrum

__all__ = ["Response", "Spectrum"]
