import pytest

from tl_research.config.yaml_text import parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("off", "off"), ("yes", "yes"), ("on", "on"), ("true", True), ("False", False),
        ("12:00:00", "12:00:00"), ("1e-3", 0.001), ("1.5", 1.5), ("-.5", -0.5), ("1.", 1.0), ("2E5", 2e5),
        ("007", 7), ("-3", -3), ("1_000", "1_000"), ("null", None), ("", None), ("2015", 2015),
        ("2015-01-01", "2015-01-01"),
        ("[a, no, 1e2]", ["a", "no", 100.0]), ("{a: 1}", {"a": 1}), ("'5'", "5"), ("e5", "e5"), (".", "."),
        (".inf", float("inf")),
    ],
)  # fmt: skip
def test_values_read_as_people_mean_them(text, value):
    read = parse_value(text, "key")
    assert read == value
    assert type(read) is type(value)
