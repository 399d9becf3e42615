"""Path templates, against what google.api.http says of them."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire_server.gateway.templates import TemplateError, Wildcard, parse_template, segments


@pytest.mark.parametrize(
    ("template", "path", "values"),
    [
        ("/api/v1/configs", "/api/v1/configs", {}),
        ("/api/v1/configs", "/api/v1/configs/", {}),
        ("/api/v1/configs", "/api/v1", None),
        ("/api/v1/configs", "/api/v1/configs/x", None),
        ("/api/v1/configs/$schema", "/api/v1/configs/$schema", {}),
        ("/api/v1/configs/$schema", "/api/v1/configs/%24schema", {}),
        ("/configs/{config_id}", "/configs/01ARZ", {"config_id": "01ARZ"}),
        ("/configs/{config_id}", "/configs/a%2Fb", {"config_id": "a/b"}),
        ("/configs/{config_id}", "/configs/%C3%A4", {"config_id": "ä"}),
        ("/configs/{config_id}", "/configs/", None),
        ("/configs/{config_id}", "/configs//", None),
        ("/configs/{config_id}/$artifacts", "/configs/x/%24artifacts", {"config_id": "x"}),
        ("/configs/{config_id}/$artifacts", "/configs/x/artifacts", None),
        ("/v1/{name=shelves/*/books/*}", "/v1/shelves/1/books/2", {"name": "shelves/1/books/2"}),
        ("/v1/{name=shelves/*}", "/v1/shelves/a%2Fb", {"name": "shelves/a%2Fb"}),
        ("/v1/{name=shelves/*}", "/v1/racks/1", None),
        ("/v1/{name=files/**}", "/v1/files/a/b/c", {"name": "files/a/b/c"}),
        ("/v1/{name=files/**}", "/v1/files", {"name": "files"}),
        ("/v1/{book.name}", "/v1/x", {"book.name": "x"}),
        ("/v1/{name=models/*}:undeploy", "/v1/models/m:undeploy", {"name": "models/m"}),
        ("/v1/{name=models/*}:undeploy", "/v1/models/m", None),
        ("/v1/{name=models/*}:undeploy", "/v1/models/:undeploy", None),
        ("/v1/*/x", "/v1/anything/x", {}),
        ("/v1/**", "/v1", {}),
    ],
)
def test_what_a_template_matches(template: str, path: str, values: dict[str, str] | None) -> None:
    assert parse_template(template).match(segments(path)) == values


@pytest.mark.parametrize(
    "template",
    [
        "",
        "/",
        "v1/x",
        "/a//b",
        "/a/{b",
        "/a/b}",
        "/{a}/x{b}",
        "/{a=**}/b",
        "/{a}/{a}",
        "/{1}",
        "/a*",
        "/a?b",
        "/{a=b//c}",
        "/{a={b}}",
    ],
)
def test_what_is_no_template(template: str) -> None:
    with pytest.raises(TemplateError):
        parse_template(template)


def test_the_more_certain_template_goes_first() -> None:
    texts = ["/a/{b=**}", "/a/{b}", "/{a}/b", "/a/b", "/a/{b}:stop"]
    ranked = sorted(texts, key=lambda text: parse_template(text).rank)
    assert ranked == ["/a/{b}:stop", "/a/b", "/a/{b}", "/a/{b=**}", "/{a}/b"]


words = st.text(min_size=1).filter(lambda text: text.isprintable() and "\ufffd" not in text)
plain_words = st.from_regex(r"[a-z$][a-z0-9_.$-]{0,8}", fullmatch=True)


@given(st.lists(st.tuples(plain_words, words), min_size=1, max_size=4), st.booleans())
def test_variables_come_back_as_they_were_whatever_is_in_them(pairs: list[tuple[str, str]], open_end: bool) -> None:
    """Alternating words and variables, the path percent-encoded."""
    template = "".join(f"/{word}/{{field_{number}}}" for number, (word, _) in enumerate(pairs)) + ("/**" if open_end else "")
    path = "".join(f"/{quote(word)}/{quote(value, safe='')}" for word, value in pairs) + ("/x/y" if open_end else "")
    wanted = {f"field_{number}": value for number, (_, value) in enumerate(pairs)}
    assert parse_template(template).match(segments(path)) == wanted


@given(st.lists(plain_words | st.sampled_from([Wildcard.ONE]), min_size=1, max_size=5), st.lists(plain_words, max_size=6))
def test_only_paths_of_the_same_shape_match(parts: list[str | Wildcard], path: list[str]) -> None:
    template = parse_template("".join("/*" if part is Wildcard.ONE else f"/{part}" for part in parts))
    fits = len(parts) == len(path) and all(part in (Wildcard.ONE, word) for part, word in zip(parts, path, strict=True))
    assert (template.match(path) is not None) == fits


@given(st.text())
def test_anything_may_be_asked_for(path: str) -> None:
    assert parse_template("/a/{b}/$c").match(segments(path)) in (None, {"b": segments(path)[1:2] and segments(path)[1]})
