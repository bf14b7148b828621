"""Combine two modules: X-ray clusters and a concordance of blazars correct the same effective area.

The nominal effective area of telescope B is 5 % too low at 1 keV, and by less at high energies (the injected error).
Two independent experiments recover it in both orders, which must give the same answer:

1. clusters first: spectra of clusters observed with A and B give phi(E) of B and an ensemble of ARFs. The averages of
   the ensemble over energy bands are the prior covariance of the concordance, which infers the remaining correction;
2. concordance first: blazars observed with B and two other instruments give factors of B in two bands, starting from
   the same prior uncertainty tau; they enter the X-ray posterior as an independent measurement of phi(E).

Run it with ``python examples/joined.py [DIRECTORY]``; it takes about a minute and needs no data files.
"""

import sys
from pathlib import Path

import numpy as np

import crosscal
from crosscal import concordance, xray
from crosscal.core.correction import Correction
from crosscal.datasets import write_correction
from crosscal.xray.instrument.ensemble import area_draws

BANDS = {"soft": (0.7, 1.5), "hard": (2.0, 5.0)}
TAU = {"example_b": 0.05, "third": 0.05, "fourth": 0.05}
INJECTED = {"A": 0.05, "mu": 1.0, "sigma": 1.5}
#: Draws of a chain, and knots of phi(E).
DRAWS, KNOTS = 500, 5


def clusters(a, b):
    """Spectra of eight clusters observed with the reference telescope A and with B."""
    model = xray.Model("TBabs*apec", nH=0.05, Abundanc=0.3, Redshift=0.05, free=("kT", "norm", "Abundanc"))
    seen = xray.simulate_clusters(a, b, model, xray.Gaussian(), INJECTED, np.geomspace(3, 9, 8), counts=1e4, seed=1)
    return xray.observations_of(seen)


def blazars(analysed_with):
    """Fluxes of 12 blazars in two bands by B and two other instruments, analysed with an area of B.

    ``analysed_with`` is the factor by which B's area was multiplied before the fluxes were derived, per band.
    """
    rng = np.random.default_rng(2)
    truth = {"third": (0.02, 0.01), "fourth": (-0.02, -0.03), "example_b": np.log(band_factors(injected()))}
    rows = []
    for source in range(12):
        for k, band in enumerate(BANDS):
            flux = rng.normal(-25, 1)
            for instrument, wrong in truth.items():
                used = np.log(analysed_with[k]) if instrument == "example_b" else 0.0
                rows.append(
                    (instrument, f"blazar {source + 1}", band, np.exp(flux + wrong[k] - used + rng.normal(0, 0.02)))
                )
    instrument, source, band, flux = zip(*rows, strict=True)
    return concordance.Comparison.from_cells(instrument, source, band=band, flux=flux, error=0.02 * np.array(flux))


def injected():
    """The injected error of B as a correction without uncertainty."""
    energy = np.geomspace(0.5, 8, 200)
    phi = np.asarray(xray.Gaussian().factor(energy, INJECTED))
    return Correction(energy, phi, np.zeros((200, 200)), "energy", unit="keV")


def band_factors(correction):
    """The factor at the centre of each band."""
    return correction.at([0.5 * (low + high) for low, high in BANDS.values()]).factor


def infer(observations, **known):
    """Posterior of phi(E) of B from the spectra."""
    family = xray.Spline(knots=KNOTS, low=0.7, high=7.0)
    tau = TAU["example_b"]
    return xray.infer_spectra(
        observations, family, trusted="example_a", tau=tau, draws=DRAWS, chains=2, norm_scatter=0.03, seed=3, **known
    )


def clusters_first(observations, b, directory):
    """Order 1: the ensemble of ARFs is the prior of the concordance; the fluxes are derived with the corrected ARF."""
    result = infer(observations)
    areas = area_draws(b, result.correction, 400)
    xray.write_arf_ensemble(directory / "b_ensemble.arf", b, areas)
    means = xray.read_arf_ensemble(directory / "b_ensemble.arf").band_means(BANDS)
    data = blazars(band_factors(result.correction))
    # The other instruments have no ensemble: their bands are independent, with the team's tau.
    prior = concordance.make_prior(data, TAU).covariance.copy()
    full, shrinkage = concordance.covariance_from_draws(
        data, {name: means if name == "example_b" else _from_tau(tau) for name, tau in TAU.items()}
    )
    mine = [i for i, (name, _) in enumerate(data.channels) if name == "example_b"]
    prior[np.ix_(mine, mine)] = full[np.ix_(mine, mine)]
    block = prior[np.ix_(mine, mine)]
    correlation = block[0, 1] / np.sqrt(block[0, 0] * block[1, 1])
    print(f"   correlation of B's bands {correlation:.2f}, shrunk by {100 * shrinkage['example_b']:.1f} %")
    left = concordance.fit(data, covariance=prior, seed=4).correction_for("example_b", BANDS)
    at = result.correction.at(left.coordinate)
    # The remaining correction is conditioned on the clusters, so the factors multiply and the last covariance applies.
    return Correction(
        left.coordinate, at.factor * left.factor, left.covariance, "energy", unit="keV", target="area of B"
    )


def _from_tau(tau):
    return np.exp(tau * np.random.default_rng(5).standard_normal((400, len(BANDS))))


def concordance_first(observations, directory):
    """Order 2: the concordance result is an independent measurement of phi(E) for the X-ray posterior."""
    data = blazars((1.0, 1.0))
    # The prior of B belongs to the X-ray posterior and must not be counted twice: here the others' priors are enough.
    found = concordance.fit(data, tau=TAU | {"example_b": np.inf}, seed=4).correction_for("example_b", BANDS)
    write_correction(directory / "correction_example_b.nc", found)
    return infer(observations, prior_correction=found).correction.at(found.coordinate)


def main(directory):
    """Run both orders and print their factors beside the injected ones."""
    crosscal.enable_x64()
    a, b = xray.example_telescope("a"), xray.example_telescope("b")
    observations = clusters(a, b)
    print("clusters first: ensemble of ARFs -> prior covariance of the concordance")
    first = clusters_first(observations, b, directory)
    print("concordance first: band factors -> prior of phi(E) of the X-ray posterior")
    second = concordance_first(observations, directory)
    truth = band_factors(injected())
    for k, name in enumerate(BANDS):
        print(
            f"   {name}: injected {truth[k]:.4f}; clusters first {first.factor[k]:.4f} +/- {first.sd[k]:.4f}; "
            f"concordance first {second.factor[k]:.4f} +/- {second.sd[k]:.4f}"
        )
    return first, second, truth


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "joined")
    place.mkdir(parents=True, exist_ok=True)
    main(place)
