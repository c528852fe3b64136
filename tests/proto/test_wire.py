"""The schema against facts written down apart from it: every field's number and type, and bytes.

The table is etcd's documented v3 schema (3.6, with 3.7's RangeStream); `*` marks repeated fields,
capital names are messages or enums.
"""

from __future__ import annotations

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from etcdshim.pb import (
    auth_pb2,
    election_pb2,
    health_pb2,
    kv_pb2,
    lease_pb2,
    lock_pb2,
    rpc_pb2,
)

_MODULES = (auth_pb2, election_pb2, health_pb2, kv_pb2, lease_pb2, lock_pb2, rpc_pb2)

_TYPES = {
    FieldDescriptor.TYPE_INT64: "i64",
    FieldDescriptor.TYPE_UINT64: "u64",
    FieldDescriptor.TYPE_UINT32: "u32",
    FieldDescriptor.TYPE_BYTES: "b",
    FieldDescriptor.TYPE_STRING: "s",
    FieldDescriptor.TYPE_BOOL: "B",
}

# message (package etcdserverpb unless named) | fields; H is the header, which is always field 1
SCHEMA = """
ResponseHeader | cluster_id:u64=1 member_id:u64=2 revision:i64=3 raft_term:u64=4
RangeRequest | key:b=1 range_end:b=2 limit:i64=3 revision:i64=4 sort_order:SortOrder=5 \
sort_target:SortTarget=6 serializable:B=7 keys_only:B=8 count_only:B=9 min_mod_revision:i64=10 \
max_mod_revision:i64=11 min_create_revision:i64=12 max_create_revision:i64=13
RangeResponse | H kvs:KeyValue*=2 more:B=3 count:i64=4
RangeStreamResponse | range_response:RangeResponse=1
PutRequest | key:b=1 value:b=2 lease:i64=3 prev_kv:B=4 ignore_value:B=5 ignore_lease:B=6
PutResponse | H prev_kv:KeyValue=2
DeleteRangeRequest | key:b=1 range_end:b=2 prev_kv:B=3
DeleteRangeResponse | H deleted:i64=2 prev_kvs:KeyValue*=3
RequestOp | request_range:RangeRequest=1 request_put:PutRequest=2 \
request_delete_range:DeleteRangeRequest=3 request_txn:TxnRequest=4
ResponseOp | response_range:RangeResponse=1 response_put:PutResponse=2 \
response_delete_range:DeleteRangeResponse=3 response_txn:TxnResponse=4
Compare | result:CompareResult=1 target:CompareTarget=2 key:b=3 version:i64=4 \
create_revision:i64=5 mod_revision:i64=6 value:b=7 lease:i64=8 range_end:b=64
TxnRequest | compare:Compare*=1 success:RequestOp*=2 failure:RequestOp*=3
TxnResponse | H succeeded:B=2 responses:ResponseOp*=3
CompactionRequest | revision:i64=1 physical:B=2
CompactionResponse | H
HashRequest |
HashResponse | H hash:u32=2
HashKVRequest | revision:i64=1
HashKVResponse | H hash:u32=2 compact_revision:i64=3 hash_revision:i64=4
SnapshotRequest |
SnapshotResponse | H remaining_bytes:u64=2 blob:b=3 version:s=4
WatchRequest | create_request:WatchCreateRequest=1 cancel_request:WatchCancelRequest=2 \
progress_request:WatchProgressRequest=3
WatchCreateRequest | key:b=1 range_end:b=2 start_revision:i64=3 progress_notify:B=4 \
filters:FilterType*=5 prev_kv:B=6 watch_id:i64=7 fragment:B=8
WatchCancelRequest | watch_id:i64=1
WatchProgressRequest |
WatchResponse | H watch_id:i64=2 created:B=3 canceled:B=4 compact_revision:i64=5 \
cancel_reason:s=6 fragment:B=7 events:Event*=11
LeaseGrantRequest | TTL:i64=1 ID:i64=2
LeaseGrantResponse | H ID:i64=2 TTL:i64=3 error:s=4
LeaseRevokeRequest | ID:i64=1
LeaseRevokeResponse | H
LeaseKeepAliveRequest | ID:i64=1
LeaseKeepAliveResponse | H ID:i64=2 TTL:i64=3
LeaseTimeToLiveRequest | ID:i64=1 keys:B=2
LeaseTimeToLiveResponse | H ID:i64=2 TTL:i64=3 grantedTTL:i64=4 keys:b*=5
LeaseLeasesRequest |
LeaseStatus | ID:i64=1
LeaseLeasesResponse | H leases:LeaseStatus*=2
LeaseCheckpoint | ID:i64=1 remaining_TTL:i64=2
LeaseCheckpointRequest | checkpoints:LeaseCheckpoint*=1
LeaseCheckpointResponse | H
Member | ID:u64=1 name:s=2 peerURLs:s*=3 clientURLs:s*=4 isLearner:B=5
MemberAddRequest | peerURLs:s*=1 isLearner:B=2
MemberAddResponse | H member:Member=2 members:Member*=3
MemberRemoveRequest | ID:u64=1
MemberRemoveResponse | H members:Member*=2
MemberUpdateRequest | ID:u64=1 peerURLs:s*=2
MemberUpdateResponse | H members:Member*=2
MemberListRequest | linearizable:B=1
MemberListResponse | H members:Member*=2
MemberPromoteRequest | ID:u64=1
MemberPromoteResponse | H members:Member*=2
DefragmentRequest |
DefragmentResponse | H
MoveLeaderRequest | targetID:u64=1
MoveLeaderResponse | H
AlarmRequest | action:AlarmAction=1 memberID:u64=2 alarm:AlarmType=3
AlarmMember | memberID:u64=1 alarm:AlarmType=2
AlarmResponse | H alarms:AlarmMember*=2
DowngradeRequest | action:DowngradeAction=1 version:s=2
DowngradeResponse | H version:s=2
StatusRequest |
StatusResponse | H version:s=2 dbSize:i64=3 leader:u64=4 raftIndex:u64=5 raftTerm:u64=6 \
raftAppliedIndex:u64=7 errors:s*=8 dbSizeInUse:i64=9 isLearner:B=10 storageVersion:s=11 \
dbSizeQuota:i64=12 downgradeInfo:DowngradeInfo=13
DowngradeInfo | enabled:B=1 targetVersion:s=2
AuthEnableRequest |
AuthEnableResponse | H
AuthDisableRequest |
AuthDisableResponse | H
AuthStatusRequest |
AuthStatusResponse | H enabled:B=2 authRevision:u64=3
AuthenticateRequest | name:s=1 password:s=2
AuthenticateResponse | H token:s=2
AuthUserAddRequest | name:s=1 password:s=2 options:UserAddOptions=3 hashedPassword:s=4
AuthUserAddResponse | H
AuthUserGetRequest | name:s=1
AuthUserGetResponse | H roles:s*=2
AuthUserListRequest |
AuthUserListResponse | H users:s*=2
AuthUserDeleteRequest | name:s=1
AuthUserDeleteResponse | H
AuthUserChangePasswordRequest | name:s=1 password:s=2 hashedPassword:s=3
AuthUserChangePasswordResponse | H
AuthUserGrantRoleRequest | user:s=1 role:s=2
AuthUserGrantRoleResponse | H
AuthUserRevokeRoleRequest | name:s=1 role:s=2
AuthUserRevokeRoleResponse | H
AuthRoleAddRequest | name:s=1
AuthRoleAddResponse | H
AuthRoleGetRequest | role:s=1
AuthRoleGetResponse | H perm:Permission*=2
AuthRoleListRequest |
AuthRoleListResponse | H roles:s*=2
AuthRoleDeleteRequest | role:s=1
AuthRoleDeleteResponse | H
AuthRoleGrantPermissionRequest | name:s=1 perm:Permission=2
AuthRoleGrantPermissionResponse | H
AuthRoleRevokePermissionRequest | role:s=1 key:b=2 range_end:b=3
AuthRoleRevokePermissionResponse | H
mvccpb.KeyValue | key:b=1 create_revision:i64=2 mod_revision:i64=3 version:i64=4 value:b=5 \
lease:i64=6
mvccpb.Event | type:EventType=1 kv:KeyValue=2 prev_kv:KeyValue=3
authpb.UserAddOptions | no_password:B=1
authpb.User | name:b=1 password:b=2 roles:s*=3 options:UserAddOptions=4
authpb.Permission | permType:Type=1 key:b=2 range_end:b=3
authpb.Role | name:b=1 keyPermission:Permission*=2
leasepb.Lease | ID:i64=1 TTL:i64=2 RemainingTTL:i64=3
v3lockpb.LockRequest | name:b=1 lease:i64=2
v3lockpb.LockResponse | H key:b=2
v3lockpb.UnlockRequest | key:b=1
v3lockpb.UnlockResponse | H
v3electionpb.CampaignRequest | name:b=1 lease:i64=2 value:b=3
v3electionpb.CampaignResponse | H leader:LeaderKey=2
v3electionpb.LeaderKey | name:b=1 key:b=2 rev:i64=3 lease:i64=4
v3electionpb.LeaderRequest | name:b=1
v3electionpb.LeaderResponse | H kv:KeyValue=2
v3electionpb.ProclaimRequest | leader:LeaderKey=1 value:b=2
v3electionpb.ProclaimResponse | H
v3electionpb.ResignRequest | leader:LeaderKey=1
v3electionpb.ResignResponse | H
grpc.health.v1.HealthCheckRequest | service:s=1
grpc.health.v1.HealthCheckResponse | status:ServingStatus=1
"""

ENUMS = """
etcdserverpb.RangeRequest.SortOrder | NONE=0 ASCEND=1 DESCEND=2
etcdserverpb.RangeRequest.SortTarget | KEY=0 VERSION=1 CREATE=2 MOD=3 VALUE=4
etcdserverpb.Compare.CompareResult | EQUAL=0 GREATER=1 LESS=2 NOT_EQUAL=3
etcdserverpb.Compare.CompareTarget | VERSION=0 CREATE=1 MOD=2 VALUE=3 LEASE=4
etcdserverpb.WatchCreateRequest.FilterType | NOPUT=0 NODELETE=1
etcdserverpb.AlarmType | NONE=0 NOSPACE=1 CORRUPT=2
etcdserverpb.AlarmRequest.AlarmAction | GET=0 ACTIVATE=1 DEACTIVATE=2
etcdserverpb.DowngradeRequest.DowngradeAction | VALIDATE=0 ENABLE=1 CANCEL=2
mvccpb.Event.EventType | PUT=0 DELETE=1
authpb.Permission.Type | READ=0 WRITE=1 READWRITE=2
grpc.health.v1.HealthCheckResponse.ServingStatus | UNKNOWN=0 SERVING=1 NOT_SERVING=2 \
SERVICE_UNKNOWN=3
"""


def rows(table: str) -> dict[str, str]:
    found = {}
    for line in table.strip().splitlines():
        name, _, fields = line.partition(" |")
        found[name if "." in name else f"etcdserverpb.{name}"] = fields.strip()
    return found


def messages() -> dict[str, Descriptor]:
    return {
        message.full_name: message
        for module in _MODULES
        for message in module.DESCRIPTOR.message_types_by_name.values()
    }


def described(field: FieldDescriptor) -> str:
    if field.message_type is not None:
        kind = field.message_type.name
    elif field.enum_type is not None:
        kind = field.enum_type.name
    else:
        kind = _TYPES[field.type]
    if (field.name, kind, field.number) == ("header", "ResponseHeader", 1):
        return "H"
    return f"{field.name}:{kind}{'*' if field.is_repeated else ''}={field.number}"


def test_every_message_has_exactly_these_fields() -> None:
    expected = rows(SCHEMA)
    found = {
        name: " ".join(described(field) for field in message.fields)
        for name, message in messages().items()
    }
    assert found == expected


def test_every_enum_has_exactly_these_values() -> None:
    enums = [enum for module in _MODULES for enum in module.DESCRIPTOR.enum_types_by_name.values()]
    enums += [enum for message in messages().values() for enum in message.enum_types]
    found = {
        enum.full_name: " ".join(f"{value.name}={value.number}" for value in enum.values)
        for enum in enums
    }
    assert found == rows(ENUMS)


def test_unions() -> None:
    found = {
        f"{name}.{union.name}": [field.name for field in union.fields]
        for name, message in messages().items()
        for union in message.oneofs
    }
    assert found == {
        "etcdserverpb.RequestOp.request": [
            "request_range",
            "request_put",
            "request_delete_range",
            "request_txn",
        ],
        "etcdserverpb.ResponseOp.response": [
            "response_range",
            "response_put",
            "response_delete_range",
            "response_txn",
        ],
        "etcdserverpb.Compare.target_union": [
            "version",
            "create_revision",
            "mod_revision",
            "value",
            "lease",
        ],
        "etcdserverpb.WatchRequest.request_union": [
            "create_request",
            "cancel_request",
            "progress_request",
        ],
    }


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        (rpc_pb2.PutRequest(key=b"k", value=b"v", lease=300), "0a016b 120176 18ac02"),
        (rpc_pb2.RangeRequest(key=b"k", limit=-1), "0a016b 18ffffffffffffffffff01"),
        (rpc_pb2.Compare(target=2, key=b"k", mod_revision=0), "1002 1a016b 3000"),  # type: ignore[arg-type]
        (rpc_pb2.Compare(key=b"k", range_end=b"l"), "1a016b 8204016c"),
        (rpc_pb2.WatchResponse(watch_id=-1), "10ffffffffffffffffff01"),
        (
            rpc_pb2.WatchResponse(events=[kv_pb2.Event(type=kv_pb2.Event.DELETE)]),
            "5a02 0801",
        ),
        (
            rpc_pb2.WatchCreateRequest(key=b"k", filters=[0, 1]),  # type: ignore[list-item]
            "0a016b 2a020001",
        ),
        (
            rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()),
            "1a00",
        ),
        (rpc_pb2.Member(ID=2**64 - 1, peerURLs=["p"]), "08ffffffffffffffffff01 1a0170"),
    ],
)
def test_bytes_encoded_by_hand(message: Message, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert message.SerializeToString() == data
    assert type(message).FromString(data) == message
