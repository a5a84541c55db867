"""The logistic regression of votes on who is compared, with a covariance that allows for groups of votes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.stats import t as student

from gptalt_eval_plugin_elo.ratings import Comparisons, Floats, Ints

STEPS, PRECISION = 100, 1e-10  # of Newton's method, on the natural scale
STEEP, UNKNOWN = 30.0, 10.0  # a coefficient of style, and its standard error, that no votes support
GROUPS = 10  # questions, or people, with several votes show how much they differ; fewer do not
LARGEST = 5_000_000  # numbers in the groups' information; of more groups, leaving one out changes little
LEAST = 0.25  # of the information about something that is taken to remain when a group is left out


@dataclass(frozen=True)
class Fit:
    """Attributes:
    place: [models] strengths on the natural scale.
    covariance: [models + F, models + F] of the strengths and the coefficients, robust.
    alone: the same, if votes were independent.
    slope: [F] coefficients of differences in style.
    student_t: half a 95 % interval's width, in standard errors.
    """

    place: Floats
    covariance: Floats
    alone: Floats
    slope: Floats
    student_t: float

    def measure_errors(self, contrasts: Floats) -> Floats:
        """Half the widths of 95 % intervals of contrasts [C, models + F].

        Votes that agree by chance, such as a few ties, would leave nothing open: where the robust variance is
        below a quarter of that of independent votes, the latter counts.
        """
        robust, alone = (
            np.einsum("ij,jk,ik->i", contrasts, each, contrasts).clip(0)
            for each in (self.covariance, self.alone)
        )
        return np.asarray(self.student_t * np.sqrt(np.where(robust < alone / 4, alone, robust)))


def fit(votes: Comparisons, weight: Floats, count: int, style: Floats | None = None) -> Fit:
    """The maximum of the likelihood, and the robust covariance of its place.

    Raises:
        ValueError: style cannot be told from the models, or decides all votes, so that nothing is finite.
    """
    design = Design(votes, weight, count, style)
    design.check_rank()
    place = np.zeros(design.size)
    for _ in range(STEPS):
        expected = design.predict(place)
        step = design.invert(expected) @ design.score(expected)
        # a long step can lead to where the likelihood is flat
        place += step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < PRECISION:
            break
    covariance, alone, student_t = design.estimate_covariance(place)
    # beyond these, the likelihood only rises towards infinity (Albert and Anderson 1984)
    if (np.abs(place[count:]) > STEEP).any() or (np.diag(alone)[count:] > UNKNOWN**2).any():
        raise ValueError("style and models decide all votes, so that the effect of style has no finite size")
    return Fit(place[:count], covariance, alone, place[count:], student_t)


class Design:
    """The regression's rows: votes with the same outcome for the same pair are one, unless style differs.

    Args:
        votes: the votes.
        weight: [N] their weights.
        count: number of models.
        style: [N, F] standardised differences in style; None: F is 0.
    """

    def __init__(self, votes: Comparisons, weight: Floats, count: int, style: Floats | None) -> None:
        self.votes, self.weight, self.count = votes, weight, count
        self.style = np.zeros((len(votes), 0)) if style is None else style
        self.size = count + self.style.shape[1]
        if style is None:
            cell = (votes.first * count + votes.second) * 3 + np.rint(2 * votes.score).astype(np.int64)
            _, kept, self.row = np.unique(cell, return_index=True, return_inverse=True)
        else:
            kept = self.row = np.arange(len(votes))
        self.first, self.second, self.outcome = votes.first[kept], votes.second[kept], votes.score[kept]
        self.controls = self.style[kept]
        self.total: Floats = np.bincount(self.row, weight, len(kept)).astype(np.float64)

    def predict(self, place: Floats) -> Floats:
        """[rows] the expected score."""
        logit = place[self.first] - place[self.second] + self.controls @ place[self.count :]
        return np.asarray(1 / (1 + np.exp(-logit)))

    def check_rank(self) -> None:
        values = np.linalg.eigvalsh(self.sum_squares(self.total))
        if self.controls.shape[1] and int((values < 1e-9 * values[-1]).sum()) > 1:
            raise ValueError("the models' answers differ so regularly that style cannot be told from them")

    def score(self, expected: Floats) -> Floats:
        """The gradient of the log-likelihood."""
        rest = self.total * (self.outcome - expected)
        models = np.bincount(self.first, rest, self.count) - np.bincount(self.second, rest, self.count)
        return np.concatenate([models, rest @ self.controls])

    def invert(self, expected: Floats) -> Floats:
        """The inverse information, with the strengths' sum at 0."""
        information = self.sum_squares(self.total * expected * (1 - expected))
        return np.asarray(np.linalg.pinv(information, hermitian=True))

    def sum_squares(self, weight: Floats) -> Floats:
        """[models + F, models + F] the sum of the rows' outer products with themselves, times weights."""
        information = np.zeros((self.size, self.size))
        np.add.at(information, (self.first, self.first), weight)
        np.add.at(information, (self.second, self.second), weight)
        np.add.at(information, (self.first, self.second), -weight)
        np.add.at(information, (self.second, self.first), -weight)
        for number in range(self.controls.shape[1]):
            column = weight * self.controls[:, number]
            cross = np.bincount(self.first, column, self.count) - np.bincount(self.second, column, self.count)
            information[: self.count, self.count + number] = cross
            information[self.count + number, : self.count] = cross
        information[self.count :, self.count :] = (self.controls * weight[:, None]).T @ self.controls
        return information

    def estimate_covariance(self, place: Floats) -> tuple[Floats, Floats, float]:
        """The robust covariance, that of votes on their own, and Student's t for 95 %."""
        expected = self.predict(place)
        bread = self.invert(expected)
        rest = self.weight * (self.outcome - expected)[self.row]
        weight = self.weight * (expected * (1 - expected))[self.row]
        groups = self.list_groups()
        parts = [self.gather(rest, weight, bread, each) for each in groups]
        meat, number = parts[0][0], min(each for _, each in parts)
        if len(groups) > 1:
            both = groups[0] * (groups[1].max(initial=0) + 1) + groups[1]
            meat = meat + parts[1][0] - self.gather(rest, weight, bread, both)[0]
        values, vectors = np.linalg.eigh(bread @ meat @ bread)
        covariance = np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)
        return covariance, self.estimate_alone(expected, bread), float(student.ppf(0.975, max(1, number - 1)))

    def estimate_alone(self, expected: Floats, bread: Floats) -> Floats:
        """The covariance if votes were independent, and one more of them were decided.

        Votes that are all ties would otherwise seem to leave nothing open.
        """
        decided = int((self.votes.score != 0.5).sum())
        squares = np.bincount(self.row, self.weight**2, len(self.total))
        meat = self.sum_squares(squares * expected * (1 - expected)) * (decided + 1) / (len(self.votes) + 2)
        return np.asarray(bread @ meat @ bread)

    def list_groups(self) -> list[Ints]:
        """The ways in which votes can be alike: [N] numbers of their groups. Each vote alone, if in none."""
        votes = self.votes
        named = [each for each in (votes.question, votes.annotator) if each is not None]
        alike = [each for each in named if (np.unique(each, return_counts=True)[1] > 1).sum() >= GROUPS]
        return alike or [np.arange(len(votes))]

    def gather(self, rest: Floats, weight: Floats, bread: Floats, groups: Ints) -> tuple[Floats, int]:
        """The sum over groups of votes of their gradients' outer products, and the number of groups.

        A group's gradient is what leaving it out would change (the jackknife; of single votes, HC3).
        """
        _, group = np.unique(groups, return_inverse=True)
        number = int(group.max(initial=-1)) + 1
        exact = number < len(group) and number * self.size**2 <= LARGEST and not self.style.shape[1]
        if not exact:
            rest = rest / (1 - np.minimum(weight * self.measure_variance(bread)[self.row], 1 - LEAST))
        rows = np.concatenate([group, group, *[group] * self.style.shape[1]])
        places = [np.full(len(rest), self.count + each) for each in range(self.style.shape[1])]
        columns = np.concatenate([self.votes.first, self.votes.second, *places])
        values = np.concatenate([rest, -rest, *(rest * each for each in self.style.T)])
        sums = coo_array((values, (rows, columns)), shape=(number, self.size)).tocsr()
        if not exact:
            return np.asarray((sums.T @ sums).todense()), number
        one, other = self.votes.first, self.votes.second
        cells = np.concatenate([(group * self.count + a) * self.count + b for a, b in (
            (one, one), (other, other), (one, other), (other, one))])  # fmt: skip
        shares = np.concatenate([weight, weight, -weight, -weight])
        own = np.bincount(cells, shares, number * self.count**2).reshape(number, self.count, self.count)
        left, values, right = np.linalg.svd(np.eye(self.count) - own @ bread)
        turned = np.einsum("gji,gj->gi", left, sums.toarray()) / np.maximum(values, LEAST)
        changed = np.einsum("gij,gi->gj", right, turned)
        return np.asarray(changed.T @ changed), number

    def measure_variance(self, bread: Floats) -> Floats:
        """[rows] the variance of each row's logit."""
        one, other = self.first, self.second
        variance = bread[one, one] + bread[other, other] - 2 * bread[one, other]
        cross = bread[: self.count, self.count :]
        variance = variance + 2 * ((cross[one] - cross[other]) * self.controls).sum(1)
        own = self.controls @ bread[self.count :, self.count :]
        return np.asarray(variance + (own * self.controls).sum(1))
