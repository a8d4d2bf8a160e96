"""The shape of answers: an undocumented shape is never mistaken for the end of a list."""

from __future__ import annotations

import pytest

from source_meetings.transport.answer import ListOfRows

TOKENS = ListOfRows("notes", following="paging.next", required=("following",))


@pytest.mark.parametrize(
    ("paging", "following"), [({"next": "b"}, "b"), ({"next": 7}, "7"), ({"next": None}, None)]
)
def test_the_next_page_token_is_a_string_or_a_number_or_null_on_the_last_page(paging, following):
    body = {"notes": [{"id": "1"}], "paging": paging}
    assert TOKENS.problem(body) is None
    assert TOKENS.content(body, {}).following == following


@pytest.mark.parametrize("paging", [{}, None, [], "b"])
def test_an_answer_without_the_token_key_is_not_the_last_page(paging):
    # Given an API that is documented to send the key with every page
    body = {"notes": [{"id": "1"}], "paging": paging}
    # When the key is missing, then the answer does not have the documented shape
    assert TOKENS.problem(body) == "it does not have 'paging.next'"


@pytest.mark.parametrize("token", [True, {"id": 1}, ["b"], 1.5])
def test_a_value_that_cannot_be_a_token_is_not_sent(token):
    body = {"notes": [{"id": "1"}], "paging": {"next": token}}
    assert TOKENS.problem(body) == "'paging.next' is not a token"


@pytest.mark.parametrize("total", [None, "12", True])
def test_a_value_that_cannot_be_a_total_is_not_used(total):
    # Given an API that is documented to send the total with every page
    shape = ListOfRows("notes", total="total", required=("total",))
    # When the value is something else, then the answer does not have the documented shape
    body = {"notes": [{"id": "1"}], "total": total}
    assert shape.problem(body) == "it does not have 'total'"
