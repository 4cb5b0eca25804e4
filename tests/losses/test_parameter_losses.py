"""Losses of the parameter family: float64 loops, closed forms, limits."""

import itertools
import math

import numpy as np
import pytest
import torch

from tl_research.losses.bss import bss
from tl_research.losses.category_relation import calibrating_temperature, category_relation, relation_cross_entropy
from tl_research.losses.contrastive import supervised_contrastive
from tl_research.losses.delta import attention_from_loss_increase, delta
from tl_research.losses.distillation import distillation, feature_distillation
from tl_research.losses.relational import relational_angle, relational_distance


def rows(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def softmax(values):
    shares = [math.exp(value) for value in values]
    return [share / sum(shares) for share in shares]


def huber(x):
    return 0.5 * x * x if abs(x) <= 1 else abs(x) - 0.5


# Batch spectral shrinkage


@pytest.mark.parametrize(("shape", "k"), [((12, 5), 1), ((12, 5), 3), ((4, 9), 2), ((6, 6), 6), ((1, 4), 1)])
def test_bss_agrees_with_numpy(shape, k):
    x = rows(*shape)
    values = np.linalg.svd(x.numpy(), compute_uv=False)
    assert bss(x, k=k).item() == pytest.approx((np.sort(values)[:k] ** 2).sum(), rel=1e-10)


def test_bss_limits_and_gradient():
    x = rows(5, 3)
    assert bss(x, k=3).item() == pytest.approx(x.square().sum().item())  # all of them: the Frobenius norm
    assert bss(x[:, :1] @ rows(1, 3), k=2).item() == pytest.approx(0, abs=1e-12)  # rank one
    assert torch.autograd.gradcheck(lambda x: bss(x, k=2), (x.requires_grad_(),))


# Distillation


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_distillation_is_its_sum_term_by_term(temperature):
    s, t = 3 * rows(6, 4), 3 * rows(6, 4, seed=1)
    total = 0.0
    for i in range(6):
        p = softmax([value / temperature for value in t[i].tolist()])
        q = softmax([value / temperature for value in s[i].tolist()])
        total += sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True))
    assert distillation(s, t, temperature=temperature).item() == pytest.approx(temperature**2 * total / 6, rel=1e-10)


def test_distillation_has_the_gradient_of_the_cross_entropy_and_none_to_the_teacher():
    s, t = rows(6, 4).requires_grad_(), rows(6, 4, seed=1).requires_grad_()
    distillation(s, t, temperature=2.0).backward()
    torch.testing.assert_close(s.grad, 2 * (torch.softmax(s / 2, 1) - torch.softmax(t / 2, 1)).detach() / 6)
    assert t.grad is None


def test_at_a_high_temperature_distillation_compares_centred_logits():
    """T² KL -> sum of squared differences of the centred logits / (2 C), Hinton et al. 2015, eq. 4."""
    s, t = rows(6, 4), rows(6, 4, seed=1)
    difference = (s - s.mean(1, keepdim=True)) - (t - t.mean(1, keepdim=True))
    limit = difference.square().sum(1).mean().item() / 8
    assert distillation(s, t, temperature=1e4).item() == pytest.approx(limit, rel=1e-3)


def test_feature_distillation_is_a_mean_of_squares():
    s, t = rows(3, 2, 4), rows(3, 2, 4, seed=1)
    pairs = zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)
    assert feature_distillation(s, t).item() == pytest.approx(sum((a - b) ** 2 for a, b in pairs) / 24)


# Relations


def distance_loop(s, t):
    pairs = list(itertools.permutations(range(len(s)), 2))

    def relative(x):
        distances = [math.dist(x[i], x[j]) for i, j in pairs]
        return [distance / (sum(distances) / len(pairs)) for distance in distances]

    return sum(huber(a - b) for a, b in zip(relative(s), relative(t), strict=True)) / len(pairs)


def angle_loop(s, t):
    def cosine(x, i, j, k):
        a, b = [p - q for p, q in zip(x[i], x[j], strict=True)], [p - q for p, q in zip(x[k], x[j], strict=True)]
        return sum(p * q for p, q in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    triplets = list(itertools.permutations(range(len(s)), 3))
    return sum(huber(cosine(s, *triplet) - cosine(t, *triplet)) for triplet in triplets) / len(triplets)


@pytest.mark.parametrize(("loss", "loop"), [(relational_distance, distance_loop), (relational_angle, angle_loop)])
def test_relations_are_their_sums_pair_by_pair(loss, loop):
    s, t = 4 * rows(7, 3) ** 3, rows(7, 5, seed=1)  # of heavy tails: both arms of the Huber loss
    assert loss(s, t).item() == pytest.approx(loop(s.tolist(), t.tolist()), rel=1e-9)


@pytest.mark.parametrize("loss", [relational_distance, relational_angle])
def test_relations_see_no_motion_and_no_scale_and_have_a_gradient_at_equal_rows(loss):
    t = rows(7, 3)
    rotation = torch.linalg.qr(rows(3, 3, seed=2)).Q
    assert loss(5 * t @ rotation + 3, t).item() == pytest.approx(0, abs=1e-20)
    s = rows(7, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, t), (s,))
    doubled = s.detach().clone()
    doubled[1] = doubled[0]
    doubled.requires_grad_()
    loss(doubled, t).backward()
    assert torch.isfinite(doubled.grad).all()
    assert math.isfinite(loss(torch.zeros(4, 3), t[:4]).item())


# DELTA


def test_delta_is_its_sum_channel_by_channel():
    f, s, a = rows(4, 3, 2, 5), rows(4, 3, 2, 5, seed=1), attention_from_loss_increase(rows(3, seed=2))
    assert a.tolist() == pytest.approx(softmax(rows(3, seed=2).tolist()))
    total = 0.0
    for i, c in itertools.product(range(4), range(3)):
        pairs = zip(f[i, c].flatten().tolist(), s[i, c].flatten().tolist(), strict=True)
        total += 3 * a[c].item() * sum((x - y) ** 2 for x, y in pairs) / 10
    assert delta(f, s, a).item() == pytest.approx(total / 4, rel=1e-10)
    equal = torch.full((3,), 1 / 3, dtype=torch.float64)
    torch.testing.assert_close(delta(f, s, equal), delta(f, s))
    flat = (f[:, :, 0, 0] - s[:, :, 0, 0]).square().sum(1).mean()
    torch.testing.assert_close(delta(f[:, :, 0, 0], s[:, :, 0, 0]), flat)


# Co-tuning


def test_the_direct_relation_is_a_mean_by_class():
    p, y = torch.softmax(rows(9, 4), 1), torch.tensor([0, 2, 2, 0, 0, 2, 2, 2, 0])
    relation = category_relation(p, y, 3)
    for c in (0, 2):
        members = [p[i].tolist() for i in range(9) if y[i] == c]
        assert relation[c].tolist() == pytest.approx([sum(column) / len(members) for column in zip(*members)])
    assert relation[1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("learned", ["direct", "reverse"])
def test_a_permutation_of_classes_is_found(learned):
    """Target class c is source class (c + 1) mod 4: known, up to what the source model leaves open."""
    y = torch.arange(400) % 4
    p = 0.97 * torch.eye(4, dtype=torch.float64)[(y + 1) % 4] + 0.0075
    relation = category_relation(p, y, 4, learned=learned)
    assert relation.sum(1).tolist() == pytest.approx([1, 1, 1, 1])
    assert relation.argmax(1).tolist() == [1, 2, 3, 0]
    assert relation.max(1).values.min() > 0.9


def test_the_reverse_relation_is_bayes_rule():
    from sklearn.linear_model import LogisticRegression

    p, y = torch.softmax(2 * rows(60, 3), 1), torch.arange(60) % 2 * 2  # class 1 has no row
    relation = category_relation(p, y, 3, learned="reverse")
    target_given_source = LogisticRegression(max_iter=5000).fit(p.numpy(), y.numpy()).predict_proba(np.eye(3))
    prior = p.mean(0)
    for column, c in enumerate((0, 2)):
        joint = [target_given_source[s][column] * prior[s].item() for s in range(3)]
        assert relation[c].tolist() == pytest.approx([value / sum(joint) for value in joint])
    assert relation[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("true", [0.5, 1.0, 4.0])
def test_calibration_undoes_an_overconfidence_that_is_known(true):
    logits = 2 * rows(20000, 3)
    generator = torch.Generator().manual_seed(1)
    label = torch.multinomial(torch.softmax(logits, 1), 1, generator=generator).squeeze(1)
    assert calibrating_temperature(true * logits, label) == pytest.approx(true, rel=0.05)


def test_relation_cross_entropy_is_its_sum_and_plain_cross_entropy_for_one_hot_relations():
    logits, y, relation = rows(5, 3), torch.tensor([0, 1, 1, 0, 1]), torch.softmax(rows(2, 3, seed=1), 1)
    total = 0.0
    for i in range(5):
        log_q = [math.log(share) for share in softmax(logits[i].tolist())]
        total -= sum(r * q for r, q in zip(relation[y[i]].tolist(), log_q, strict=True))
    assert relation_cross_entropy(logits, relation, y).item() == pytest.approx(total / 5)
    one_hot = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(relation_cross_entropy(logits, one_hot, y), torch.nn.functional.cross_entropy(logits, y))


# Bi-tuning


def test_the_contrastive_loss_is_its_sum_and_skips_empty_places():
    q, y, k = rows(4, 3), torch.tensor([0, 1, 2, 0]), rows(6, 3, seed=1)
    of_key = torch.tensor([0, 1, 0, -1, 1, 0])  # no key of class 2; place 3 is empty

    def unit(x):
        return [value / math.hypot(*x) for value in x]

    total = 0.0
    for i in range(4):
        scores = {
            j: sum(a * b for a, b in zip(unit(q[i].tolist()), unit(k[j].tolist()), strict=True)) / 0.5
            for j in range(6)
            if of_key[j] >= 0
        }
        log_sum = math.log(sum(math.exp(score) for score in scores.values()))
        positive = [j for j in scores if of_key[j] == y[i]]
        total -= sum(scores[j] - log_sum for j in positive) / max(1, len(positive))
    loss = supervised_contrastive(q, y, k, of_key, temperature=0.5)
    assert loss.item() == pytest.approx(total / 4, rel=1e-10)
    filled = of_key >= 0
    torch.testing.assert_close(supervised_contrastive(q, y, k[filled], of_key[filled], temperature=0.5), loss)
    assert torch.autograd.gradcheck(lambda q, k: supervised_contrastive(q, y, k, of_key), (q.requires_grad_(), k))


def test_keys_that_cannot_be_told_apart_cost_the_log_of_their_number():
    keys, label = torch.ones(8, 3), torch.arange(8) % 2
    assert supervised_contrastive(torch.ones(4, 3), label[:4], keys, label).item() == pytest.approx(math.log(8))


# All of them

SAME = {
    "distillation": distillation,
    "feature_distillation": feature_distillation,
    "relational_distance": relational_distance,
    "relational_angle": relational_angle,
    "delta": delta,
}


@pytest.mark.parametrize("loss", SAME.values(), ids=SAME)
def test_a_student_that_is_the_teacher_costs_nothing_and_one_that_is_not_pulls_nothing_but_itself(loss):
    x, y = rows(6, 4).requires_grad_(), rows(6, 4, seed=1).requires_grad_()
    assert loss(x, x.detach()).item() == pytest.approx(0, abs=1e-20)
    loss(x, y).backward()
    assert x.grad.abs().sum() > 0
    assert y.grad is None


PAIRED = SAME | {
    "bss": lambda x, _: bss(x),
    "contrastive": lambda x, y: supervised_contrastive(x, torch.arange(6) % 2, y, torch.arange(6) % 2),
    "relation": lambda x, _: relation_cross_entropy(x, torch.full((2, 4), 0.25), torch.arange(6) % 2),
}


@pytest.mark.parametrize("loss", PAIRED.values(), ids=PAIRED)
def test_float32_inside_autocast(loss):
    x, y = rows(6, 4, dtype=torch.float32), rows(6, 4, seed=1, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, of_half = loss(x, y), loss(x.bfloat16(), y.bfloat16())
    assert inside.dtype == of_half.dtype == torch.float32
    assert inside.item() == loss(x, y).item()
    assert loss(x.double(), y.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bss(rows(3, 2), k=3), r"bss: got \(3, 2\) and k=3"),
        (lambda: distillation(rows(3, 2), rows(3, 4)), r"distillation: got \(3, 2\) and \(3, 4\)"),
        (lambda: distillation(rows(3, 2), rows(3, 2), temperature=0), "temperature 0"),
        (lambda: feature_distillation(rows(3, 2), rows(2, 2)), "feature_distillation"),
        (lambda: relational_distance(rows(1, 2), rows(1, 2)), "n >= 2"),
        (lambda: relational_angle(rows(2, 2), rows(2, 2)), "n >= 3"),
        (lambda: delta(rows(3, 2), rows(3, 2), torch.ones(3)), r"attention of shape \(3,\)"),
        (lambda: category_relation(rows(0, 2), torch.zeros(0), 2), "no rows"),
        (lambda: category_relation(rows(2, 2), torch.zeros(2), 2, learned="both"), "learned='both'"),
        (lambda: calibrating_temperature(rows(0, 2), torch.zeros(0)), "no rows"),
        (lambda: supervised_contrastive(rows(2, 2), torch.zeros(2), rows(2, 3), torch.zeros(2)), "equal d"),
        (lambda: supervised_contrastive(rows(2, 2), torch.zeros(2), rows(2, 2), -torch.ones(2)), "no keys"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
