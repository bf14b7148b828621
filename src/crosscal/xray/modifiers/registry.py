"""The table of modifier families; other packages add to it through the entry points ``crosscal.modifiers``."""

from crosscal.core.registry import Registry

_HERE = "crosscal.xray.modifiers"

MODIFIERS = Registry(
    "modifier",
    {
        "grey": f"{_HERE}.grey:Grey",
        "gaussian": f"{_HERE}.gaussian:Gaussian",
        "spline": f"{_HERE}.spline:BSpline",
        "gaussian-process": f"{_HERE}.gaussian_process:GaussianProcess",
        "polynomial": f"{_HERE}.polynomial:Polynomial",
        "broken-power-law": f"{_HERE}.powerlaw:BrokenPowerLaw",
        "pca": f"{_HERE}.pca:PCA",
        "contamination": f"{_HERE}.contamination:Contamination",
        "edge": f"{_HERE}.edge:EdgeDepth",
        "step": f"{_HERE}.edge:Step",
        "gain": f"{_HERE}.gain:Gain",
        "matrix-scaling": f"{_HERE}.gain:MatrixScaling",
        "function": f"{_HERE}.user:UserFunction",
        "table": f"{_HERE}.table:UserTable",
        "product": f"{_HERE}.combine:Product",
        "sum": f"{_HERE}.combine:Sum",
    },
)
