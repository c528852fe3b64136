# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Frame(_message.Message):
    __slots__ = ("pays", "states", "votes", "decides", "holds", "skips", "asks", "probes", "probe_replies", "beat", "chunk", "fragment_requests", "fragment_replies", "hello", "behind", "state_request", "state_chunk", "vow_requests", "vow_replies", "hash_requests", "hash_replies", "ballots", "settled", "pulls")
    PAYS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    DECIDES_FIELD_NUMBER: _ClassVar[int]
    HOLDS_FIELD_NUMBER: _ClassVar[int]
    SKIPS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    PROBES_FIELD_NUMBER: _ClassVar[int]
    PROBE_REPLIES_FIELD_NUMBER: _ClassVar[int]
    BEAT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    FRAGMENT_REPLIES_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    BEHIND_FIELD_NUMBER: _ClassVar[int]
    STATE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    STATE_CHUNK_FIELD_NUMBER: _ClassVar[int]
    VOW_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VOW_REPLIES_FIELD_NUMBER: _ClassVar[int]
    HASH_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    HASH_REPLIES_FIELD_NUMBER: _ClassVar[int]
    BALLOTS_FIELD_NUMBER: _ClassVar[int]
    SETTLED_FIELD_NUMBER: _ClassVar[int]
    PULLS_FIELD_NUMBER: _ClassVar[int]
    pays: _containers.RepeatedCompositeFieldContainer[Pay]
    states: _containers.RepeatedCompositeFieldContainer[State]
    votes: _containers.RepeatedCompositeFieldContainer[Vote]
    decides: _containers.RepeatedCompositeFieldContainer[Decide]
    holds: _containers.RepeatedCompositeFieldContainer[Hold]
    skips: _containers.RepeatedCompositeFieldContainer[Skip]
    asks: _containers.RepeatedScalarFieldContainer[int]
    probes: _containers.RepeatedScalarFieldContainer[int]
    probe_replies: _containers.RepeatedCompositeFieldContainer[ProbeReply]
    beat: Beat
    chunk: Chunk
    fragment_requests: _containers.RepeatedCompositeFieldContainer[FragmentRequest]
    fragment_replies: _containers.RepeatedCompositeFieldContainer[FragmentReply]
    hello: Hello
    behind: Behind
    state_request: StateRequest
    state_chunk: StateChunk
    vow_requests: _containers.RepeatedCompositeFieldContainer[VowRequest]
    vow_replies: _containers.RepeatedCompositeFieldContainer[VowReply]
    hash_requests: _containers.RepeatedCompositeFieldContainer[HashRequest]
    hash_replies: _containers.RepeatedCompositeFieldContainer[HashReply]
    ballots: _containers.RepeatedCompositeFieldContainer[Ballot]
    settled: _containers.RepeatedCompositeFieldContainer[Settled]
    pulls: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, pays: _Optional[_Iterable[_Union[Pay, _Mapping]]] = ..., states: _Optional[_Iterable[_Union[State, _Mapping]]] = ..., votes: _Optional[_Iterable[_Union[Vote, _Mapping]]] = ..., decides: _Optional[_Iterable[_Union[Decide, _Mapping]]] = ..., holds: _Optional[_Iterable[_Union[Hold, _Mapping]]] = ..., skips: _Optional[_Iterable[_Union[Skip, _Mapping]]] = ..., asks: _Optional[_Iterable[int]] = ..., probes: _Optional[_Iterable[int]] = ..., probe_replies: _Optional[_Iterable[_Union[ProbeReply, _Mapping]]] = ..., beat: _Optional[_Union[Beat, _Mapping]] = ..., chunk: _Optional[_Union[Chunk, _Mapping]] = ..., fragment_requests: _Optional[_Iterable[_Union[FragmentRequest, _Mapping]]] = ..., fragment_replies: _Optional[_Iterable[_Union[FragmentReply, _Mapping]]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., behind: _Optional[_Union[Behind, _Mapping]] = ..., state_request: _Optional[_Union[StateRequest, _Mapping]] = ..., state_chunk: _Optional[_Union[StateChunk, _Mapping]] = ..., vow_requests: _Optional[_Iterable[_Union[VowRequest, _Mapping]]] = ..., vow_replies: _Optional[_Iterable[_Union[VowReply, _Mapping]]] = ..., hash_requests: _Optional[_Iterable[_Union[HashRequest, _Mapping]]] = ..., hash_replies: _Optional[_Iterable[_Union[HashReply, _Mapping]]] = ..., ballots: _Optional[_Iterable[_Union[Ballot, _Mapping]]] = ..., settled: _Optional[_Iterable[_Union[Settled, _Mapping]]] = ..., pulls: _Optional[_Iterable[int]] = ...) -> None: ...

class Pay(_message.Message):
    __slots__ = ("lane", "round", "previous", "held", "values", "coded")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    CODED_FIELD_NUMBER: _ClassVar[int]
    lane: int
    round: int
    previous: int
    held: int
    values: int
    coded: bool
    def __init__(self, lane: _Optional[int] = ..., round: _Optional[int] = ..., previous: _Optional[int] = ..., held: _Optional[int] = ..., values: _Optional[int] = ..., coded: _Optional[bool] = ...) -> None: ...

class State(_message.Message):
    __slots__ = ("lane", "first", "last", "phase", "value", "held")
    LANE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    lane: int
    first: int
    last: int
    phase: int
    value: int
    held: int
    def __init__(self, lane: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., phase: _Optional[int] = ..., value: _Optional[int] = ..., held: _Optional[int] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("lane", "first", "last", "phase", "value")
    LANE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    lane: int
    first: int
    last: int
    phase: int
    value: int
    def __init__(self, lane: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., phase: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...

class Decide(_message.Message):
    __slots__ = ("lane", "first", "last", "value")
    LANE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    lane: int
    first: int
    last: int
    value: int
    def __init__(self, lane: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ..., value: _Optional[int] = ...) -> None: ...

class Hold(_message.Message):
    __slots__ = ("lane", "round", "held", "holder")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    HOLDER_FIELD_NUMBER: _ClassVar[int]
    lane: int
    round: int
    held: int
    holder: int
    def __init__(self, lane: _Optional[int] = ..., round: _Optional[int] = ..., held: _Optional[int] = ..., holder: _Optional[int] = ...) -> None: ...

class VowRequest(_message.Message):
    __slots__ = ("nonce", "number", "upto")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    UPTO_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    number: int
    upto: int
    def __init__(self, nonce: _Optional[int] = ..., number: _Optional[int] = ..., upto: _Optional[int] = ...) -> None: ...

class VowReply(_message.Message):
    __slots__ = ("nonce", "number", "own", "fresh", "met", "round")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    FRESH_FIELD_NUMBER: _ClassVar[int]
    MET_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    nonce: int
    number: int
    own: int
    fresh: bool
    met: bool
    round: int
    def __init__(self, nonce: _Optional[int] = ..., number: _Optional[int] = ..., own: _Optional[int] = ..., fresh: _Optional[bool] = ..., met: _Optional[bool] = ..., round: _Optional[int] = ...) -> None: ...

class Skip(_message.Message):
    __slots__ = ("lane", "previous", "upto")
    LANE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    UPTO_FIELD_NUMBER: _ClassVar[int]
    lane: int
    previous: int
    upto: int
    def __init__(self, lane: _Optional[int] = ..., previous: _Optional[int] = ..., upto: _Optional[int] = ...) -> None: ...

class ProbeReply(_message.Message):
    __slots__ = ("number", "position")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    number: int
    position: int
    def __init__(self, number: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...

class Beat(_message.Message):
    __slots__ = ("round", "frontier", "whole", "epoch", "back")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FRONTIER_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    BACK_FIELD_NUMBER: _ClassVar[int]
    round: int
    frontier: int
    whole: int
    epoch: int
    back: bool
    def __init__(self, round: _Optional[int] = ..., frontier: _Optional[int] = ..., whole: _Optional[int] = ..., epoch: _Optional[int] = ..., back: _Optional[bool] = ...) -> None: ...

class Chunk(_message.Message):
    __slots__ = ("start", "end", "frontier", "positions", "coded", "names")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    FRONTIER_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    CODED_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    frontier: int
    positions: _containers.RepeatedScalarFieldContainer[int]
    coded: _containers.RepeatedScalarFieldContainer[bool]
    names: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., frontier: _Optional[int] = ..., positions: _Optional[_Iterable[int]] = ..., coded: _Optional[_Iterable[bool]] = ..., names: _Optional[_Iterable[int]] = ...) -> None: ...

class FragmentRequest(_message.Message):
    __slots__ = ("number", "position", "index", "want")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    number: int
    position: int
    index: int
    want: int
    def __init__(self, number: _Optional[int] = ..., position: _Optional[int] = ..., index: _Optional[int] = ..., want: _Optional[int] = ...) -> None: ...

class FragmentReply(_message.Message):
    __slots__ = ("number", "held")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    number: int
    held: int
    def __init__(self, number: _Optional[int] = ..., held: _Optional[int] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("name", "client_urls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_URLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    client_urls: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., client_urls: _Optional[_Iterable[str]] = ...) -> None: ...

class Behind(_message.Message):
    __slots__ = ("floor",)
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    floor: int
    def __init__(self, floor: _Optional[int] = ...) -> None: ...

class StateRequest(_message.Message):
    __slots__ = ("number", "after")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    number: int
    after: bytes
    def __init__(self, number: _Optional[int] = ..., after: _Optional[bytes] = ...) -> None: ...

class StateChunk(_message.Message):
    __slots__ = ("number", "frontier", "last", "keys", "values")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FRONTIER_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    number: int
    frontier: int
    last: bool
    keys: _containers.RepeatedScalarFieldContainer[bytes]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, number: _Optional[int] = ..., frontier: _Optional[int] = ..., last: _Optional[bool] = ..., keys: _Optional[_Iterable[bytes]] = ..., values: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HashRequest(_message.Message):
    __slots__ = ("number", "revision", "compact_revision")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    COMPACT_REVISION_FIELD_NUMBER: _ClassVar[int]
    number: int
    revision: int
    compact_revision: int
    def __init__(self, number: _Optional[int] = ..., revision: _Optional[int] = ..., compact_revision: _Optional[int] = ...) -> None: ...

class HashReply(_message.Message):
    __slots__ = ("number", "hash", "known")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    number: int
    hash: int
    known: bool
    def __init__(self, number: _Optional[int] = ..., hash: _Optional[int] = ..., known: _Optional[bool] = ...) -> None: ...

class Ballot(_message.Message):
    __slots__ = ("slot", "step", "value", "name")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    slot: int
    step: int
    value: int
    name: int
    def __init__(self, slot: _Optional[int] = ..., step: _Optional[int] = ..., value: _Optional[int] = ..., name: _Optional[int] = ...) -> None: ...

class Settled(_message.Message):
    __slots__ = ("slot", "name")
    SLOT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    slot: int
    name: int
    def __init__(self, slot: _Optional[int] = ..., name: _Optional[int] = ...) -> None: ...
