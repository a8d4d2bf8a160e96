"""Shapes of answers: what is not as it is documented is never taken for the end of a list."""

from __future__ import annotations

import pytest

from source_meetings.transport.answer import ListOfRows

TOKENS = ListOfRows("notes", following="paging.next", required=("following",))


@pytest.mark.parametrize(
    ("paging", "following"), [({"next": "b"}, "b"), ({"next": 7}, "7"), ({"next": None}, None)]
)
def test_the_token_of_the_next_page_is_a_text_or_a_number_or_null_after_the_last_one(
    paging, following
):
    body = {"notes": [{"id": "1"}], "paging": paging}
    assert TOKENS.problem(body) is None
    assert TOKENS.content(body, {}).following == following


@pytest.mark.parametrize("paging", [{}, None, [], "b"])
def test_an_answer_without_a_place_for_the_token_is_not_the_last_page(paging):
    # Given an API that is documented to send it always
    body = {"notes": [{"id": "1"}], "paging": paging}
    # When it is missing, then the answer has another shape
    assert TOKENS.problem(body) == "it does not have 'paging.next'"


@pytest.mark.parametrize("token", [True, {"id": 1}, ["b"], 1.5])
def test_a_token_that_is_none_is_not_sent(token):
    body = {"notes": [{"id": "1"}], "paging": {"next": token}}
    assert TOKENS.problem(body) == "'paging.next' is not a token"


@pytest.mark.parametrize("total", [None, "12", True])
def test_a_total_that_is_none_is_not_one(total):
    # Given an API that is documented to send the total of rows always
    shape = ListOfRows("notes", total="total", required=("total",))
    # When there is something else in its place, then the answer has another shape
    body = {"notes": [{"id": "1"}], "total": total}
    assert shape.problem(body) == "it does not have 'total'"
