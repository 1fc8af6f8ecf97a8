"""Raw data -> similar-sample tasks: targets, near-duplicates linked to them, filler, decoys, test. Images here, texts
in data_builders.texts; README.md has the tables of data sets and perturbations."""

from data_builders.raw_images import TEST, TRAIN, RawImages, dataset, datasets, to_bytes
from data_builders.sources import Source, find, load

__all__ = ["TEST", "TRAIN", "RawImages", "Source", "dataset", "datasets", "find", "load", "to_bytes"]
