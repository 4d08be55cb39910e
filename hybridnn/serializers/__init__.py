"""Saving models, optimizers and trainers: NumPy's npz files, and HDF5 (with h5py)."""
from hybridnn.serializers.hdf5 import HDF5Deserializer, HDF5Serializer, load_hdf5, save_hdf5
from hybridnn.serializers.npz import DictionarySerializer, NpzDeserializer, load_npz, save_npz

__all__ = ["DictionarySerializer", "HDF5Deserializer", "HDF5Serializer", "NpzDeserializer", "load_hdf5", "load_npz",
           "save_hdf5", "save_npz"]
