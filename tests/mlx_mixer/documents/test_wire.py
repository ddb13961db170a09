"""Requests to the child processes arrive in whatever parts the pipe has."""

from hypothesis import given
from hypothesis import strategies as st

from mlx_mixer.documents.wire import pack_request, take_request

REQUESTS = st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=40)), max_size=6)


@given(REQUESTS, st.lists(st.integers(1, 50)))
def test_requests_are_whole_however_they_arrive(requests: list[tuple[str, bytes]], lengths: list[int]) -> None:
    stream = b"".join(pack_request(name, data) for name, data in requests)
    received, taken = bytearray(), []
    for length in [*lengths, len(stream)]:
        received += stream[:length]
        stream = stream[length:]
        while request := take_request(received):
            taken.append(request)
    assert taken == requests
    assert not received
