"""Plans of batches: pure functions of the step, which share every pass among the ranks, and what each promises."""

from collections import Counter
from itertools import pairwise

import pytest
import torch
from omegaconf import OmegaConf

from tl_research.config import compose, run_id
from tl_research.data.batch import Samples
from tl_research.data.paired import PairedDataModule
from tl_research.data.sampling.episodes import QUERY, SUPPORT
from tl_research.data.sampling.loaders import PairedLoader, make_plan
from tl_research.errors import ConfigError, DataError
from tl_research.metrics.hidden import HIDDEN
from tl_research.registry import SAMPLERS

OPTIONS = {"episodes": {"ways": 3, "shots": 2, "queries": 3}}
#: Rows of each domain, of each class and of each user differ in number.
ROWS = 240


def side(rows: int = ROWS) -> Samples:
    index = torch.arange(rows)
    domain = (index >= rows // 4).long() + (index >= rows // 2).long()
    label = torch.minimum(index % 12, torch.tensor(5))
    return Samples(index[:, None].float(), label, index, domain, {"user": (index.float().sqrt() * 2).long() % 17})


def hidden(rows: Samples) -> Samples:
    return rows._replace(label=torch.full_like(rows.label, HIDDEN))


def config_of(name: str, **options):
    return SAMPLERS.get(name).config(**(OPTIONS.get(name, {}) | options))


def plan_of(name: str, samples: Samples | None = None, *, batch_size: int = 24, rank: int = 0, world_size: int = 1):
    place = {"seed": 3, "side": "source", "rank": rank, "world_size": world_size}
    return make_plan(config_of(name), samples or side(), batch_size, **place)


def passes(plan, count: int = 3) -> list[torch.Tensor]:
    return [plan.batch(step) for step in range(count * plan.batches)]


@pytest.mark.parametrize("name", SAMPLERS.names())
@pytest.mark.parametrize("world_size", [1, 3])
def test_any_step_alone_is_the_step_in_sequence(name, world_size):
    place = {"rank": world_size - 1, "world_size": world_size}
    for step, batch in reversed(list(enumerate(passes(plan_of(name, **place))))):
        alone = plan_of(name, **place)
        assert alone.size(step) == len(batch)
        assert torch.equal(alone.batch(step), batch)


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_passes_differ_and_so_do_seeds_and_sides(name):
    plan = plan_of(name)
    firsts = [tuple(plan.batch(number * plan.batches).tolist()) for number in range(3)]
    for place in ({"seed": 4, "side": "source"}, {"seed": 3, "side": "target_labeled"}):
        config = config_of(name, sides=["source", "target_labeled"])
        firsts.append(tuple(make_plan(config, side(), 24, **place).batch(0).tolist()))
    assert len(set(firsts)) == 5


@pytest.mark.parametrize("name", SAMPLERS.names())
def test_ranks_take_equally_many_steps_and_together_the_rows_of_one_process(name):
    """A batch of two ranks is that of one process of twice the rows (for episodes: two episodes of it)."""
    ranks = [plan_of(name, batch_size=12, rank=rank, world_size=2) for rank in range(2)]
    whole = plan_of(name, batch_size=24)
    assert ranks[0].batches == ranks[1].batches
    per_step = 2 if name == "episodes" else 1
    for step in range(2 * ranks[0].batches):
        together = torch.cat([plan.batch(step) for plan in ranks]).tolist()
        alone = torch.cat([whole.batch(per_step * step + i) for i in range(per_step)]).tolist()
        if name == "by_user":  # of which the ranks' batches hold whole users each
            users = [set(side().extra["user"][plan.batch(step)].tolist()) for plan in ranks]
            assert not users[0] & users[1] or step % ranks[0].batches == ranks[0].batches - 1
        else:
            assert sorted(together) == sorted(alone)


@pytest.mark.parametrize("name", ["uniform", "by_user"])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_a_pass_holds_every_row_once_but_for_what_fills_up_the_ranks(name, world_size):
    plans = [plan_of(name, rank=rank, world_size=world_size) for rank in range(world_size)]
    drawn = Counter(torch.cat([torch.cat(passes(plan, 1)) for plan in plans]).tolist())
    assert set(drawn) == set(range(ROWS))
    groups = side().extra["user"] if name == "by_user" else torch.arange(ROWS)
    twice = {int(groups[row]) for row, count in drawn.items() if count > 1}
    assert max(drawn.values()) <= 2
    assert len(twice) < world_size


@pytest.mark.parametrize(("name", "group"), [("per_domain", "domain"), ("by_class", "label")])
@pytest.mark.parametrize("world_size", [1, 2])
def test_every_batch_has_equally_many_rows_of_each_group(name, group, world_size):
    samples, plans = side(), [plan_of(name, rank=rank, world_size=world_size) for rank in range(world_size)]
    codes = getattr(samples, group)
    each = 24 // len(codes.unique())
    drawn = Counter()
    for step in range(3 * plans[0].batches):
        for plan in plans:
            batch = plan.batch(step)
            assert torch.bincount(codes[batch]).tolist() == [each] * len(codes.unique())
            drawn.update(batch.tolist())
        for code in codes.unique():  # no row again before all others of its group
            counts = [drawn[int(row)] for row in (codes == code).nonzero()]
            assert max(counts) - min(counts) <= 1
        if step + 1 == plans[0].batches:
            assert set(drawn) == set(range(ROWS))


def test_users_stay_whole_and_a_batch_is_about_as_large_as_it_should_be():
    user = side().extra["user"]
    sizes = []
    for batch in passes(plan_of("by_user"), 4):
        sizes.append(len(batch))
        for number in user[batch].unique():
            assert (user[batch] == number).sum() == (user == number).sum()
    assert 12 < sum(sizes) / len(sizes) <= 24


def test_an_episode_is_so_many_classes_with_their_support_and_query_rows():
    label, plan = side().label, plan_of("episodes")
    for step in range(2 * plan.batches):
        batch, role = plan.batch(step), plan.extra(step)["role"]
        assert len(batch.unique()) == len(batch)
        for value, of_each in ((SUPPORT, 2), (QUERY, 3)):
            assert label[batch[role == value]].unique(return_counts=True)[1].tolist() == [of_each] * 3
    seen = {int(code) for batch in passes(plan, 2) for code in label[batch]}
    assert seen == set(range(6))


@pytest.mark.parametrize("name", SAMPLERS.names())
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_a_loader_resumes_to_the_same_batches(name, stop):
    def loader():
        sides = {"source": side(), "target": hidden(side(50))}
        return PairedLoader(sides, {"source": 24, "target": 8}, seed=1, sampler=config_of(name))

    whole = loader()
    expected = [batch for _ in range(3) for batch in whole][stop:]
    resumed = loader()
    resumed.load_state_dict({"step": stop})
    seen = [batch for _ in range(3) for batch in resumed]
    for one, other in zip(seen, expected):
        for rows, wanted in zip(one[:2], other[:2]):
            assert torch.equal(rows.index, wanted.index)
            assert rows.extra.keys() == wanted.extra.keys()
            assert all(torch.equal(rows.extra[key], wanted.extra[key]) for key in rows.extra)
    assert ("role" in seen[0].source.extra) == (name == "episodes")


@pytest.mark.parametrize(
    ("name", "samples", "batch_size", "message"),
    [
        ("by_class", hidden(side()), 24, r"data\.sampler\.sides: 'by_class' .* labels of side 'source' are hidden"),
        ("episodes", hidden(side()), 24, r"data\.sampler\.sides: 'episodes' .* hidden"),
        ("by_class", side()._replace(label=torch.rand(ROWS)), 24, r"data\.sampler\.name: .* labels are numbers"),
        (
            "per_domain",
            side(),
            2,
            r"data\.batch_size: got 2, wants 3 or more: one row of each .*domains of source",
        ),
        ("by_user", side()._replace(extra={"item": torch.arange(ROWS)}), 8, r"data\.sampler\.column: .* columns item"),
        (
            "by_user",
            side()._replace(extra={}),
            8,
            r"data\.sampler\.column: .* 'source' has no extra column; no data set",
        ),
        ("episodes", side(30), 24, r"data\.sampler: 1 classes of source have the 5 rows"),
    ],
)
def test_rows_that_a_sampler_cannot_take_are_one_error_that_names_its_key(name, samples, batch_size, message):
    with pytest.raises((ConfigError, DataError), match=message):
        plan_of(name, samples, batch_size=batch_size)


# Chosen by the configuration

BASE = {
    "data": {"name": "digits", "sources": ["upright", "inverted", "noisy"], "target": "shifted", "batch_size": 30},
    "method": {"name": "source_only"},
}


def test_a_run_draws_as_data_sampler_says():
    config = compose(BASE, ["data.sampler=per_domain"])
    data = PairedDataModule(OmegaConf.to_object(config.data), seed=0)
    for batch in data.train_dataloader():
        assert torch.bincount(batch.source.domain).tolist() == [10, 10, 10]
        assert batch.target.size > 25


def test_it_is_a_name_or_keys_and_another_name_replaces_the_keys():
    base = compose(BASE)
    assert base.data.sampler is None
    assert compose(BASE, ["data.sampler=by_class"]).data.sampler == {"name": "by_class", "sides": ["source"]}
    given = {**BASE, "data": {**BASE["data"], "sampler": {"name": "episodes", "ways": 3}}}
    assert compose(given, ["data.sampler.shots=4"]).data.sampler.ways == 3
    assert compose(given, ["data.sampler=uniform"]).data.sampler == {"name": "uniform", "sides": ["source"]}
    configs = [base, compose(given), compose(given, ["data.sampler.ways=4"]), compose(given, ["data.sampler=by_class"])]
    assert all(run_id(one) != run_id(other) for one, other in pairwise(configs))
    assert run_id(compose(given, ["data.sampler=null"])) == run_id(base)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "data.sampler=per_domian",
            r"data\.sampler\.name: .* no sampler .*; did you mean 'per_domain'",
        ),
        ("data.sampler=7", r"data\.sampler: got 7, wants a name"),
        ("data.sampler.sides=[source]", r"data\.sampler\.name: missing; one of by_class"),
        ("data.sampler={name: episodes, ways: 1}", r"data\.sampler\.ways: got 1"),
        ("data.sampler={name: uniform, sides: [x]}", r"data\.sampler\.sides: got 'x'"),
        ("data.sampler={name: uniform, ways: 3}", r"data\.sampler\.ways: unknown key"),
    ],
)
def test_a_mistake_names_its_key(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(BASE, [words])


@pytest.mark.parametrize("method", ["shallow", "boosting_transfer", "tca"])
def test_a_sampler_beside_a_method_that_draws_no_batch_is_refused(method):
    words = [f"method.name={method}", "data.setting=few_shot", "data.shots=5", "encoder.name=identity"]
    refused = rf"data\.sampler: method '{method}' is fitted to all rows at once and draws no batches"
    with pytest.raises(ConfigError, match=refused):
        compose(None, [*words, "data.sampler=per_domain"])
    assert compose(None, [*words, "data.sampler=null"]).data.sampler is None


def test_a_sampler_draws_for_the_trained_head_of_a_closed_form():
    config = compose(BASE, ["method.name=coral", "method.head=mlp", "encoder.name=identity", "data.sampler=per_domain"])
    assert config.data.sampler.name == "per_domain"


@pytest.mark.parametrize("word", ["data.sampler=", "data.sampler=null", "data.sampler=~"])
def test_no_sampler_may_be_written_as_nothing(word):
    assert compose(None, [word]).data.sampler is None


def test_a_method_names_its_default(monkeypatch):
    from tl_research.registry import METHODS

    monkeypatch.setattr(METHODS.get("group_dro").target, "sampler", "per_domain")
    words = ["method.name=group_dro"]
    assert compose(BASE, words).data.sampler.name == "per_domain"
    assert compose(BASE, [*words, "data.sampler=by_class"]).data.sampler.name == "by_class"
    assert compose(BASE, [*words, "data.sampler=null"]).data.sampler is None
