"""The JSON beside the weights of a training: every setting, sealed, so that no change of it goes unnoticed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlaw.errors import InputError
from gradlaw.sealed_json import SEAL, as_text, check_seal, parse, sealed

FORMAT = 2
_UNSEALED = 1  # the format of versions that did not seal
_OURS = ("weights_sha256", "start_sha256", SEAL)  # a file with any of them is no configuration of somebody else's
_NEEDED = ("model", "start_sha256", "loss", "data", "test_data", "recipe", "seed", "epoch", "history", "training",
           "test", "machine", "time", "weights_sha256")  # fmt: skip
_MAPPINGS = ("model", "data", "recipe", "machine", "time")
_REMEDY = "train again, or take another checkpoint"


def record_text(settings: Mapping[str, Any], weights_sha256: str) -> str:
    """What the file holds."""
    return as_text(sealed({"format": FORMAT, **settings, "weights_sha256": weights_sha256}))


def read_record(path: Path) -> dict[str, Any]:
    """The settings in the JSON file of a checkpoint; none if it is not one of ours but, say, a configuration.

    Raises:
        InputError: the file is no JSON, was changed, lacks something, or is of another version.
    """
    record = parse(path.read_bytes(), path, _REMEDY)
    if not any(name in record for name in _OURS):
        return {}
    version = record.get("format")
    if version not in (_UNSEALED, FORMAT):
        raise InputError(f"{path} has format {version}; this version of gradlaw reads {_UNSEALED} and {FORMAT}")
    if version == FORMAT or SEAL in record:
        check_seal(record, path, _REMEDY)
    missing = [name for name in _NEEDED if name not in record]
    missing += [name for name in _MAPPINGS if name in record and not isinstance(record[name], dict)]
    if missing:
        raise InputError(f"{path} does not say {', '.join(missing)}, as a checkpoint of gradlaw does; {_REMEDY}")
    return {name: value for name, value in record.items() if name != SEAL}
