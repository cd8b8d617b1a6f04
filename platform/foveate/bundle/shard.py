"""A shard of a bundle: a run of the items of its encoder's source, and nothing else of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from foveate.bundle.manifest import Manifest, check_verified, read_manifest, verify_files
from foveate.bundle.parts import mapped_arrays, source_file
from foveate.core.config import from_dict
from foveate.core.errors import BundleError, FoveateError
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.shards import Shard


@dataclass(frozen=True)
class BundleShard:
    """One shard of a bundle that was read."""

    path: Path
    manifest: Manifest
    shard: Shard

    @property
    def bundle_id(self) -> str:
        """The hash of the whole bundle's contents."""
        return self.manifest.bundle_id

    @classmethod
    def load(cls, path: Path, number: int, count: int) -> BundleShard:
        """Read the rows of shard ``number``, from 0, of ``count``; every byte of the file that holds them is verified.

        Raises
        ------
        BundleError
            The folder is absent or no bundle, the file was altered, or the bundle has no source that can be split.
        """
        folder = path.resolve()
        manifest = read_manifest(folder)
        verify_files(folder, manifest)
        try:
            config = _split(from_dict(Recipe, manifest.recipe, "recipe"), path)
            name = source_file(type(config).name)
            check_verified(folder, name, manifest)
            shard = Shard.restore(config, mapped_arrays(folder / name), manifest.items, number, count)
        except BundleError:
            raise
        except (FoveateError, ValueError, KeyError, SafetensorError) as error:
            raise BundleError(f"bundle '{path}' cannot be read: {error}") from error
        return cls(path, manifest, shard)


def _split(recipe: Recipe, path: Path) -> Attention:
    for source in recipe.sources:
        if isinstance(source, Attention):
            return source
    raise BundleError(f"bundle '{path}' has no source '{Attention.name}' to split: serve it without shards")
