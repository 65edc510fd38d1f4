"""Ranges of stored objects are the bytes of the objects, from the disk and by fsspec, and are counted."""

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photoz.tiles.fetch import Range, Traffic, choose_threads, make_fetch, measure_union

CONTENT = {"a": bytes(range(200)), "folder/b": b"0123456789" * 10}


@pytest.fixture(scope="module", params=["disk", "memory"])
def location(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("objects")
    place = str(folder) if request.param == "disk" else f"memory://{folder.name}"
    for key, content in CONTENT.items():
        (folder / key).parent.mkdir(exist_ok=True)
        with fsspec.open(f"{place}/{key}", "wb") as file:
            file.write(content)
    return place


def slice_content(wanted: Range) -> bytes | None:
    key, first, last = wanted
    return CONTENT[key][first:last] if key in CONTENT else None


ranges = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["a", "folder/b", "absent"]), st.integers(0, 50), st.integers(51, 100)),
        st.tuples(st.sampled_from(["a", "folder/b", "absent"]), st.integers(-100, -1), st.none()),
        st.tuples(st.sampled_from(["a", "folder/b", "absent"]), st.just(0), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=50, deadline=None)
@given(wanted=ranges)
def test_a_range_is_the_objects_bytes_in_the_order_asked_for(location: str, wanted: list[Range]) -> None:
    found = make_fetch(location)(wanted)
    assert [None if part is None else bytes(part) for part in found] == [slice_content(each) for each in wanted]


def test_traffic_counts_requests_and_bytes_and_the_time_between(location: str) -> None:
    traffic = Traffic()
    fetch = traffic.measure(make_fetch(location))
    fetch([("a", 0, 10), ("folder/b", -5, None), ("absent", 0, None)])
    fetch([("a", 0, None)])
    assert (traffic.requests, traffic.bytes_read) == (4, 10 + 5 + 200)
    assert traffic.seconds > 0


def test_a_request_that_raises_is_counted_and_ended() -> None:
    def refuse(_: object) -> list[bytes | None]:
        raise OSError("away")

    traffic = Traffic()
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            traffic.measure(refuse)([("a", 0, 1)])
    assert (traffic.requests, traffic.bytes_read) == (2, 0)


def test_threads_are_for_stores(location: str) -> None:
    assert choose_threads(location, 8) == (8 if "://" in location else 1)


times = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=8)


@given(spans=times)
def test_the_union_of_spans_counts_each_moment_once(spans: list[tuple[int, int]]) -> None:
    moments = {moment for begin, end in spans for moment in range(begin, end)}
    assert measure_union(spans) == len(moments)
