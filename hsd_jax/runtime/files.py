"""Files that are whole or not there at all."""

import os

from etils import epath


def replace(path: str | os.PathLike[str], content: str | bytes, *, part: str = ".part") -> None:
    """Writes a file aside and renames it, so that no reader ever sees half of it; what was there stays until then.

    Works on gs:// too. Where several processes may write the same file, each ends the name of its `part` differently.
    """
    target = epath.Path(path)
    aside = target.with_name(target.name + part)
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    aside.replace(target)
