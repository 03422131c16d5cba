"""Statements against facts, and the judge that is no model."""

import pytest

from gaea.eval.claims import ClaimChecker, folded
from gaea.eval.lexical import content, f1, mark

CAIRO = (
    ("near", "Al Jizah 13 km", "GeoNames"),
    ("country", "Egypt", "Natural Earth"),
    ("continent", "Africa", "GeoNames"),
    ("capital", "Cairo", "GeoNames"),
    ("neighbours", "Libya, Sudan, Israel, Palestine", "GeoNames"),
    ("languages", "Arabic, English, French", "GeoNames"),
    ("driving", "right", "law"),
    ("currency", "Pound (EGP)", "GeoNames"),
    ("climate", "hot desert", "Köppen-Geiger"),
    ("hemisphere", "northern and eastern", "geometry"),
    ("coast", "inland", "Natural Earth"),
)
ELSEWHERE = (
    ("continent", "Europe", ""),
    ("capital", "Paris", ""),
    ("languages", "French, Bavarian", ""),
    ("driving", "left", ""),
    ("currency", "Euro (EUR)", ""),
    ("climate", "oceanic", ""),
    ("coast", "coastal", ""),
)
CHECKER = ClaimChecker((*CAIRO, *ELSEWHERE))


@pytest.mark.parametrize(
    ("answer", "supports"),
    [
        ("The country is Egypt. The climate is hot desert.", ["supported", "supported"]),
        ("Its neighbours are Libya, Sudan, Israel, Palestine.", ["supported"]),
        ("Its neighbours are Libya and Chad.", ["contradicted"]),
        ("The country is Libya.", ["contradicted"]),
        ("The country is not Libya.", ["supported"]),
        ("The country is not Egypt.", ["contradicted"]),
        ("It could also be Libya (2 %).", ["unsupported"]),
        ("It is in Europe.", ["contradicted"]),
        ("They drive on the left.", ["contradicted"]),
        ("They drive on the right.", ["supported"]),
        ("Turn left at the mosque.", ["unsupported"]),
        ("One pays with the Euro.", ["contradicted"]),
        ("People speak Arabic; the capital is Paris.", ["supported", "contradicted"]),
        ("The nearest town is Al Jizah, 13 km away.", ["supported"]),
        ("The nearest town is Al Jizah, 90 km away.", ["contradicted"]),
        ("The pyramids are old.", ["unsupported"]),
        ("I cannot tell where this is.", []),
        ("I cannot tell, but the country is Egypt.", ["supported"]),
        ("", []),
        ("?!", []),
    ],
)
def test_statements_against_facts(answer, supports):
    assert [support for _, support in CHECKER.check(answer, CAIRO).statements] == supports


def test_the_question_says_what_a_bare_value_is_of():
    def said(answer, question):
        return [support for _, support in CHECKER.check(answer, CAIRO, question).statements]

    assert said("right", "On which side do people drive here?") == ["supported"]
    assert said("left", "On which side do people drive here?") == ["contradicted"]
    assert said("right", "Is that all?") == ["unsupported"]
    assert said("Libya", "Which countries are its neighbours?") == ["supported"]
    assert said("Libya", "Which country is this?") == ["contradicted"]


def test_without_facts_nothing_is_decided():
    claims = CHECKER.check("The country is Egypt.", ())
    assert [support for _, support in claims.statements] == ["unsupported"]
    assert claims.precision is None


def test_precision_counts_only_what_the_facts_decide():
    claims = CHECKER.check("The country is Egypt. The sky is blue. The capital is Paris.", CAIRO)
    assert (claims.count("supported"), claims.count("unsupported"), claims.count("contradicted")) == (1, 1, 1)
    assert claims.precision == 0.5


def test_overlap_is_f1_of_content_words():
    assert content("The country is Égypt!") == ["country", "egypt"]
    assert content("it is") == ["it", "is"]
    assert f1("Egypt", "The country is Egypt.") == pytest.approx(2 / 3)
    assert f1("Egypt Egypt Egypt", "Egypt") == pytest.approx(0.5)
    assert f1("France", "Egypt") == 0.0
    assert folded("  Côte d’Ivoire ") == "cote d'ivoire"


def test_the_lexical_mark_follows_its_formula():
    right, wrong = "The country is Egypt.", "The country is Libya."
    assert mark(right, right, CHECKER.check(right, CAIRO)) == (10.0, {"overlap": 1.0, "support": 1.0})
    assert mark(wrong, right, CHECKER.check(wrong, CAIRO)) == (2.5, {"overlap": 0.5, "support": 0.0})
    assert mark("The sky is blue.", right, CHECKER.check("The sky is blue.", CAIRO)) == (0.0, {"overlap": 0.0})
