"""``training.compile``: the same losses, and a clear word where there is no compiler."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from synthoma.errors import MissingPartError
from synthoma.gans import ConditionalOptions, CycleOptions, GanOptions, WassersteinOptions
from synthoma.records import Cohort
from synthoma.training import TrainingOptions
from synthoma.training.hardware import check_compiler
from synthoma.training.loop import train

# all with a gradient penalty: compiled code has no second derivative, so it must go through the networks themselves
EACH: dict[str, GanOptions] = {
    "conditional": ConditionalOptions(
        width=4, depth=2, discriminator_width=4, norm="batch", dropout=0, gradient_penalty=1
    ),
    "cycle": CycleOptions(width=4, discriminator_width=4, blocks=1, norm="none", pool_size=3, gradient_penalty=1),
    "wasserstein": WassersteinOptions(width=4, critic_width=4, layers=3, critic_layers=2, latent=8, n_critic=2),
}
# behind torch.compile: all but the generated code, and for one method that, too, which takes g++ a minute
BACKENDS = {"conditional": "aot_eager", "cycle": "aot_eager", "wasserstein": "inductor"}
NETWORKS = {"conditional": 2, "cycle": 4, "wasserstein": 2}
# batches of one size: for another one everything is compiled again
TRAINING = TrainingOptions(
    epochs=2, batch_size=3, precision="float32", device="cpu", threads=1, validate_every=9, variety=False
)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.parametrize("method", EACH)
def test_a_compiled_training_has_the_losses_of_an_eager_one(
    method: str, ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    compile_it = torch.compile

    def by_backend(what: Any) -> Any:
        compiled.extend([what] if isinstance(what, nn.Module) else [])  # the check of the compiler is a function
        return compile_it(what, backend=BACKENDS[method])

    monkeypatch.setattr(torch, "compile", by_backend)
    torch.compiler.reset()
    losses = []
    for asked in (False, True):
        assert not compiled
        options = TRAINING.model_copy(update={"compile": asked})
        folder = train(ellipse_cohort, tmp_path / str(asked), EACH[method], options)
        records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses.append([record["losses"] for record in records if record["kind"] == "train"])
    assert len(compiled) == NETWORKS[method]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= len(compiled)
    for eager, compiled_too in zip(*losses, strict=True):
        assert compiled_too == pytest.approx(eager, abs=1e-4)
    torch.compiler.reset()


def test_without_a_compiler_nothing_begins(
    ellipse_cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, str(tmp_path / "no-such-compiler")))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    torch.compiler.reset()
    message = r"training\.compile: expected a C\+\+ compiler that works, found .*\.\nInstall it \(apt install g\+\+"
    try:
        with pytest.raises(MissingPartError, match=message) as raised:
            check_compiler(torch.device("cpu"))
        assert len(str(raised.value).splitlines()) == 2
        options = TRAINING.model_copy(update={"compile": True})
        with pytest.raises(MissingPartError):
            train(ellipse_cohort, tmp_path / "run", EACH["wasserstein"], options)
    finally:
        torch.compiler.reset()
    assert not (tmp_path / "run").exists()
