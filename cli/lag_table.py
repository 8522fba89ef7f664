"""Lag as programs read it and as people see it: items, cells, columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from klamm.cli.lag_names import Chosen
from klamm.cli.output import Column, Item, count_text, lag_cell, printable, state_style
from klamm.client.lag_report import lag_time_text
from klamm.client.text import counted, duration_text, short_count

if TYPE_CHECKING:
    from klamm.client.lag_history import Rates, Risk
    from klamm.client.lag_report import LagReport, LagRow
    from klamm.client.lag_watch import LagWatcher, Watched

SOON_MS = 3_600_000
"""Records that may be deleted within an hour are marked as bad, not only as near."""
_USED_SHOWN, _USED_NEAR = 0.01, 0.5
"""Shares of retention: below the first "<1%" says enough, from the second on the time that is left is said."""
TIMED_DEFAULT = 1000


def row_item(row: LagRow, report: LagReport) -> Item:
    """Return a partition as programs read it."""
    owner = row.owner
    return {
        "group": row.group,
        "topic": row.topic,
        "partition": row.partition,
        "committed_offset": row.committed_offset,
        "log_end_offset": row.log_end_offset,
        "lag": row.lag,
        "lag_state": row.lag_state,
        "lag_time_ms": row.lag_time_ms,
        "lag_time_kind": row.lag_time_kind,
        "lag_time_source": row.lag_time_source,
        "reason": row.reason or None,
        "log_start_offset": row.log_start_offset,
        "lost_offsets": row.lost_offsets,
        "last_stable_offset": row.last_stable_offset,
        "lag_to_stable": row.lag_to_stable,
        "stuck_ms": row.stuck_ms,
        "member_id": None if owner is None else owner.member_id,
        "client_id": None if owner is None else owner.client_id,
        "client_host": None if owner is None else owner.client_host,
        "committed_at_ms": report.committed_at_ms,
        "ends_at_ms": report.ends_at_ms,
    }


def partition_item(watcher: LagWatcher, row: LagRow) -> Item:
    """Return a partition with how it moves and what threatens it."""
    assert watcher.history.latest is not None, "an item before the first sample"
    item = row_item(row, watcher.history.latest)
    return {**item, **_moving_item(watcher.history.rates(row)), **_risk_item(watcher.risk(row))}


def group_item(each: Watched) -> Item:
    """Return a group with how it moves and what threatens it."""
    total = each.total
    where = f"{total.worst[0]}:{total.worst[1]}" if total.worst and (total.worst_lag or 0) > 0 else None
    return {
        **{key: value for key, value in total._asdict().items() if key not in {"worst", "worst_lag"}},
        "worst": where,
        "stuck_partitions": each.rates.stuck,
        **_moving_item(each.rates),
        **_risk_item(each.risk),
    }


def _moving_item(rates: Rates) -> Item:
    return {
        "in_rate": _rounded(rates.in_rate),
        "out_rate": _rounded(rates.out_rate),
        "trend": rates.trend,
        "eta_ms": rates.eta_ms,
        "never_drains": rates.never,
    }


def _risk_item(risk: Risk | None) -> Item:
    if risk is None:
        return {"retention_used": None, "loss_in_ms": None, "loss_because": None}
    used = None if risk.used is None else round(risk.used, 4)
    return {"retention_used": used, "loss_in_ms": risk.loss_in_ms, "loss_because": risk.because}


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 3)


def time_cell(item: Item) -> str:
    """Return a time lag, with a mark where it is not exact."""
    time_ms = item["lag_time_ms"]
    if time_ms is None:
        return "-"
    return lag_time_text(time_ms, item["lag_time_kind"])


def notes_cell(item: Item) -> str:
    """Return what a lag alone does not say."""
    notes: list[str] = []
    if item.get("no_commit"):
        notes.append(f"∅ {counted(item['no_commit'], 'partition')} without commit")
    if item.get("unavailable"):
        notes.append(f"? {counted(item['unavailable'], 'partition')} unavailable")
    if item.get("lost_offsets"):
        notes.append(f"✗ {counted(item['lost_offsets'], 'offset')} deleted unread")
    if item.get("stuck_partitions") and item["trend"] != "stuck":  # the others of the group are read
        notes.append(f"■ {counted(item['stuck_partitions'], 'partition')} stuck")
    if item.get("stuck_ms") is not None:
        notes.append(f"open transaction holds readers back for {duration_text(item['stuck_ms'])}")
    if item.get("lag_time_source") == "append":
        notes.append("append time")
    notes += [printable(str(item[key])) for key in ("reason", "error") if item.get(key)]
    return "; ".join(notes)


def retention_cell(item: Item) -> str:
    """Return how much of retention has passed, and when it bites."""
    loss, used = item["loss_in_ms"], item["retention_used"]
    if loss is None and used is None:
        return "-"
    if item["loss_because"] == "lost":
        return "✗ lost"
    share = "" if used is None else f"{used:.0%}" if used >= _USED_SHOWN else "<1%"
    if loss is None or (used is not None and used < _USED_NEAR and loss > SOON_MS):
        return share
    text = "data loss any moment" if loss == 0 else f"data loss in {duration_text(loss)}"
    return f"{share} ✗ {text}".strip()


def trend_cell(item: Item) -> str:
    """Return which way lag goes."""
    signs = {"growing": "▲", "draining": "▼", "steady": "─", "stuck": "■"}
    trend = item["trend"]
    return f"{signs[trend]} {trend}" if trend in signs else "-"


def rate_cell(item: Item) -> str:
    """Return offsets a second in and out."""
    if item["in_rate"] is None:
        return "-"
    out = "?" if item["out_rate"] is None else short_count(item["out_rate"])
    return f"{short_count(item['in_rate'])} → {out}"


def eta_cell(item: Item) -> str:
    """Return when it will be drained."""
    if item["never_drains"]:
        return "never"
    eta = item["eta_ms"]
    return "-" if eta is None else duration_text(eta) if eta else "0s"


def lag_style(item: Item) -> str:
    """Return the style of a lag."""
    state = item.get("lag_state", "ok")
    if state != "ok" or item.get("unavailable") or item.get("no_commit"):
        return "warning"
    return "faint" if not item["lag"] else ""


def retention_style(item: Item) -> str:
    """Return the style of a retention risk."""
    loss = item["loss_in_ms"]
    return "" if loss is None else "bad" if loss < SOON_MS else ""


def _owner_cell(item: Item) -> str:
    if item["client_id"] is None:
        return "-"
    return printable(f"{item['client_id']}{item['client_host']}")


def headline(each: Watched) -> str:
    """Return what is said of a group above its partitions."""
    total = each.total
    item = group_item(each)
    members = "" if total.members is None else counted(total.members, "member")
    parts = [total.group, total.state, total.type, members]
    parts += [f"lag {lag_cell(item)}", time_cell(item), retention_cell(item), notes_cell(item)]
    return "   ".join(printable(part) for part in parts if part and part != "-")


MOVING = frozenset({"in_rate", "trend", "eta_ms", "loss_in_ms"})
GROUP_COLUMNS = (
    Column("GROUP", "group"),
    Column("STATE", "state", style=state_style),
    Column("TYPE", "type"),
    Column("LAG", "lag", right=True, cell=lag_cell, style=lag_style),
    Column("LAG-T", "lag_time_ms", right=True, cell=time_cell),
    Column("RATE in→out/s", "in_rate", right=True, cell=rate_cell),
    Column("TREND", "trend", cell=trend_cell),
    Column("ETA", "eta_ms", right=True, cell=eta_cell),
    Column("RETENTION", "loss_in_ms", cell=retention_cell, style=retention_style),
    Column("WORST", "worst"),
    Column("NOTES", "no_commit", cell=notes_cell),
)
PARTITION_COLUMNS = (
    Column("GROUP", "group"),
    Column("TOPIC", "topic"),
    Column("P", "partition", right=True),
    Column("COMMITTED", "committed_offset", right=True, show=count_text),
    Column("END", "log_end_offset", right=True, show=count_text),
    Column("LAG", "lag", right=True, cell=lag_cell, style=lag_style),
    Column("LAG-T", "lag_time_ms", right=True, cell=time_cell),
    Column("RATE in→out/s", "in_rate", right=True, cell=rate_cell),
    Column("TREND", "trend", cell=trend_cell),
    Column("ETA", "eta_ms", right=True, cell=eta_cell),
    Column("RETENTION", "loss_in_ms", cell=retention_cell, style=retention_style),
    Column("OWNER", "client_id", cell=_owner_cell),
    Column("NOTES", "reason", cell=notes_cell),
)


def partition_columns(chosen: Chosen, *, moving: bool) -> tuple[Column, ...]:
    """Return the columns that say something about what was chosen."""
    left_out: set[str] = set() if moving else {"in_rate", "trend", "eta_ms"}
    if not chosen.narrow:
        left_out |= {"client_id", "loss_in_ms"}
    if chosen.groups is not None and len(chosen.groups) == 1:
        left_out.add("group")
    return tuple(column for column in PARTITION_COLUMNS if column.key not in left_out)
