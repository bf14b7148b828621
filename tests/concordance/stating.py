"""Problems stated and sampled in one line, for tests."""

from crosscal.concordance import Noise, Sampling, Sources, make_prior
from crosscal.concordance import make_model as model_of
from crosscal.concordance.routes import sample


def make_model(
    data, *, tau=None, mean=0.0, covariance=None, areas="normal", noise=None, variability=False, drift=None, df=None,
    beta=None, **scatter,
):  # fmt: skip
    """State a problem by the flat arguments of `fit`."""
    prior = make_prior(data, tau, mean=mean, covariance=covariance, areas=areas)
    return model_of(
        data, prior, Noise(kind=noise, **scatter), Sources(variability=variability, drift=drift), df=df, beta=beta
    )


def run(model, route="auto", *, seed=0, wanted=None, **sizes):
    """Sample a problem by the flat arguments of `fit`."""
    return sample(model, Sampling(route=route, **sizes), seed=seed, wanted=wanted)
