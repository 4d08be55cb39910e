"""The folder where downloaded and converted data sets are kept. Nothing is downloaded unless ``cached_download`` is called."""
import hashlib
import os
import shutil
import tempfile

__all__ = ["cache_or_load_file", "cached_download", "get_dataset_directory", "get_dataset_root", "set_dataset_root"]

_root = [os.environ.get("HYBRIDNN_DATASET_ROOT", os.path.join(os.path.expanduser("~"), ".hybridnn", "dataset"))]


def get_dataset_root():
    """The folder; the environment variable ``HYBRIDNN_DATASET_ROOT`` names another one."""
    return _root[0]


def set_dataset_root(path):
    """Use another folder from now on."""
    _root[0] = path


def get_dataset_directory(dataset_name, create_directory=True):
    """The folder of one data set below the root (a name may have parts, ``"a/b"``); created if it is not there."""
    path = os.path.join(get_dataset_root(), dataset_name)
    if create_directory:
        os.makedirs(path, exist_ok=True)
    return path


def cached_download(url):
    """The path of the file at ``url``, which is fetched at the first call. It lies in ``_dl_cache`` below the root."""
    import urllib.request  # 15 ms, a tenth of the import of the whole package

    folder = get_dataset_directory("_dl_cache")
    path = os.path.join(folder, hashlib.sha256(url.encode()).hexdigest())
    if not os.path.exists(path):
        _make(path, lambda temporary: urllib.request.urlretrieve(url, temporary))
    return path


def cache_or_load_file(path, creator, loader):
    """``loader(path)`` if there is such a file, else ``creator(path)``, which writes it and returns the same.

    The file appears whole or not at all, also when several processes make it.
    """
    if os.path.exists(path):
        return loader(path)
    try:
        os.makedirs(get_dataset_root(), exist_ok=True)
    except OSError as error:
        raise RuntimeError(f"the folder of data sets {get_dataset_root()!r} cannot be made: {error}") from error
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    return _make(path, creator)


def _make(path, create):
    """Let ``create(temporary path)`` write a file, then put it at ``path``."""
    with tempfile.TemporaryDirectory(dir=get_dataset_root()) as folder:
        temporary = os.path.join(folder, os.path.basename(path))
        result = create(temporary)
        shutil.move(temporary, path)
    return result
