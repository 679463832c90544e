"""A bad step is shown again from its file alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swath
from swath.cli import main
from swath.errors import InputError
from swath.training.guard import keep_bad_step
from swath.training.module import TrainingModule


@pytest.fixture
def spoiled(land: Any, tmp_path: Path, raster: Callable[..., str]) -> tuple[Path, dict[str, Any]]:
    """A run on a scene one of whose values overflows float32 once squared."""
    import rasterio

    with rasterio.open(land.scene) as file:
        pixels = file.read().astype(np.float32)
    pixels[1, 30, 20] = 3e38
    options = land.pretraining(tmp_path / "run", max_bad_steps=100, log_every=1)
    scene = raster(tmp_path / "hot.tif", pixels, names=("B2", "B3", "B4"), unit="dn", nodata=0)
    options["data"] |= {
        "scenes": [{"files": scene, "sensor": "landsat7"}],
        "normalise": {"kind": "identity", "scope": "scene"},
    }
    return tmp_path / "run", options


def test_replay_names_the_samples_and_what_was_first(
    spoiled: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, options = spoiled
    swath.pretrain(**options)
    kept = sorted((folder / "bad_steps").glob("*.pt"))
    assert kept
    capsys.readouterr()
    assert main(["pretrain", "--replay", str(kept[0])]) == 0
    said = capsys.readouterr().out
    assert "was skipped: the loss or its gradient became NaN or infinite" in said
    again = swath.pretrain(replay=str(kept[0]))
    assert again.first
    assert again.bad_samples and set(again.bad_samples) < set(again.samples)
    for name in again.bad_samples:
        row, col = (int(x) for x in name.split("@")[1].split(" ")[0].split(","))
        assert row <= 30 < row + 16 and col <= 20 < col + 16


def test_a_step_of_several_passes_has_the_gradient_that_it_had(land: Any, tmp_path: Path) -> None:
    options = land.pretraining(
        tmp_path / "run", steps=2, log_every=1, batch_size=2, accumulate=3, max_bad_steps=9
    )
    seen: list[float] = []
    judge = TrainingModule._judge

    def judged(self: TrainingModule, batch: Any, loss: Any) -> bool:
        if batch.number == 1:
            folder = Path(options["run"]["folder"]) / "bad_steps"
            keep_bad_step(folder, batch, "a test", self.whole_state(), self.config.seed, self.place)
        good = judge(self, batch, loss)
        seen.append(self.norm)
        return good

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "_judge", judged)
        swath.pretrain(**options)
    again = swath.pretrain(replay=str(tmp_path / "run/bad_steps/step-00000002.pt"))
    assert again.gradient_norm == pytest.approx(seen[1], rel=1e-4)


def test_a_file_that_is_no_bad_step_is_refused(chain: Any) -> None:
    checkpoint = next((Path(chain.pretrained.folder) / "checkpoints").glob("*.ckpt"))
    with pytest.raises(InputError, match="is no bad step"):
        swath.pretrain(replay=str(checkpoint))


def test_the_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        swath.pretrain(replay=str(tmp_path / "none.pt"))
    (tmp_path / "some.pt").write_text("anything")
    with pytest.raises(InputError, match=r"some\.pt: does not lie in a run's bad_steps folder"):
        swath.pretrain(replay=str(tmp_path / "some.pt"))


def test_a_damaged_bad_step_is_told(chain: Any, tmp_path: Path) -> None:
    shutil.copy(Path(chain.pretrained.folder) / "config.yaml", tmp_path)
    (tmp_path / "bad_steps").mkdir()
    file = tmp_path / "bad_steps" / "step-00000001.pt"
    file.write_bytes(b"anything")
    with pytest.raises(InputError, match="the checkpoint or its hash cannot be read"):
        swath.pretrain(replay=str(file))
