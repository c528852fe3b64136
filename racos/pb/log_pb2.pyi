# mypy: disable-error-code="type-arg"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PayRecord(_message.Message):
    __slots__ = ("lane", "round", "held", "values", "coded", "says_one")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    CODED_FIELD_NUMBER: _ClassVar[int]
    SAYS_ONE_FIELD_NUMBER: _ClassVar[int]
    lane: int
    round: int
    held: int
    values: int
    coded: bool
    says_one: bool
    def __init__(self, lane: _Optional[int] = ..., round: _Optional[int] = ..., held: _Optional[int] = ..., values: _Optional[int] = ..., coded: _Optional[bool] = ..., says_one: _Optional[bool] = ...) -> None: ...

class StateRecord(_message.Message):
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

class VoteRecord(_message.Message):
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

class ReserveRecord(_message.Message):
    __slots__ = ("upto",)
    UPTO_FIELD_NUMBER: _ClassVar[int]
    upto: int
    def __init__(self, upto: _Optional[int] = ...) -> None: ...

class AppliedRecord(_message.Message):
    __slots__ = ("start", "end", "ones", "names")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ONES_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    ones: _containers.RepeatedScalarFieldContainer[int]
    names: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., ones: _Optional[_Iterable[int]] = ..., names: _Optional[_Iterable[int]] = ...) -> None: ...

class BallotRecord(_message.Message):
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
