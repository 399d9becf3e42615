"""The folder that a server has for itself."""

import fcntl
from contextlib import AsyncExitStack
from pathlib import Path

from .clock import new_id
from .errors import StartError


def claim_data_dir(stack: AsyncExitStack, folder: Path) -> Path:
    """Makes the data folder and holds it for this process alone. Raises StartError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = stack.enter_context((folder / "lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise StartError(f"another server works on {folder}; stop it, or give --data-dir another folder") from None
    except OSError as error:
        raise StartError(
            f"the data folder {folder} cannot be written: {error.strerror}; give --data-dir a folder that can"
        ) from None
    return folder.resolve()


def worker_id(data_dir: Path) -> str:
    """Who this server is to others on its database. It stays the same, so that what an earlier process was at work on when it was
    killed is known to be lost at once; a copy of the folder is somebody else, who may work beside. Raises StartError."""
    file, draft = data_dir / "worker", data_dir / "worker.new"
    try:
        # Copies have an inode of their own.
        place = str(data_dir.stat().st_ino)
        known, _, of = file.read_text().partition(" ") if file.exists() else ("", "", "")
        if not known or of not in ("", place):
            known, of = new_id(), ""
        if not of:
            # In two steps: killed between them, a server must not be nobody for ever.
            draft.write_text(f"{known} {place}")
            draft.replace(file)
        return known
    except OSError as error:
        raise StartError(f"{file} cannot be written: {error.strerror}; give --data-dir a folder that can") from None
