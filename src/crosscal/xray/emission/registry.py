"""The spectral components by XSPEC name: one line each."""

from crosscal.core.registry import Registry

_HERE = "crosscal.xray.emission"

MODELS = Registry(
    "model",
    {
        "apec": f"{_HERE}.apec:Apec",
        "vapec": f"{_HERE}.apec:Vapec",
        "bapec": f"{_HERE}.apec:Bapec",
        "TBabs": f"{_HERE}.absorption:TBabs",
        "phabs": f"{_HERE}.absorption:Phabs",
        "constant": f"{_HERE}.simple:Constant",
        "powerlaw": f"{_HERE}.simple:PowerLaw",
        "bremss": f"{_HERE}.bremss:Bremss",
        "gaussian": f"{_HERE}.simple:Gaussian",
        "zashift": f"{_HERE}.simple:Zashift",
    },
)
