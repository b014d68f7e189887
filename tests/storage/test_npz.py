from pathlib import Path

import numpy as np
import pytest

from semcorr.storage.npz import npz_file


def test_arrays_are_read_back_and_objects_refused(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.npz"
    with npz_file(path) as add:
        add("numbers", [[1.5, 2.0]])
        add("words", np.array(["ü", "–"]))
        assert not path.exists()
    with np.load(path) as arrays:
        assert arrays["numbers"].tolist() == [[1.5, 2.0]]
        assert arrays["words"].tolist() == ["ü", "–"]
    with pytest.raises(ValueError, match="Object arrays cannot be saved"), npz_file(path) as add:
        add("objects", np.array([None]))
    assert list(path.parent.iterdir()) == [path]
    with np.load(path) as arrays:
        assert arrays.files == ["numbers", "words"]
