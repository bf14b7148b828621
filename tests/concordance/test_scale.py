"""Many sources and instruments: the expanded likelihood, sums over chunks of a table on disk, factors by panels."""

import numpy as np
import pytest

from crosscal.concordance import Comparison, fit_parquet, read_table, simulate
from crosscal.concordance import chunks as chunked
from crosscal.concordance import parquet as long_tables
from crosscal.concordance.elimination import cholesky
from crosscal.concordance.expansion import expand
from crosscal.concordance.expansion_sums import column_sums
from crosscal.core.errors import DataFileError, FitError, InputError, UnknownNameError

from .stating import make_model, run


def test_cholesky_by_panels_is_the_plain_one():
    x = np.random.default_rng(1).normal(size=(230, 300))
    matrix = x @ x.T
    root, good = cholesky(matrix)
    assert good
    assert np.allclose(root, np.linalg.cholesky(matrix), rtol=1e-10)
    assert not cholesky(matrix - 1e4 * np.eye(230))[1]


@pytest.mark.parametrize("kind", ["quoted", "quoted+excess"])
def test_derivatives_of_the_sums_are_those_of_differences(kind):
    data = simulate(4, 7, sigma=0.1, quoted=0.08, filled=0.8, seed=3).data
    point = np.array([0.1, -0.05, 0.02, 0.03, 0.01, 0.02, 0.005, 0.015])

    def sums(x):
        gradient, curvature = np.zeros(8), np.zeros((8, 8))
        value = column_sums(
            data.indptr, data.row, data.log_rate, data.variance, 0.5, kind != "quoted", x[:4].copy(), x[4:].copy(),
            True, gradient, curvature,
        )  # fmt: skip
        return value, gradient, np.tril(curvature) + np.tril(curvature, -1).T

    _, gradient, curvature = sums(point)
    steps = 1e-6 * np.eye(8)
    slopes = [(sums(point + e)[0] - sums(point - e)[0]) / 2e-6 for e in steps]
    bends = [(sums(point + e)[1] - sums(point - e)[1]) / 2e-6 for e in steps]
    assert np.allclose(gradient, slopes, rtol=1e-5, atol=1e-6 * np.abs(gradient).max())
    assert np.allclose(curvature, bends, rtol=1e-5, atol=1e-6 * np.abs(curvature).max())


def test_sums_are_the_closed_form():
    from crosscal.concordance.algebra import closed_form
    from crosscal.concordance.expansion import sums_of

    case = simulate(5, 40, sigma=1e-9, quoted=0.05, filled=0.7, seed=3)
    model = make_model(case.data, variance="quoted")
    exact = closed_form(case.data, model.prior, case.data.variance)
    found = expand(sums_of(case.data, "quoted"), model.prior, model.variance, np.zeros(5), np.zeros(5))
    assert np.allclose(found.precision[:5, :5] + model.prior.precision, exact.precision, rtol=1e-9)
    # Newton's steps end when they are below 0.03 sd, and a quadratic ends after one.
    assert np.allclose(found.b, exact.mean, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.05, 0.002])
def test_expansion_is_the_gibbs_sampler(sigma):
    case = simulate(4, 6000, sigma=[sigma, 0.03, 0.02, 0.04], quoted=0.05, filled=0.8, seed=3)
    model = make_model(case.data)
    fast = run(model, "expansion", seed=1, draws=4000, warmup=200, chains=2)
    slow = run(model, "gibbs", seed=1, draws=1500, warmup=200, chains=2)
    assert fast.converged
    for one, other in ((fast.b, slow.b), (fast.s, slow.s)):
        a, b = one.reshape(-1, 4), other.reshape(-1, 4)
        if one is fast.b:
            a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
        # 3000 draws of an excess whose autocorrelation is about 10.
        assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) < 0.2 * b.std(axis=0))
        assert np.allclose(a.std(axis=0), b.std(axis=0), rtol=0.15)


def test_expansion_says_where_it_does_not_hold():
    few = make_model(simulate(3, 6, sigma=0.05, seed=3).data)
    with pytest.raises(FitError, match="no maximum in its expansion"):
        run(few, "expansion", seed=1, draws=200, chains=1)
    some = run(make_model(simulate(3, 30, sigma=0.05, seed=3).data), "expansion", seed=1, draws=200, chains=1)
    assert not some.converged
    assert "route = 'gibbs'" in some.messages[0]
    with pytest.raises(InputError, match="the expansion takes log-normal noise"):
        run(make_model(few.data, noise="log-t"), "expansion")


def test_a_search_without_end_is_told(monkeypatch):
    monkeypatch.setattr("crosscal.concordance.expansion.MOST_STEPS", 1)
    model = make_model(simulate(3, 60, sigma=0.05, quoted=0.05, seed=3).data)
    with pytest.raises(FitError, match="maximum of the posterior"):
        run(model, "expansion")


def parquet(path, sources=60, group=50, order=None, error=0.02):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(1)
    j, i = np.nonzero(rng.random((sources, 4)) < 0.8)
    y = rng.normal(0, 0.05, 4)[i] + rng.normal(size=sources)[j] + rng.normal(0, 0.03, len(i))
    rows = np.arange(len(i)) if order is None else order(len(i))
    table = pa.table({"instrument": np.array(["a", "b", "c", "d"])[i][rows], "source": j[rows], "log_flux": y[rows],
                      "log_err": np.full(len(i), error)})  # fmt: skip
    pq.write_table(table, path, row_group_size=group)
    return path


def test_chunks_hold_every_source_once(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "LEAST_ROWS", 1)
    path = parquet(tmp_path / "x.parquet", group=17)
    whole = read_table(path, log_error="log_err")
    request = chunked.Request(
        "instrument", "source", None, None, "log_flux", None, "log_err", *[None] * 5, False, *[None] * 7, "", ""
    )
    table = chunked.ChunkedTable.open(path, request)
    parts = [table.read(k) for k in range(len(table.chunks))]
    assert len(parts) > 5

    def cells(data):
        return {
            (data.columns[j], data.channels[i]): y for i, j, y in zip(data.row, data.column, data.log_rate, strict=True)
        }

    together = [cells(p) for p in parts]
    assert {k: v for one in together for k, v in one.items()} == cells(whole)
    assert sum(map(len, together)) == whole.n_cells
    assert [c for p in parts for c in p.columns] == list(whole.columns)


def test_a_table_in_chunks_is_the_table_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "LEAST_ROWS", 100)
    path = parquet(tmp_path / "x.parquet", sources=400, group=60)
    found = fit_parquet(path, log_error="log_err", variance="quoted", tau=0.05, draws=500, seed=1)
    model = make_model(read_table(path, log_error="log_err"), variance="quoted")
    exact = run(model, "closed-form", seed=1, draws=500)
    a, b = found.log_factor, exact.b.reshape(-1, 4)
    # 2000 independent draws each.
    assert np.allclose(a.mean(axis=0), b.mean(axis=0), atol=0.15 * b.std(axis=0).max())
    assert np.allclose(np.cov(a.T), np.cov(b.T), rtol=0.3, atol=0.1 * np.cov(b.T).max())
    assert found.n_cells == model.data.n_cells
    assert "chunks of 400 sources" in found.diagnostics or "chunks of 399 sources" in found.diagnostics
    assert found.summary().colnames[0] == "instrument"
    assert found.correction.draws.shape == (2000, 4)


@pytest.mark.slow
def test_any_executor_has_the_same_bits(tmp_path, monkeypatch):
    path = parquet(tmp_path / "x.parquet", sources=400_000, group=100_000)
    results = [fit_parquet(path, log_error="log_err", seed=1, executor=name, **options)
               for name, options in (("serial", {}), ("local", {"workers": 2}), ("dask", {"workers": 2}))]  # fmt: skip
    for other in results[1:]:
        assert np.array_equal(results[0].log_factor, other.log_factor)


def test_what_chunks_cannot_do_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(chunked, "LEAST_ROWS", 1)
    mixed = parquet(tmp_path / "mixed.parquet", order=lambda n: np.random.default_rng(1).permutation(n))
    with pytest.raises(DataFileError, match="not sorted by source"):
        fit_parquet(mixed, log_error="log_err")
    within = parquet(tmp_path / "within.parquet", group=10_000, order=lambda n: np.arange(n) * 7 % n)
    with pytest.raises(DataFileError, match="not sorted by source"):
        fit_parquet(within, log_error="log_err")
    path = parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="several columns name the sources"):
        fit_parquet(path, source=["source", "instrument"])
    with pytest.raises(InputError, match="nothing fixes the common area factor"):
        fit_parquet(path, log_error="log_err", tau=np.inf, variance="quoted")
    with pytest.raises(InputError, match="an estimated tau or additive values"):
        fit_parquet(path, log_error="log_err", tau="estimate")
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"instrument": ["a", "b"] * 4, "source": [1] * 8, "log_flux": np.zeros(8)}),
                   tmp_path / "one.parquet", row_group_size=2)  # fmt: skip
    with pytest.raises(DataFileError, match="fills whole row groups"):
        fit_parquet(tmp_path / "one.parquet")
    pq.write_table(pa.table({"instrument": ["a", "b"], "source": [1, 1], "log_flux": np.zeros(2)}),
                   tmp_path / "bare.parquet", write_statistics=False)  # fmt: skip
    with pytest.raises(DataFileError, match="does not say which sources"):
        fit_parquet(tmp_path / "bare.parquet")


def test_chunks_take_the_arguments_of_the_reader(tmp_path, monkeypatch):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(chunked, "LEAST_ROWS", 100)
    rng = np.random.default_rng(1)
    j, band, i = (x.ravel() for x in np.meshgrid(np.arange(80), [0, 1], np.arange(3), indexing="ij"))
    sd = np.array([20.0, 0.02, 0.02])[i]
    flux = np.where(i == 0, 1e3, 1.0) * (100 + rng.normal(size=len(i)))
    columns = {
        "inst": np.array(["PN", "M1", "M2"])[i], "mode": np.full(len(i), "FF"), "source": j,
        "band": np.array(["soft", "hard"])[band], "flux": flux, "low": sd, "high": 1.5 * sd,
        "unit": np.where(i == 0, "uJy", "mJy"), "quality": np.where(j < 40, 1, 0), "note": np.full(len(i), "x"),
    }  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=60)
    same = {"instrument": ["inst", "mode"], "band": "band", "error": ["low", "high"], "unit": "unit",
            "flux_unit": "mJy", "select": {"quality": 0}, "rename": {"PN FF": "pn"}, "confidence": 0.9}  # fmt: skip
    found = fit_parquet(tmp_path / "t.parquet", variance="quoted", draws=500, **same)
    data = read_table(tmp_path / "t.parquet", **same)
    exact = run(make_model(data, variance="quoted"), "closed-form", seed=1, draws=500).b.reshape(-1, 6)
    order = [found.instruments.index(name) for name in data.channel_names]
    assert sorted(found.instruments) == sorted(data.channel_names)
    assert found.n_cells == data.n_cells == 240
    assert np.allclose(found.log_factor[:, order].mean(axis=0), exact.mean(axis=0), atol=0.15 * exact.std(axis=0).max())
    assert "Unused columns: note." in found.remarks
    with pytest.raises(DataFileError, match="no row is selected"):
        fit_parquet(tmp_path / "t.parquet", **(same | {"select": {"quality": 7}}))
    with pytest.raises(UnknownNameError, match="unknown instrument 'pn'"):
        fit_parquet(tmp_path / "t.parquet", **(same | {"rename": {"pn": "PN"}}))
    with pytest.raises(InputError, match="'PN FF', 'pn ff' differ by case"):
        fit_parquet(tmp_path / "t.parquet", **(same | {"rename": {"M1 FF": "pn ff"}}))


@pytest.mark.parametrize("read", [fit_parquet, read_table])
def test_long_tables_overlook_no_units_and_limits(tmp_path, monkeypatch, read):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(long_tables, "BATCH", 3)
    columns = {"instrument": ["a", "b"] * 3, "source": [1, 1, 2, 2, 3, 3], "flux": [1.0, 1.1, 2.0, 2.1, 3.0, 3.1],
               "e": [0.1] * 6, "unit": ["mJy"] * 4 + ["uJy"] * 2}  # fmt: skip
    pq.write_table(pa.table(columns), tmp_path / "units.parquet")
    with pytest.raises(DataFileError, match="column 'unit' holds several units"):
        read(tmp_path / "units.parquet", error="e")
    flags = columns | {"unit": ["mJy"] * 6, "l_flux": ["", "", "<", "", "", ""]}
    pq.write_table(pa.table(flags), tmp_path / "flags.parquet")
    if read is read_table:
        assert read_table(tmp_path / "flags.parquet", error="e").limit.tolist() == [0, 0, 1, 0, 0, 0]
    else:
        with pytest.raises(InputError, match="is a limit"):
            fit_parquet(tmp_path / "flags.parquet", error="e")


def test_repeated_measurements_in_chunks(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng = np.random.default_rng(1)
    j, i = np.repeat(np.arange(60), 3), np.tile([0, 0, 1], 60)
    y = rng.normal(size=60)[j] + rng.normal(0, 0.05, len(i))
    columns = {"instrument": np.array(["a", "b"])[i], "source": j, "log_flux": y, "e": np.full(len(i), 0.05)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet", row_group_size=50)
    with pytest.raises(InputError, match="repeats = true"):
        fit_parquet(tmp_path / "t.parquet", log_error="e")
    found = fit_parquet(tmp_path / "t.parquet", log_error="e", repeats=True, variance="quoted", draws=500)
    data = read_table(tmp_path / "t.parquet", log_error="e", repeats=True)
    exact = run(make_model(data, variance="quoted"), "closed-form", seed=1, draws=500).b.reshape(-1, 2)
    assert np.allclose(found.log_factor.std(axis=0), exact.std(axis=0), rtol=0.1)
    assert np.allclose(found.log_factor.mean(axis=0), exact.mean(axis=0), atol=0.15 * exact.std())


def test_long_parquet_tables_are_read_in_batches(tmp_path, monkeypatch):
    path = parquet(tmp_path / "x.parquet")
    at_once = read_table(path, log_error="log_err")
    monkeypatch.setattr(long_tables, "BATCH", 16)
    batched = read_table(path, log_error="log_err")
    assert batched.channels == at_once.channels
    assert batched.columns == at_once.columns
    assert np.array_equal(batched.log_rate, at_once.log_rate)
    assert np.array_equal(batched.row, at_once.row)


def test_many_groups_in_conflict_are_told_in_one_sentence():
    rng = np.random.default_rng(2)
    k = 50
    band, instrument = np.repeat(np.arange(k), 20), np.tile(["a", "b"], 10 * k)
    data = Comparison.from_cells(
        instrument, [f"s{x}" for x in np.repeat(np.arange(10 * k), 2)],
        log_rate=rng.normal(0, 0.01, 20 * k) + np.where(instrument == "a", 0.5, 0.0),
        log_error=np.full(20 * k, 0.01), band=[f"b{x}" for x in band],
    )  # fmt: skip
    model = make_model(data, variance="quoted")
    found = run(model, "closed-form", seed=1, draws=50)
    from crosscal.concordance.fitting import conduct_tests
    from crosscal.concordance.settings import Checks

    warnings = conduct_tests(model, found, Checks(leave_one_out=False, predictive=0), 1).warnings
    assert len(warnings) <= 4
    assert "The same holds for 49 other groups" in warnings[0]
    assert "instruments lie far" in " ".join(warnings)


def test_faint_tables_that_take_long_are_told():
    rng = np.random.default_rng(1)
    flux = rng.lognormal(size=100_000)
    data = Comparison.from_cells(["a", "b"] * 50_000, np.arange(100_000) // 2, flux=flux, error=0.2 * flux)
    assert "instead of about 0.3 CPU-hours" in make_model(data).remarks[0]
