"""PLDA against its closed form, and its training on speakers whose variances are known."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy
from scipy.stats import multivariate_normal

from earwitness.core.errors import DataError, MetricError
from earwitness.metrics import eer
from earwitness.speaker.plda import Plda, PldaBackEnd, fit_plda

PSI = np.array([9.0, 4.0, 1.5, 0.5])


def one_dimension(psi: float) -> Plda:
    return Plda(np.zeros(1), np.eye(1), np.array([psi]))


def exactly(draws: np.ndarray) -> np.ndarray:
    """Draws whose mean is 0 and whose covariance is the identity, not only on average."""
    centred = draws - draws.mean(axis=0)
    return centred @ np.linalg.inv(np.linalg.cholesky(centred.T @ centred / len(centred))).T


def synthetic(
    seed: int, speakers: int = 500, recordings: int = 10, exact: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [N, 4] seen through a random matrix, and who speaks; psi are `PSI`."""
    rng = np.random.default_rng(seed)
    y, noise = np.sqrt(PSI) * rng.standard_normal((speakers, 4)), rng.standard_normal((speakers, recordings, 4))
    if exact:  # the speakers' means have exactly the covariance psi + 1/n, what lies about them exactly (n - 1)/n
        noise = exactly((noise - noise.mean(axis=1, keepdims=True)).reshape(-1, 4)).reshape(noise.shape)
        noise *= np.sqrt((recordings - 1) / recordings)
        y = exactly(y) * np.sqrt(PSI + 1 / recordings)
    seen = (y[:, None] + noise).reshape(-1, 4) @ rng.standard_normal((4, 4)) + rng.standard_normal(4)
    return seen, np.repeat(np.arange(speakers), recordings)


@pytest.mark.shows("speaker-metrics:9.1")
@pytest.mark.shows("speaker-metrics:9.5")
def test_likelihood_ratios_of_the_written_example() -> None:
    plda = one_dimension(1.0)
    assert plda.llr([[1.0], [1.0]], [[1.0], [-1.0]]) == pytest.approx([0.310508, -0.356159], abs=5e-7)
    same, apart = multivariate_normal([0, 0], [[2, 1], [1, 2]]), multivariate_normal([0, 0], [[2, 0], [0, 2]])
    for pair in ([1, 1], [1, -1], [0.3, 2.7]):
        assert plda.llr([pair[:1]], [pair[1:]])[0] == pytest.approx(same.logpdf(pair) - apart.logpdf(pair), abs=1e-12)


@pytest.mark.shows("speaker-metrics:9.5")
@pytest.mark.parametrize("n", [1, 2, 5])
def test_likelihood_ratio_equals_the_joint_gaussian(n: int) -> None:
    """n enrolment recordings and a test in 4 dimensions: all from one y, or the test from another."""
    rng = np.random.default_rng(n)
    plda = Plda(np.zeros(4), np.eye(4), PSI)
    enrolment, test = 2 * rng.standard_normal((n, 4)), 2 * rng.standard_normal(4)
    expected = 0.0
    for d, psi in enumerate(PSI):
        together = np.eye(n + 1) + psi
        apart = together.copy()
        apart[n, :n] = apart[:n, n] = 0
        x = [*enrolment[:, d], test[d]]
        expected += multivariate_normal(np.zeros(n + 1), together).logpdf(x)
        expected -= multivariate_normal(np.zeros(n + 1), apart).logpdf(x)
    found = plda.llr(enrolment.mean(axis=0)[None], test[None], n)
    assert found[0] == pytest.approx(expected, abs=1e-10)


@pytest.mark.shows("speaker-metrics:9.5")
@pytest.mark.parametrize("seed", range(5))
def test_likelihood_never_falls(seed: int) -> None:
    """Speakers with one to seven recordings; from the start to far beyond what is needed."""
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(60), rng.integers(1, 8, 60))
    x = rng.standard_normal((60, 5))[speakers] @ rng.standard_normal((5, 5)) + rng.standard_normal((len(speakers), 5))
    found = np.array(fit_plda(x, speakers, 60).log_likelihoods)
    assert len(found) == 61
    assert (np.diff(found) >= -1e-10).all()
    assert found[-1] > found[0]


def test_log_likelihood_is_that_of_the_joint_gaussian() -> None:
    rng = np.random.default_rng(1)
    speakers = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3])
    x = rng.standard_normal((10, 2)) + rng.standard_normal((4, 2))[speakers]
    fit = fit_plda(x, speakers, 3)
    total = 0.0
    for speaker in range(4):
        own = x[speakers == speaker]
        covariance = np.kron(np.ones((len(own),) * 2), fit.between) + np.kron(np.eye(len(own)), fit.within)
        total += multivariate_normal(np.tile(fit.mean, len(own)), covariance).logpdf(own.ravel())
    assert fit.log_likelihoods[-1] == pytest.approx(total / 10, abs=1e-10)


@pytest.mark.shows("speaker-metrics:9.5")
def test_training_recovers_the_variances() -> None:
    """500 speakers with 10 recordings each: each psi within 10 % where the draw itself has these variances, and on
    average over 20 plain draws (one draw of 500 speakers is off by 6 % by chance alone)."""
    for seed in range(3):
        x, speakers = synthetic(seed, exact=True)
        assert fit_plda(x, speakers, 20).diagonalised().psi == pytest.approx(PSI, rel=0.1)
    found = [fit_plda(*synthetic(seed), 20).diagonalised().psi for seed in range(20)]
    assert np.mean(found, axis=0) == pytest.approx(PSI, rel=0.05)
    assert np.mean(np.abs(np.array(found) / PSI - 1) < 0.1) > 0.75


def test_the_transform_makes_within_the_identity_and_between_psi() -> None:
    fit = fit_plda(*synthetic(0), 5)
    plda = fit.diagonalised()
    assert plda.transform @ fit.within @ plda.transform.T == pytest.approx(np.eye(4), abs=1e-9)
    assert plda.transform @ fit.between @ plda.transform.T == pytest.approx(np.diag(plda.psi), abs=1e-9)
    assert (np.diff(plda.psi) <= 0).all()
    projected = plda.project(fit.mean[None] + np.eye(4), length_norm=True)
    assert np.linalg.norm(projected, axis=1) == pytest.approx(2)  # sqrt(4)


def test_more_enrolment_separates_better() -> None:
    """Each speaker's first recording, or her first nine, against her last and the next speaker's."""
    x, speakers = synthetic(3, speakers=200)
    u = fit_plda(x, speakers).diagonalised()
    parts = u.project(x).reshape(200, 10, 4)
    rates = []
    for n in (1, 9):
        enrolment, test = parts[:, :n].mean(axis=1), parts[:, 9]
        rates.append(eer(u.llr(enrolment, test, n), u.llr(enrolment, np.roll(test, 1, axis=0), n)).value)
    assert rates[1] < rates[0] < 0.3


class TestBackEnd:
    def test_separates_speakers_and_survives_a_file(self) -> None:
        rng = np.random.default_rng(5)
        speakers = np.repeat(np.arange(120), 8)
        nuisance = 3 * rng.standard_normal((len(speakers), 4)) @ rng.standard_normal((4, 20))
        voice = (rng.standard_normal((120, 8)) @ rng.standard_normal((8, 20)))[speakers]
        x = voice + nuisance + 0.3 * rng.standard_normal((len(speakers), 20)) + 2
        back_end = PldaBackEnd.fit(x[:800], speakers[:800], dim=10)  # the first 100 speakers
        a, b, other = x[800::8], x[801::8], np.roll(x[801::8], 1, axis=0)
        found = eer(back_end.pairs(a, b), back_end.pairs(a, other)).value

        def cosines(p: np.ndarray, q: np.ndarray) -> np.ndarray:
            return np.einsum("nd,nd->n", p, q) / np.linalg.norm(p, axis=1) / np.linalg.norm(q, axis=1)

        centred = [side - x[:800].mean(axis=0) for side in (a, b, other)]
        plain = eer(cosines(centred[0], centred[1]), cosines(centred[0], centred[2])).value
        assert found < plain - 0.05  # the nuisance lies in a plane that PLDA learns to leave out
        again = PldaBackEnd.from_arrays(safetensors.numpy.load(safetensors.numpy.save(back_end.arrays())))
        assert np.array_equal(again.pairs(a, b), back_end.pairs(a, b))

    def test_arrays_that_do_not_fit_are_refused(self) -> None:
        back_end = PldaBackEnd.fit(*synthetic(0, 30, 4), dim=3)
        arrays = back_end.arrays()
        with pytest.raises(DataError, match="no array 'psi'"):
            PldaBackEnd.from_arrays({name: arrays[name] for name in arrays if name != "psi"})
        with pytest.raises(DataError, match="do not fit"):
            PldaBackEnd.from_arrays(arrays | {"psi": arrays["psi"][:2]})

    @pytest.mark.parametrize("dim", [0, 5])
    def test_directions_that_lda_does_not_have(self, dim: int) -> None:
        with pytest.raises(DataError, match="Choose 1 to 4"):
            PldaBackEnd.fit(*synthetic(0, 30, 4), dim=dim)


@pytest.mark.parametrize(
    ("vectors", "speakers", "said"),
    [
        (np.eye(4), [0, 0, 0, 0], "of 1 speaker"),
        (np.eye(4), [0, 1], "4 vectors of 2 speaker"),
        (np.eye(4), [0, 0, 1, 1], "too few for 4 dimensions"),
        (np.full((4, 1), np.nan), [0, 0, 1, 1], "must be finite"),
        (np.ones(4), [0, 0, 1, 1], "must be finite and"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(vectors: np.ndarray, speakers: list[int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        fit_plda(vectors, speakers)


def test_pairs_of_other_shapes_and_empty_enrolments_are_refused() -> None:
    with pytest.raises(MetricError, match="shape"):
        one_dimension(1).llr([[1.0, 2.0]], [[1.0, 2.0]])
    with pytest.raises(MetricError, match="at least one"):
        one_dimension(1).llr([[1.0]], [[1.0]], 0)
    with pytest.raises(DataError, match="singular"):
        fit_plda(np.zeros((9, 1)), [0, 0, 0, 1, 1, 1, 2, 2, 2])


def test_fewer_speakers_than_dimensions_is_no_obstacle() -> None:
    x, speakers = synthetic(0, speakers=3, recordings=20)
    fit = fit_plda(x, speakers, 5)
    assert (np.diff(fit.log_likelihoods) >= -1e-10).all()
    assert fit.diagonalised().psi[2:] == pytest.approx(0, abs=1e-6)  # three means span two directions
