"""The table of modifier families; other packages add to it through the entry points ``crosscal.modifiers``."""

from crosscal.core.registry import Registry

_HERE = "crosscal.xray.modifiers"

MODIFIERS = Registry(
    "modifier",
    {
        "grey": f"{_HERE}.grey:Grey",
        "gaussian": f"{_HERE}.gaussian:Gaussian",
        "spline": f"{_HERE}.spline:BSpline",
    },
)
