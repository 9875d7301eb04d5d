"""A folder of data made in parts: found again after a kill, and never mixed with other data."""

import json
from pathlib import Path

from prospect_emu.errors import ModelFileError, ProspectEmuError
from prospect_emu.files import fingerprint, load_tensors, save_tensors, write_atomic


class ShardStore:
    """Shards with a manifest of what they depend on; the only owner of their names.

    Parameters
    ----------
    folder : path-like
    manifest : dict
        JSON-serialisable.

    Raises
    ------
    ProspectEmuError
        If the folder holds shards of another manifest; what differs is named.
    """

    KIND: str
    HOLDS: str  # for messages
    MADE_BY: str

    def __init__(self, folder, manifest):
        # As it will be read.
        self.folder, self.manifest = Path(folder), json.loads(json.dumps(manifest))
        path = self.folder / "manifest.json"
        if path.exists():
            stored = json.loads(path.read_text())
            changed = [k for k in self.manifest if stored.get(k) != self.manifest[k]]
            if changed:
                raise ProspectEmuError(
                    f"{self.folder} holds {self.HOLDS} with another {', '.join(changed)}; "
                    "use a new folder or the old settings."
                )
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps(self.manifest, indent=1).encode())
        self.fingerprint = fingerprint(self.manifest)

    @classmethod
    def stored_manifest(cls, folder):
        """The manifest of an existing folder."""
        path = Path(folder) / "manifest.json"
        if not path.is_file():
            raise ProspectEmuError(f"{folder} holds no manifest.json; {cls.MADE_BY}.")
        return json.loads(path.read_text())

    def path(self, index):
        return self.folder / f"shard-{index:06d}.safetensors"

    def write(self, index, arrays):
        """Write the arrays of a shard by name."""
        manifest = {"kind": self.KIND, "fingerprint": self.fingerprint, "index": index}
        save_tensors(self.path(index), arrays, manifest)

    def read(self, index):
        """Arrays of a shard; `ModelFileError` if it is missing, damaged or foreign."""
        tensors, manifest = load_tensors(self.path(index), self.KIND)
        if manifest.get("fingerprint") != self.fingerprint or manifest.get("index") != index:
            raise ModelFileError(f"{self.path(index)} belongs to another data set; delete it.")
        return tensors

    def is_good(self, index):
        if not self.path(index).exists():
            return False
        try:
            self.read(index)
        except ModelFileError:
            return False
        return True
