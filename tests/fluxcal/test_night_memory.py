"""What is kept of the frames of a night, and what is not computed twice."""

from __future__ import annotations

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from crosscal.fluxcal import Calibrator, FluxcalJob, read_frame
from crosscal.fluxcal.frames.source import FrameFile
from crosscal.fluxcal.job import calibrate_files, make_calibrator
from crosscal.fluxcal.stars import fitting
from crosscal.fluxcal.stars.arm import Arm
from crosscal.fluxcal.stars.colours import at_nodes, node_shares, reddened, star_photometry
from crosscal.jobs.options import validate
from crosscal.jobs.stages import Stages


def arrays_of(value):
    """All arrays in a value of dataclasses and collections."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, tuple | list):
        return [a for item in value for a in arrays_of(item)]
    if is_dataclass(value) and not isinstance(value, type):
        return [a for f in fields(value) for a in arrays_of(getattr(value, f.name))]
    return []


@pytest.mark.thorough
def test_a_result_keeps_no_array_of_its_frame(raw, truth, library, filters, options):
    frame = read_frame(raw)
    result = Calibrator(truth.catalogue, library, filters, options).calibrate(frame, file=FrameFile(raw))
    found = arrays_of(result)
    assert result.vectors
    assert len(found) > 100
    for array in found:
        for whole in (frame.flux, frame.variance, frame.wavelength):
            assert not np.shares_memory(array, whole)
    # All vectors have one grid, not a copy each.
    assert all(np.shares_memory(v.wavelength, result.info.grid) for v in result.vectors)


@pytest.mark.thorough
def test_frames_without_a_field_are_stored_once(content, tmp_path):
    frames = [content["data"]["frames"][k] for k in (0, 2)]
    given = {**content, "leave_one_out": True, "data": {"frames": frames}, "method": {"fwhm": 5.0}}
    job = validate(FluxcalJob, given)
    (tmp_path / "run").mkdir()
    first = calibrate_files(make_calibrator(job), job, Stages(tmp_path / "run"))
    assert all(r.curve.plate is None and r.held_out for r in first.results)
    size = {p.name: p.stat().st_size for p in (tmp_path / "run" / "stages").iterdir()}
    assert size["fields-over-the-plate.npz"] < 0.1 * size["frame-a-fits.npz"]
    # Loaded, the results are those that were made.
    again = calibrate_files(make_calibrator(job), job, Stages(tmp_path / "run", complete=True))
    for made, loaded in zip(first.results, again.results, strict=True):
        np.testing.assert_array_equal(made.curve.value, loaded.curve.value)
        np.testing.assert_array_equal(made.vectors[0].rate, loaded.vectors[0].rate)
        assert [h.grey for h in made.held_out] == [h.grey for h in loaded.held_out]
        assert str(made.quality) == str(loaded.quality)
        assert [s.status for s in made.stars] == [s.status for s in loaded.stars]


def test_colours_at_many_reddenings_at_once(truth, library, filters, result, options):
    star = result.used[0]
    own = star_photometry(star, truth.catalogue, filters, library, options, 0.1)
    bands = tuple(filters[int(b)] for b in own.index)
    ebv = np.array([0.0, 0.13, 0.7])
    nodes = at_nodes(library, bands, options.law)
    found = own.colours(nodes, node_shares(ebv))
    for row, magnitudes in zip(found, reddened(library, bands, ebv, options.law), strict=True):
        explicit = type(own)(own.index, own.magnitude, own.error, magnitudes).offsets()[2]
        # Sums of some thousand, of both signs, in double precision.
        np.testing.assert_allclose(row, explicit, rtol=1e-9, atol=1e-8)


def test_known_scores_are_not_computed_again(truth, library, filters, result, options, monkeypatch):
    frame, stars = truth.frame, result.used[:3]
    calibrator = Calibrator(truth.catalogue, library, filters, options)
    rows = np.array([s.fibre for s in stars])
    arms = [Arm.of(frame, rows, calibrator.prepared(frame), None, options)]
    positions = [arms[0].positions(np.array([s.rv for s in stars]))]
    candidates = np.arange(0, len(library), 40)
    plain = fitting._scores(arms, positions, candidates)
    known = np.full(plain.shape, np.nan)
    known[:2, candidates[:10]] = plain[:2, candidates[:10]]
    asked = []
    scores = Arm.scores

    def counted(arm, position, chosen):
        asked.append(len(position) * len(chosen))
        return scores(arm, position, chosen)

    monkeypatch.setattr(Arm, "scores", counted)
    found = fitting._scores(arms, positions, candidates, known)
    assert sum(asked) == 3 * candidates.size - 20
    np.testing.assert_array_equal(np.isnan(found), np.isnan(plain))
    np.testing.assert_array_equal(found[:2, candidates[:10]], plain[:2, candidates[:10]])
    # Single precision about the mean of the templates that are scored together, and that mean is another.
    np.testing.assert_allclose(found, plain, rtol=1e-3)
