"""The server-side assignors: everything has one owner, evenly, and little moves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from klamm.core.groups.assignors import ASSIGNORS, Assignment, GroupSpec, MemberSpec, assign_range, assign_uniform
from klamm.model.ids import TopicId
from tests.core.groups.driver import topic_id_of

TOPICS = [topic_id_of(name) for name in ("a", "b", "c")]


@st.composite
def specs(draw: st.DrawFn) -> GroupSpec:
    counts = {topic: draw(st.integers(1, 9)) for topic in TOPICS}
    members: dict[str, MemberSpec] = {}
    same = draw(st.booleans())
    common = frozenset(draw(st.sets(st.sampled_from(TOPICS), min_size=1)))
    for number in range(draw(st.integers(1, 6))):
        topics = common if same else frozenset(draw(st.sets(st.sampled_from(TOPICS))))
        target = {
            topic: frozenset(draw(st.sets(st.integers(0, counts[topic] + 1))))
            for topic in draw(st.sets(st.sampled_from(TOPICS)))
        }
        members[f"m{number}"] = MemberSpec(draw(st.sampled_from([None, f"i{number}"])), topics, target)
    subscribed = {topic for member in members.values() for topic in member.topic_ids}
    return GroupSpec(members, {topic: count for topic, count in counts.items() if topic in subscribed})


def owned(assignment: Assignment) -> list[tuple[TopicId, int]]:
    return sorted((topic, one) for parts in assignment.values() for topic, some in parts.items() for one in some)


@given(spec=specs(), name=st.sampled_from(sorted(ASSIGNORS)))
def test_every_subscribed_partition_has_exactly_one_owner_that_is_subscribed(spec: GroupSpec, name: str) -> None:
    assignment = ASSIGNORS[name](spec)
    assert owned(assignment) == sorted(
        (topic, one) for topic, count in spec.partition_counts.items() for one in range(count)
    )
    for member_id, topics in assignment.items():
        assert topics.keys() <= spec.members[member_id].topic_ids


@given(spec=specs())
def test_uniform_differs_by_one_at_most_if_all_subscribe_to_the_same(spec: GroupSpec) -> None:
    sizes = [sum(map(len, topics.values())) for topics in assign_uniform(spec).values()]
    if spec.homogeneous:
        assert max(sizes) - min(sizes) <= 1


@given(spec=specs())
def test_uniform_gives_no_member_two_more_than_another_that_could_take_one(spec: GroupSpec) -> None:
    assignment = assign_uniform(spec)
    sizes = {member: sum(map(len, topics.values())) for member, topics in assignment.items()}
    for rich, topics in assignment.items():
        for topic in topics:
            for poor, member in spec.members.items():
                if topic in member.topic_ids:
                    assert sizes[rich] - sizes[poor] <= 1


@given(spec=specs(), name=st.sampled_from(sorted(ASSIGNORS)))
def test_an_assignment_that_is_already_so_stays(spec: GroupSpec, name: str) -> None:
    first = ASSIGNORS[name](spec)
    again = GroupSpec(
        {member: spec.members[member]._replace(target=target) for member, target in first.items()},
        spec.partition_counts,
    )
    assert ASSIGNORS[name](again) == first


def test_uniform_moves_only_what_a_newcomer_gets() -> None:
    topic = TOPICS[0]
    before = {
        f"m{n}": MemberSpec(None, frozenset({topic}), {topic: frozenset(range(n * 4, n * 4 + 4))}) for n in range(3)
    }
    before["new"] = MemberSpec(None, frozenset({topic}), {})
    after = assign_uniform(GroupSpec(before, {topic: 12}))
    assert len(after["new"][topic]) == 3
    for member in ("m0", "m1", "m2"):
        assert after[member][topic] <= before[member].target[topic]


def test_range_gives_the_same_numbers_of_every_topic_to_a_member() -> None:
    members = {name: MemberSpec(None, frozenset(TOPICS), {}) for name in ("x", "y", "z")}
    assignment = assign_range(GroupSpec(members, dict.fromkeys(TOPICS, 7)))
    assert assignment["x"] == dict.fromkeys(TOPICS, frozenset({0, 1, 2}))
    assert assignment["z"] == dict.fromkeys(TOPICS, frozenset({5, 6}))


def test_range_puts_static_members_first_by_instance_id() -> None:
    members = {
        "a": MemberSpec(None, frozenset({TOPICS[0]}), {}),
        "z": MemberSpec("first", frozenset({TOPICS[0]}), {}),
    }
    assert assign_range(GroupSpec(members, {TOPICS[0]: 3}))["z"] == {TOPICS[0]: frozenset({0, 1})}
