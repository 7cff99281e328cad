"""The worker processes of a benchmark, and a fork server that several benchmarks of a test module share."""

from pathlib import Path

from xai_core.benchmarking.process import ForkServer


class KeptServer(ForkServer):
    """A fork server that a benchmark does not end."""

    def close(self) -> None:
        pass

    def end(self) -> None:
        super().close()


def children(parent: int) -> list[int]:
    """The processes of `worker_process` that a process started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                ancestor = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if ancestor == parent and b"worker_process" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # it has ended
                pass
    return found


def workers(parent: int) -> list[int]:
    """The worker processes of a supervisor, whose parents are its fork servers."""
    return [worker for server in children(parent) for worker in children(server)]
