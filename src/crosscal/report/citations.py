"""BibTeX of the methods and software that a run may use."""

# ruff: noqa: E501 - entries are easier to check unbroken

from __future__ import annotations

BIBLIOGRAPHY: dict[str, str] = {
    "astropy": """@article{astropy2022, author = {{Astropy Collaboration}}, title = {The Astropy Project: Sustaining and
  Growing a Community-oriented Open-source Project and the Latest Major Release (v5.0) of the Core Package},
  journal = {ApJ}, year = 2022, volume = 935, pages = 167, doi = {10.3847/1538-4357/ac7c74}}""",
    "atomdb": """@article{foster2012, author = {Foster, A. R. and Ji, L. and Smith, R. K. and Brickhouse, N. S.},
  title = {Updated Atomic Data and Calculations for X-Ray Spectroscopy}, journal = {ApJ}, year = 2012, volume = 756,
  pages = 128, doi = {10.1088/0004-637X/756/2/128}}""",
    "apec": """@article{smith2001, author = {Smith, R. K. and Brickhouse, N. S. and Liedahl, D. A. and Raymond, J. C.},
  title = {Collisional Plasma Models with APEC/APED: Emission-Line Diagnostics of Hydrogen-like and Helium-like Ions},
  journal = {ApJ}, year = 2001, volume = 556, pages = {L91}, doi = {10.1086/322992}}""",
    "tbabs": """@article{wilms2000, author = {Wilms, J. and Allen, A. and McCray, R.},
  title = {On the Absorption of X-Rays in the Interstellar Medium}, journal = {ApJ}, year = 2000, volume = 542,
  pages = 914, doi = {10.1086/317016}}""",
    "cash": """@article{cash1979, author = {Cash, W.}, title = {Parameter estimation in astronomy through application of the
  likelihood ratio}, journal = {ApJ}, year = 1979, volume = 228, pages = 939, doi = {10.1086/156922}}""",
    "nuts": """@article{hoffman2014, author = {Hoffman, M. D. and Gelman, A.}, title = {The No-U-Turn Sampler: Adaptively
  Setting Path Lengths in Hamiltonian Monte Carlo}, journal = {JMLR}, year = 2014, volume = 15, pages = 1593}""",
    "numpyro": """@article{phan2019, author = {Phan, D. and Pradhan, N. and Jankowiak, M.}, title = {Composable Effects for
  Flexible and Accelerated Probabilistic Programming in NumPyro}, journal = {arXiv:1912.11554}, year = 2019}""",
    "dynesty": """@article{speagle2020, author = {Speagle, J. S.}, title = {dynesty: a dynamic nested sampling package for
  estimating Bayesian posteriors and evidences}, journal = {MNRAS}, year = 2020, volume = 493, pages = 3132,
  doi = {10.1093/mnras/staa278}}""",
    "psis": """@article{vehtari2024, author = {Vehtari, A. and Simpson, D. and Gelman, A. and Yao, Y. and Gabry, J.},
  title = {Pareto Smoothed Importance Sampling}, journal = {JMLR}, year = 2024, volume = 25, pages = 72}""",
    "rhat": """@article{vehtari2021, author = {Vehtari, A. and Gelman, A. and Simpson, D. and Carpenter, B. and
  B{\\"u}rkner, P.-C.}, title = {Rank-Normalization, Folding, and Localization: An Improved R-hat for Assessing
  Convergence of MCMC}, journal = {Bayesian Analysis}, year = 2021, volume = 16, pages = 667,
  doi = {10.1214/20-BA1221}}""",
    "schellenberger": """@article{schellenberger2015, author = {Schellenberger, G. and Reiprich, T. H. and Lovisari, L. and
  Nevalainen, J. and David, L.}, title = {XMM-Newton and Chandra cross-calibration using HIFLUGCS galaxy clusters},
  journal = {A\\&A}, year = 2015, volume = 575, pages = {A30}, doi = {10.1051/0004-6361/201424085}}""",
    "concordance": """@article{chen2019, author = {Chen, Y. and Meng, X.-L. and Wang, X. and van Dyk, D. A. and Marshall, H. L.
  and Kashyap, V. L.}, title = {Calibration Concordance for Astronomical Instruments via Multiplicative Shrinkage},
  journal = {JASA}, year = 2019, volume = 114, pages = 1018, doi = {10.1080/01621459.2018.1528978}}""",
    "concordance-application": """@article{marshall2021, author = {Marshall, H. L. and Chen, Y. and Drake, J. J. and
  Guainazzi, M. and Kashyap, V. L. and Meng, X.-L. and others}, title = {Concordance: In-flight Calibration of X-Ray
  Telescopes without Absolute References}, journal = {AJ}, year = 2021, volume = 162, pages = 254,
  doi = {10.3847/1538-3881/ac230a}}""",
    "pycali": """@article{li2014, author = {Li, Y.-R. and Wang, J.-M. and Hu, C. and Du, P. and Bai, J.-M.},
  title = {A Bayesian Approach to Estimate the Size and Structure of the Broad-line Region in Active Galactic Nuclei
  using Reverberation Mapping Data}, journal = {ApJ}, year = 2014, volume = 786, pages = {L6},
  doi = {10.1088/2041-8205/786/1/L6}}""",
    "drw": """@article{kelly2009, author = {Kelly, B. C. and Bechtold, J. and Siemiginowska, A.}, title = {Are the Variations
  in Quasar Optical Flux Driven by Thermal Fluctuations?}, journal = {ApJ}, year = 2009, volume = 698, pages = 895,
  doi = {10.1088/0004-637X/698/1/895}}""",
    "running-mean": """@article{donnan2021, author = {Donnan, F. R. and Horne, K. and Hern{\\'a}ndez Santisteban, J. V.},
  title = {Bayesian analysis of quasar light curves with a running optimal average: new time delay measurements of
  COSMOGRAIL gravitationally lensed quasars}, journal = {MNRAS}, year = 2021, volume = 508, pages = 5449,
  doi = {10.1093/mnras/stab2832}}""",
    "zucker": """@article{zucker2003, author = {Zucker, S.}, title = {Cross-correlation and maximum-likelihood analysis: a new
  approach to combining cross-correlation functions}, journal = {MNRAS}, year = 2003, volume = 342, pages = 1291,
  doi = {10.1046/j.1365-8711.2003.06633.x}}""",
    "tonry-davis": """@article{tonry1979, author = {Tonry, J. and Davis, M.}, title = {A survey of galaxy redshifts. I.
  Data reduction techniques}, journal = {AJ}, year = 1979, volume = 84, pages = 1511, doi = {10.1086/112569}}""",
    "fitzpatrick": """@article{fitzpatrick1999, author = {Fitzpatrick, E. L.}, title = {Correcting for the Effects of
  Interstellar Extinction}, journal = {PASP}, year = 1999, volume = 111, pages = 63, doi = {10.1086/316293}}""",
    "kurucz": """@misc{kurucz1993, author = {Kurucz, R. L.}, title = {ATLAS9 Stellar Atmosphere Programs and 2 km/s grid},
  howpublished = {Kurucz CD-ROM No. 13}, year = 1993}""",
    "calspec": """@article{bohlin2014, author = {Bohlin, R. C. and Gordon, K. D. and Tremblay, P.-E.}, title = {Techniques and
  Review of Absolute Flux Calibration from the Ultraviolet to the Mid-Infrared}, journal = {PASP}, year = 2014,
  volume = 126, pages = 711, doi = {10.1086/677655}}""",
}

#: Every run stands on these.
ALWAYS = ("astropy",)


def bibtex(keys: tuple[str, ...]) -> str:
    """Return the entries of the given keys, each once, in order; a key without an entry is kept as a comment."""
    return "\n\n".join(BIBLIOGRAPHY.get(key, f"% {key}") for key in dict.fromkeys((*keys, *ALWAYS)))
