"""One chunk after another, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crosscal.compute.job import ChunkJob, Outcome


class Serial:
    """One chunk after another in this process: for small jobs and for debugging."""

    def run(self, job: ChunkJob, chunks: Sequence[int]) -> Iterator[Outcome]:
        """Do all chunks in the given order."""
        for chunk in chunks:
            yield job(chunk)
