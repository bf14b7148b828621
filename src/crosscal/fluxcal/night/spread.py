"""Frames of a job on an executor: each frame, or the arms of an exposure, is a chunk whose results a worker keeps in a
file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crosscal.core.errors import InputError
from crosscal.core.frozen import load_value, save_value
from crosscal.fluxcal.calibrator import Calibrator
from crosscal.jobs.stages import Stages

#: Where the state of frames and their results are kept in the directory of a run.
STORE, FOLDER = "frames.zarr", "frame_results"
#: What became of a frame.
CALIBRATED, UNREAD = 0, 1
#: Bytes kept of the sentence that says why a frame could not be read.
WHY_SIZE = 2000


@dataclass
class FrameTask:
    """The work of frames: ``task(k)`` calibrates frame k and keeps its result in ``folder``.

    ``make`` and ``one`` are module-level functions of the job: the calibrator, and the result of a frame's number.
    """

    job: Any
    folder: Path
    make: Callable[[Any], Calibrator]
    one: Callable[[Calibrator, Any, int], Any]
    _calibrator: Calibrator | None = field(default=None, repr=False)

    def __call__(self, chunk: int) -> dict[str, Any]:
        """Return the status of a frame and why it could not be read."""
        if self._calibrator is None:
            self._calibrator = self.make(self.job)
        why = np.zeros((1, WHY_SIZE), dtype=np.uint8)
        try:
            save_value(self.file(chunk), self.one(self._calibrator, self.job, chunk))
        except InputError as error:
            text = str(error).encode()[:WHY_SIZE]
            why[0, : len(text)] = np.frombuffer(text, dtype=np.uint8)
            return {"status": np.array([UNREAD], dtype=np.int16), "why": why}
        return {"status": np.array([CALIBRATED], dtype=np.int16), "why": why}

    def file(self, chunk: int) -> Path:
        """Where the result of a frame is kept."""
        return self.folder / f"{chunk:05d}.npz"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_calibrator": None}


def spread_frames(
    task: FrameTask, names: Sequence[str], key: Any, stages: Stages, executor: str, options: dict[str, Any]
) -> list[Any]:
    """Calibrate frames on an executor; an interrupted run goes on with the frames that are missing.

    Returns
    -------
    list
        For each frame its result, or why it could not be read.
    """
    from crosscal.compute import Store

    path = stages.directory / STORE

    def work() -> Any:
        from crosscal.compute import Variable, sweep

        task.folder.mkdir(exist_ok=True)
        variables = {
            "status": Variable(("frame",), "int16", description="status of the frame"),
            "why": Variable(("frame", "byte"), "uint8", description="why it was not read, filled up with zeros"),
        }
        store = Store.open_or_create(
            path, variables, {"frame": np.array(names)}, {"frame": 1}, sizes={"byte": WHY_SIZE}, job={"key": key}
        )
        sweep(task, store, executor, progress=stages.progress, name="frames", status="status", **options)
        return store

    store = stages.run("Frames", key=key, files=[STORE, FOLDER], work=work, load=lambda: Store.open(path), resumes=True)
    found: list[Any] = []
    for k in range(len(names)):
        chunk = store.read_chunk(k, ["status", "why"])
        if int(chunk["status"][0]) == UNREAD:
            found.append(bytes(chunk["why"][0]).rstrip(b"\0").decode(errors="replace"))
        else:
            found.append(load_value(task.file(k)))
    return found
