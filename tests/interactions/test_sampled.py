"""Sampled ranks against loops and the full ranking; the public negatives against the rows whose ids they use."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from tl_research.data.fetch import ensure
from tl_research.errors import ConfigError, DataError
from tl_research.interactions.log import Log
from tl_research.interactions.negatives_file import negatives_text, read_negatives
from tl_research.interactions.public import NEGATIVES, amazon_negatives, amazon_pair
from tl_research.interactions.public_files import FILES
from tl_research.interactions.ranks import full_ranks
from tl_research.interactions.sampled import Negatives, draw_negatives, sampled_ranks
from tl_research.interactions.training import Training
from tl_research.metrics.ranking import PER_USER, UserRanks
from tl_research.recommenders.popularity import Popularity


def log_of(held: np.ndarray) -> Log:
    return Log("new", *np.nonzero(held), *held.shape)


def problem(seed: int, ties: bool):
    draw = np.random.default_rng(seed)
    whole = draw.random((20, 30)) < 0.2
    held = whole & (draw.random(whole.shape) < 0.4)
    scores = draw.normal(size=whole.shape).astype(np.float32)
    catalogue = np.sort(draw.permutation(30)[:24])
    return np.round(scores) if ties else scores, log_of(held), log_of(whole), catalogue


def rank_by_loops(scores, catalogue, user, item, negative, ties):
    def score(code):
        return scores[user, code] if code in catalogue else -np.inf

    higher = sum(score(code) > score(item) for code in negative)
    equal = sum(score(code) == score(item) for code in negative)
    return 1 + higher + ties * equal


@pytest.mark.parametrize("ties", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rounded", [False, True])
def test_sampled_ranks_are_those_of_loops(monkeypatch, ties, rounded):
    monkeypatch.setattr("tl_research.interactions.sampled.BLOCK_SCORES", 100)
    scores, held_out, whole, catalogue = problem(0, rounded)
    frozen = draw_negatives(held_out, whole, count=9, seed=1)
    mixed = frozen.take(np.random.default_rng(2).permutation(len(frozen)))
    found = sampled_ranks(lambda users: scores[users][:, catalogue], mixed, catalogue, ties=ties)
    rows = zip(frozen.user, frozen.item, frozen.negative, strict=True)
    assert found.rank.tolist() == [rank_by_loops(scores, set(catalogue), *row, ties) for row in rows]
    assert found.user.tolist() == frozen.user.tolist()
    assert set(found.candidates) == {10}


def test_with_every_other_item_as_a_negative_it_is_the_full_ranking():
    scores, _, whole, _ = problem(3, True)
    user = np.arange(whole.users)
    held_out = Log("new", user, user % whole.items, whole.users, whole.items)
    every = np.array([np.delete(np.arange(whole.items), item) for item in held_out.item])
    catalogue, seen = np.arange(whole.items), sp.csr_matrix((whole.users, whole.items), dtype=np.float32)
    sampled = sampled_ranks(lambda users: scores[users], Negatives(held_out.user, held_out.item, every), catalogue)
    full = full_ranks(lambda users: scores[users], held_out, seen, catalogue)
    assert sampled.rank.tolist() == full.rank.tolist()


def test_a_constant_score_ranks_in_the_middle_and_no_number_last():
    frozen = Negatives(np.array([0]), np.array([4]), np.array([[0, 1, 2, 3]]))
    constant, nan = np.zeros((1, 5), np.float32), np.array([[0, 0, 0, 0, np.nan]], np.float32)
    ranks = [sampled_ranks(lambda users, of=of: of, frozen, np.arange(5)).rank.tolist() for of in (constant, nan)]
    assert ranks == [[3.0], [5.0]]


def test_the_item_itself_among_its_negatives_does_not_count():
    frozen = Negatives(np.array([0]), np.array([4]), np.array([[0, 1, 2, 4]]))
    ranks = sampled_ranks(lambda users: np.zeros((1, 5), np.float32), frozen, np.arange(5))
    assert (ranks.rank.tolist(), ranks.candidates.tolist()) == ([2.5], [4])


def test_an_item_outside_the_catalogue_ties_with_the_negatives_outside():
    frozen = Negatives(np.array([0]), np.array([4]), np.array([[0, 1, 5, 6]]))
    # Even the least score within the catalogue is above it.
    ranks = sampled_ranks(lambda users: np.full((1, 2), -np.inf, np.float32), frozen, np.arange(2))
    assert ranks.rank.tolist() == [1 + 2 + 2 / 2]


def test_negatives_are_different_items_that_the_user_has_not_bought():
    _, held_out, whole, _ = problem(4, False)
    frozen = draw_negatives(held_out, whole, count=12, seed=0)
    bought = whole.matrix().toarray()
    for user, negative in zip(frozen.user, frozen.negative, strict=True):
        assert not bought[user, negative].any()
        assert len(set(negative)) == 12
    # All items are drawn, about alike: 12 of about 24 each time.
    counts = np.bincount(frozen.negative.ravel(), minlength=30)
    assert counts.min() > 0
    assert counts.max() < 5 * counts.mean()
    again = draw_negatives(held_out, whole, count=12, seed=0)
    assert again.negative.tolist() == frozen.negative.tolist()
    assert draw_negatives(held_out, whole, count=12, seed=1).negative.tolist() != frozen.negative.tolist()
    with pytest.raises(ValueError, match="wants 30 negatives"):
        draw_negatives(held_out, whole, count=30, seed=0)


def test_negatives_on_disk(tmp_path):
    _, held_out, whole, _ = problem(5, False)
    frozen = draw_negatives(held_out, whole, count=5, seed=0)
    users, items = [f"u{code}" for code in range(20)], [f"i{code}" for code in range(30)]
    path = tmp_path / "negatives.txt"
    text = negatives_text(frozen, users, items)
    path.write_text(text)
    found = read_negatives(path, users, items)
    assert all(np.array_equal(getattr(found, name), getattr(frozen, name)) for name in ("user", "item", "negative"))
    first = text.split("\n", 1)[0]
    wrong = {
        "line 2: 4 negatives, wants 5": first + "\n" + first.rsplit("\t", 1)[0] + "\n",
        "line 1, column 3: no item 'x' in the data": first.replace(first.split("\t")[2], "x"),
        "line 1, column 1: no user 'x' in the data": "x" + first[first.index("\t") :],
        "line 1: a negative stands twice": "\t".join([*first.split("\t")[:-1], first.split("\t")[2]]),
        "has no rows": "",
    }
    for message, content in wrong.items():
        path.write_text(content)
        with pytest.raises(DataError, match=message):
            read_negatives(path, users, items)
    with pytest.raises(DataError, match="no such file"):
        read_negatives(tmp_path / "absent", users, items)


@pytest.mark.parametrize("pair", NEGATIVES, ids="<-".join)
def test_the_ids_of_the_public_negatives_are_those_of_amazon_cdr(pair):
    found, frozen = amazon_pair(*pair), amazon_negatives(*pair)
    folder = ensure("amazon_cdr_negatives", FILES["amazon_cdr_negatives"])
    rows = pd.read_csv(folder / f"{NEGATIVES[pair]}__new_reindex.txt", sep="\t", header=None).to_numpy()
    whole = found.train.joined(found.test)
    # Their rows, in whose ids the negatives are drawn, are our training and test rows, pair by pair.
    assert set(map(tuple, rows[:, :2])) == set(zip(whole.user, whole.item, strict=True))
    assert len(rows) == len(whole)
    assert frozen.negative.shape == (3325, 99)
    assert set(frozen.negative.ravel()) <= set(whole.item)
    # No negative is a training purchase of the user; a few are the held-out item itself.
    own = (frozen.negative == frozen.item[:, None]).sum()
    assert own == {"phone": 22, "electronic": 7}[pair[0]]
    bought = found.train.matrix()
    assert not any(bought[user, negative].sum() for user, negative in zip(frozen.user, frozen.negative, strict=True))


@pytest.mark.parametrize(
    ("pair", "ties", "hit_rate", "ndcg"),
    [
        (("phone", "electronic"), 0.0, 0.472, 0.290),
        (("electronic", "phone"), 0.0, 0.426, 0.262),
        (("phone", "electronic"), 0.5, 0.446, 0.278),
        (("electronic", "phone"), 0.5, 0.405, 0.252),
    ],
)
def test_popularity_on_the_public_negatives(pair, ties, hit_rate, ndcg):
    """0.472 / 0.290 and 0.426 / 0.262 were measured elsewhere on the same files: there a tie counts for the item."""
    found = amazon_pair(*pair)
    made = Popularity().fit(Training(found.train))
    ranks = sampled_ranks(made.score, amazon_negatives(*pair), made.catalogue, ties=ties)
    grouped = UserRanks.group(ranks.user, ranks.rank)
    assert PER_USER["hit_rate"](grouped, 10).mean() == pytest.approx(hit_rate, abs=5e-4)
    assert PER_USER["ndcg"](grouped, 10).mean() == pytest.approx(ndcg, abs=5e-4)


def test_a_pair_without_public_negatives_is_named():
    with pytest.raises(ConfigError, match="no frozen negatives for sport<-cloth"):
        amazon_negatives("sport", "cloth")
