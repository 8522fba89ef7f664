"""The fields of each kind of item, so that a mistyped column is refused before a cluster is asked.

A word is a field, or ``title=field`` where the table's title for it reads otherwise. Kinds that are not here have
fields that depend on what was found. The tests hold every result of theirs against this.
"""

from __future__ import annotations

from typing import Final

_FIELDS: Final[dict[str, str]] = {
    "AclChange": (
        "created deleted host name operation pattern permission principal resource_name resource_type "
        "name=resource_name resource=resource_type"
    ),
    "AclDecision": "allowed entries name operation reason resource principal=name",
    "AclList": (
        "host name operation pattern permission principal resource_name resource_type name=resource_name "
        "resource=resource_type"
    ),
    "AclWhoCan": "because host name principal",
    "ActorDescription": "broker_id busy_ms depth dispatcher drains handled last_failure name oldest_ms restarts",
    "ActorList": (
        "broker_id busy_ms depth dispatcher drains handled last_failure name oldest_ms restarts busy=busy_ms "
        "oldest=oldest_ms runs_on=dispatcher"
    ),
    "ActorTop": (
        "broker_id busy_ms busy_percent depth dispatcher drains handled handled_per_s last_failure name oldest_ms "
        "restarts busy_%=busy_percent handled/s=handled_per_s oldest=oldest_ms"
    ),
    "ApiVersionList": "api_key klamm max min name api=name key=api_key klamm_sends=klamm",
    "Apply": "detail done kind name sign",
    "BrokerDescription": (
        "broker_id configs controller fenced host leaders log_dirs name out_of_sync port rack replicas"
    ),
    "BrokerList": "broker_id controller fenced host name port rack id=name",
    "ClientDescription": (
        "broker_id client_id client_instance_id connected_for_ms connected_ms errors groups host idle_ms in_per_s "
        "last_api last_error name out_per_s port received_size requests requests_per_s sent_size software "
        "software_name software_version unanswered"
    ),
    "ClientList": (
        "broker_id client_id client_instance_id connected_for_ms connected_ms errors groups host idle_ms in_per_s "
        "last_api last_error name out_per_s port received_size requests requests_per_s sent_size software "
        "software_name software_version unanswered address=name client=client_id in=in_per_s out=out_per_s "
        "requests/s=requests_per_s"
    ),
    "ClientTop": (
        "broker_id client_id client_instance_id connected_for_ms connected_ms errors groups host idle_ms in_per_s "
        "last_api last_error name out_per_s port received_size requests requests_per_s sent_size software "
        "software_name software_version unanswered address=name client=client_id in=in_per_s out=out_per_s "
        "requests/s=requests_per_s"
    ),
    "ClusterInfo": "brokers cluster_id controller name",
    "ConfigChange": "after before changed key name resource",
    "ConfigDiff": "left name right",
    "ConfigList": "default documentation name overridden read_only sensitive source value",
    "ContextImport": "bootstrap from name",
    "ContextList": "bootstrap cluster_id current env file name read_only",
    "ContextSettings": "name origin used_by value",
    "ContextTest": "host name ok port broker=name",
    "Diff": "detail kind name sign",
    "DoctorReport": "detail name next_step step target took_ms verdict ms=took_ms ok=verdict step=name",
    "Dump": "configs name partitions replication_factor",
    "Export": "file hash partitions records topic",
    "FeatureList": "level name supported_max supported_min supported_from=supported_min to=supported_max",
    "GroupDelete": "deleted name",
    "GroupDescription": "assignor coordinator epoch members name partitions protocol_type state type",
    "GroupList": "coordinator name protocol_type state type protocol=protocol_type",
    "GroupMembers": (
        "assignments client_host client_id group instance_id member_id name subscriptions client=client_id "
        "host=client_host instance=instance_id member=member_id partitions=assignments"
    ),
    "GroupRemoveMember": "name removed member=name",
    "HangingTransactionList": (
        "coordinator_epoch last_timestamp_ms name partition producer_epoch producer_id topic txn_start_offset "
        "epoch=producer_epoch first_offset=txn_start_offset last_write=last_timestamp_ms p=partition"
    ),
    "HealthProblemList": "detail name problem what=name",
    "Import": "file hash records topic",
    "LagCheck": (
        "client_host client_id committed_at_ms committed_offset ends_at_ms group lag lag_state lag_time_kind "
        "lag_time_ms lag_time_source lag_to_stable last_stable_offset log_end_offset log_start_offset "
        "lost_offsets member_id partition reason stuck_ms topic why lag_t=lag_time_ms p=partition"
    ),
    "LagHistory": (
        "at_ms eta_ms group in_rate lag lag_time_kind lag_time_ms never_drains no_commit out_rate state trend "
        "unavailable worst lag_t=lag_time_ms rate_in→out/s=in_rate time=at_ms"
    ),
    "LagList": (
        "client_host client_id committed_at_ms committed_offset coordinator ends_at_ms error eta_ms group in_rate "
        "lag lag_state lag_time_kind lag_time_ms lag_time_source lag_to_stable last_stable_offset log_end_offset "
        "log_start_offset loss_because loss_in_ms lost_offsets member_id members never_drains no_commit out_rate "
        "partition partitions reason retention_used state stuck_ms stuck_partitions topic topics trend type "
        "unavailable worst committed=committed_offset end=log_end_offset lag_t=lag_time_ms notes=no_commit "
        "notes=reason owner=client_id p=partition retention=loss_in_ms"
    ),
    "LogDirList": (
        "broker_id name path replicas size_bytes total_bytes usable_bytes broker=broker_id free=usable_bytes "
        "size=size_bytes total=total_bytes"
    ),
    "OffsetChange": "after before changed group partition topic p=partition",
    "OffsetList": "group leader_epoch metadata name offset partition topic p=partition",
    "PartitionElection": "elected name partition topic p=partition",
    "PartitionList": (
        "isr leader leader_epoch name offline_replicas partition replicas topic epoch=leader_epoch p=partition"
    ),
    "Plan": "detail kind name sign",
    "ProduceResult": "failed sent topic",
    "QuorumReplicaList": (
        "lag last_caught_up_ms last_fetch_ms log_end_offset name replica_id role id=name log_end=log_end_offset"
    ),
    "QuotaChange": "after before changed key name entity=name",
    "QuotaList": "entity key name value entity=name",
    "QuotaResolution": "from name value key=name",
    "ReassignmentCancel": "cancelled name partition topic p=partition",
    "ReassignmentList": "adding name partition removing replicas topic p=partition",
    "ReassignmentPlan": "before changed name partition replicas topic from=before p=partition to=replicas",
    "Recording": "failed name rows samples size_bytes file=name size=size_bytes",
    "Redrive": "records sent sent_before source target from=source to=target",
    "Resend": "offset partition sent source target from=source p=partition to=target",
    "Schema": "guid name references schema schema_id subject type used_by version",
    "SchemaCheck": "compatible level messages name version subject=name",
    "SchemaCompatibility": "changed name own value its_own=own subject=name",
    "SchemaCopy": (
        "copied name schema_id schema_id_from version version_to id=schema_id_from id_there=schema_id "
        "subject=name version_there=version_to"
    ),
    "SchemaDeletion": "deleted name version subject=name",
    "SchemaDiff": "diff different from name to",
    "SchemaList": "latest_version name schema_id type versions id_of_latest=schema_id subject=name",
    "SchemaMode": "changed name own value its_own=own subject=name",
    "SchemaRegistration": "name new schema_id version id=schema_id subject=name",
    "TopicCopy": (
        "copied partitions records sent skipped source source_cluster source_hash target target_cluster "
        "target_hash target_records verified from=source hash=source_hash there_before=skipped to=target"
    ),
    "TopicCreate": "created name partitions replication_factor topic_id id=topic_id replicas=replication_factor",
    "TopicDelete": "deleted name",
    "TopicDescription": "configs internal name partitions replication_factor size_bytes topic_id",
    "TopicList": (
        "internal last_write_ms leaderless name partitions replication_factor topic_id under_replicated "
        "last_write=last_write_ms replicas=replication_factor"
    ),
    "TopicPartitions": "changed name partitions partitions_before after=partitions before=partitions_before",
    "TopicProducers": (
        "last_write_ms open_transaction_since_offset partition producer_epoch producer_id topic transactional_id "
        "epoch=producer_epoch last_write=last_write_ms open_since_offset=open_transaction_since_offset "
        "p=partition"
    ),
    "TopicStats": (
        "last_write_ms name offset_span partitions sample size_bytes skew last_write=last_write_ms size=size_bytes"
    ),
    "TopicTrim": (
        "log_start_offset log_start_offset_before partition topic trimmed p=partition start=log_start_offset "
        "start_before=log_start_offset_before"
    ),
    "TraceFind": (
        "found_by key name offset partition span_id timestamp_ms timestamp_type topic trace_id message=name "
        "time=timestamp_ms trace=trace_id"
    ),
    "TracePath": (
        "bound broker client_id committed_offset duration_ms end_ms error eta_ms evidence group hop lag median_ms "
        "message name note offset parent_span_id partition rate_per_s service span_id start_ms state topic trace_id "
        "time=start_ms trace=trace_id"
    ),
    "TransactionAbort": (
        "aborted coordinator_epoch last_timestamp_ms name partition producer_epoch producer_id topic "
        "txn_start_offset epoch=producer_epoch first_offset=txn_start_offset last_write=last_timestamp_ms "
        "p=partition"
    ),
    "TransactionDescription": (
        "age_ms coordinator name partitions producer_epoch producer_id start_ms state timeout_ms transactional_id "
        "epoch=producer_epoch"
    ),
    "TransactionList": "coordinator name producer_id state transactional_id",
    "UndoList": "at can_undo cannot cluster_id command context name summary n=name undo=can_undo",
    "UserChange": "changed mechanism name",
    "UserList": "credentials name",
}


def fields_of(kind: str) -> dict[str, str]:
    """Return the fields of a kind by each name that they may be called by; nothing where they are not known."""
    words = (word.partition("=") for word in _FIELDS.get(kind, "").split())
    return {name: field or name for name, _, field in words}
