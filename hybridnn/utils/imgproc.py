"""Crops of images."""
import numpy as np

__all__ = ["oversample"]


def oversample(images, crop_dims):
    """Ten crops of each image, one after the other: the corners, the centre, and the mirror images of these five.

    Args:
        images: array (n, c, h, w), or n arrays (c, h, w).
        crop_dims: height and width of a crop.

    Returns:
        Array (10 * n, c, *crop_dims).
    """
    images = np.asarray(images)
    h, w = images.shape[2:]
    ch, cw = crop_dims
    corners = [(0, 0), (0, w - cw), (h - ch, 0), (h - ch, w - cw), (int(h / 2 - ch / 2), int(w / 2 - cw / 2))]
    crops = np.stack([images[:, :, y:y + ch, x:x + cw] for y, x in corners], axis=1)
    return np.concatenate([crops, crops[..., ::-1]], axis=1).reshape(-1, images.shape[1], ch, cw)
