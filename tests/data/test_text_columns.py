"""Texts in a table: which columns they are, what they become, and that nothing else of the table moves."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.data.test_modalities import texts, through_a_file
from tl_research.data.transforms.free_text import is_free_text, joined
from tl_research.data.transforms.latent import LatentText
from tl_research.data.transforms.make import make_transform
from tl_research.errors import DataError


def table(rows=120, seed=0):
    random = np.random.default_rng(seed)
    review = np.array([f"{text} size {number}" for number, text in enumerate(texts(rows, seed))], dtype=object)
    return pd.DataFrame(
        {"age": random.normal(size=rows), "review": review, "city": random.choice(["Oslo", "Rome"], rows)}
    )


KINDS = {
    "reviews": ([f"a fine dress in {word} for me" for word in map(str, range(80))], True),
    "half of them twice": ([f"a fine dress in {n // 2 if n < 60 else n} for me" for n in range(100)], True),
    "codes": ([f"ORD-{n}" for n in range(100)], False),
    "names": ([f"Ann Lee{n}" for n in range(100)], False),
    "kinds in words": ([f"less than {n % 9} years of experience" for n in range(100)], False),
    "few rows": ([f"a fine dress in {n} for me" for n in range(49)], False),
}


@pytest.mark.parametrize("kind", KINDS)
def test_which_columns_are_texts(kind):
    values, is_text = KINDS[kind]
    assert is_free_text(np.array(values, dtype=object)) == is_text


def test_a_text_column_becomes_latent_columns_behind_the_numbers():
    old, new = table(), table(60, seed=1)
    transform = make_transform([old, new], "standard")
    plain = make_transform([part.drop(columns="review") for part in (old, new)], "standard")
    made, without = transform.transform(new), plain.transform(new.drop(columns="review"))
    latent = LatentText.fit([list(old["review"]), list(new["review"])])
    torch.testing.assert_close(made["numeric"][:, :1], without["numeric"])
    torch.testing.assert_close(made["categorical"], without["categorical"])
    np.testing.assert_allclose(made["numeric"][:, 1:].numpy(), latent.transform(new["review"]), atol=1e-6)
    assert transform.spec.numeric == 1 + latent.columns
    assert transform.spec.columns[1] == "review (text 1)"
    assert transform.remarks == [
        f"column 'review' holds texts: their words and pairs of words become {latent.columns} columns of numbers"
    ]


def test_texts_of_several_columns_are_one_and_gaps_are_nothing():
    frame = table().assign(title=lambda part: part["review"].str[::-1])
    frame.loc[3, "title"] = None
    frame.loc[4, ["title", "review"]] = None
    names = ["review", "title"]
    assert joined(frame, names)[3:5] == [frame["review"][3], ""]
    made = make_transform([frame], "none").transform(frame)["numeric"]
    assert (made[4, 1:] == 0).all()
    assert (made[3, 1:] != 0).any()


def test_a_file_gives_the_same_columns_and_new_words_are_nothing():
    old, new = table(), table(30, seed=2)
    new["review"] += " zebra"
    transform = make_transform([old], "standard")
    torch.testing.assert_close(through_a_file(transform).transform(new), transform.transform(new), rtol=0, atol=0)
    plain = new.assign(review=new["review"].str.removesuffix(" zebra"))
    torch.testing.assert_close(transform.transform(new), transform.transform(plain))


def test_a_table_of_texts_alone_is_enough_and_a_lacking_text_column_is_named():
    transform = make_transform([table()[["review"]]], "none")
    assert transform.spec.numeric > 5
    with pytest.raises(DataError, match="lacks the columns 'review'"):
        transform.transform(table().drop(columns="review"))


def test_texts_without_a_word_that_comes_twice_are_left_out_and_said():
    frame = table().assign(review=[f"aa{n} bb{n} cc{n}" for n in range(120)])
    transform = make_transform([frame], "none")
    assert transform.remarks == [
        "column 'review' is left out: texts of which no word of two letters or more occurs twice"
    ]
    assert transform.spec.numeric == 1
