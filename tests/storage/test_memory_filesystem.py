"""Files in memory: what is in a directory, whatever was made, renamed and removed before."""

from hypothesis import given
from hypothesis import strategies as st

from klamm.storage.memory_filesystem import MemoryFilesystem

NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: "/" + "/".join(names))
CHANGES = st.one_of(
    st.tuples(st.just("file"), PATHS),
    st.tuples(st.just("directory"), PATHS),
    st.tuples(st.just("remove"), PATHS),
    st.tuples(st.just("unlink"), PATHS),
    st.tuples(st.just("rename"), PATHS, PATHS),
)


def change(filesystem: MemoryFilesystem, what: str, path: str, target: str = "") -> None:
    """Make a change that a disk would let pass."""
    below = [*filesystem.files, *filesystem.directories]
    inside_file = any(starts([path], name) for name in filesystem.files)
    match what:
        case "file" if path not in filesystem.directories and not inside_file and not starts(below, path):
            filesystem.open(path, create=True)
        case "directory" if path not in filesystem.files and not inside_file:
            filesystem.make_directory(path)
        case "remove" if path in filesystem.directories:
            filesystem.remove_directory(path)
        case "unlink" if path in filesystem.files:
            filesystem.unlink(path)
        case "rename" if path in below and target not in below and not starts([target], path):
            if not starts(below, target) and not any(starts([target], name) for name in filesystem.files):
                filesystem.rename(path, target)
        case _:
            pass


def starts(paths: list[str], directory: str) -> bool:
    """Tell whether one of the paths is below a directory."""
    return any(path.startswith(f"{directory}/") for path in paths)


@given(st.lists(CHANGES, max_size=30))
def test_a_directory_lists_what_is_in_it(changes: list[tuple[str, ...]]) -> None:
    filesystem = MemoryFilesystem()
    for each in changes:
        change(filesystem, *each)
        paths = [*filesystem.files, *filesystem.directories]
        for directory in filesystem.directories:
            inside = {path[len(directory) + 1 :].split("/")[0] for path in paths if starts([path], directory)}
            assert filesystem.list_directory(directory) == sorted(inside), directory
