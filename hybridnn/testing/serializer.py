"""Saving and loading through a file."""
import os

from hybridnn import serializers
from hybridnn.utils import tempdir

__all__ = ["save_and_load", "save_and_load_hdf5", "save_and_load_npz"]


def save_and_load(src, dst, filename, saver, loader):
    """Save ``src`` by ``saver(path, src)`` in a temporary folder and load ``dst`` from there."""
    with tempdir() as folder:
        path = os.path.join(folder, filename)
        saver(path, src)
        loader(path, dst)


def save_and_load_npz(src, dst):
    """Copy the state of ``src`` into ``dst`` by way of an npz file."""
    save_and_load(src, dst, "tmp.npz", serializers.save_npz, serializers.load_npz)


def save_and_load_hdf5(src, dst):
    """Copy the state of ``src`` into ``dst`` by way of an HDF5 file."""
    save_and_load(src, dst, "tmp.h5", serializers.save_hdf5, serializers.load_hdf5)
