"""A user's script, for `mypy --strict` only: the types at the front door, and what it must refuse.

`.ci/run` checks it against the installed package. A call that is wrong here carries an ignore, and `--strict` refuses
an ignore that is not needed: if the wrong call were accepted, the check would fail.
"""

from typing import assert_type

import crosscal
from crosscal import concordance, fluxcal, lightcurves, xray
from crosscal.concordance.types import Comparison
from crosscal.jobs.finished import Run
from crosscal.xray.correction.result import CalibrationResult
from crosscal.xray.fitting.result import FitResult

data = concordance.read_table("fluxes.csv")
assert_type(data, Comparison)
fit = concordance.fit(data, tau=0.05, seed=1)
assert_type(fit, concordance.ConcordanceFit)
assert_type(fit.answer, str)
concordance.fit(data, nonsense=1)  # type: ignore[call-arg]
concordance.fit(data, noise="normal")  # type: ignore[arg-type]

pairs = xray.read_pairs("clusters.csv")
emulator = xray.CalibrationEmulator.load("emulator.npz")
result = xray.infer(pairs, emulator, trusted="pn", seed=1)
assert_type(result, CalibrationResult)
xray.infer(pairs, emulator, nonsense=1)  # type: ignore[call-arg]
response = xray.read_response("source.rmf", "source.arf")
spectrum_fit = xray.fit(xray.read_spectrum("source.pha"), response, xray.Model("apec"))
assert_type(spectrum_fit, FitResult)

curve = lightcurves.intercalibrate(lightcurves.read("curves.csv"), kernel="drw")
assert_type(curve, lightcurves.Intercalibration)
lightcurves.intercalibrate(lightcurves.read("curves.csv"), nonsense=1)  # type: ignore[call-arg]

calibration = fluxcal.calibrate("frame.fits", "standards.csv", ebv=0.02)
assert_type(calibration, fluxcal.FluxCalibration)
fluxcal.calibrate("frame.fits", "standards.csv", nonsense=1)  # type: ignore[call-arg]

run = crosscal.run("job.toml", output="out", seed=1)
assert_type(run, Run)
