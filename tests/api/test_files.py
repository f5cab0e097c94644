"""disvae.encode and disvae.export: what the files hold, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import disvae
from disvae.api.encoded import parameters_of
from disvae.api.networks import networks
from disvae.config import ConfigError
from disvae.encode import encode_file
from disvae.estimators import elbo_terms
from disvae.evaluation.codes_file import read_codes
from disvae.export import export_run
from disvae.score import score
from disvae.vae import Draw

PIXELS = np.random.default_rng(0).integers(0, 256, (120, 64, 64), dtype=np.uint8)


def test_codes_of_a_file_are_those_of_the_vae_with_their_terms_and_can_be_scored(run, tmp_path, capsys):
    np.savez(tmp_path / "images.npz", images=PIXELS, labels=np.arange(120) % 3)
    encode_file([str(run.path), str(tmp_path / "images.npz"), f"out={tmp_path / 'codes.h5'}"])
    assert "(120 images)" in capsys.readouterr().out
    found = {name: torch.from_numpy(array) for name, array in read_codes(tmp_path / "codes.h5").items()}
    trained = disvae.load(run)
    qz_x, x = trained.encode(PIXELS), torch.from_numpy(PIXELS[:, None] / 255).float()
    torch.testing.assert_close(found["codes"], qz_x.mean)
    torch.testing.assert_close(found["parameters/loc"], qz_x.mean)
    torch.testing.assert_close(found["parameters/scale"], qz_x.stddev)
    z = found["samples"]
    draw = Draw(x, z, qz_x, trained.vae.prior(), trained.decode(z), 0, 120, z[:0])
    terms = elbo_terms(draw)
    torch.testing.assert_close(found["kl"].mean(), terms["kl"])
    torch.testing.assert_close(found["reconstruction"].mean(), terms["reconstruction"])
    score([str(tmp_path / "codes.h5"), "metric=[label_accuracy]", "score.repeats=2"])


def test_a_folder_of_pictures_is_encoded_with_names_and_resized(run, tmp_path):
    for i, side in enumerate((64, 128)):
        Image.fromarray(PIXELS[i]).resize((side, side), Image.Resampling.NEAREST).save(tmp_path / f"{i}.png")
    out = tmp_path / "codes.h5"
    encode_file([str(run.path), f"images={tmp_path}", f"out={out}"])
    found = read_codes(out)
    assert found["names"].tolist() == ["0.png", "1.png"]
    np.testing.assert_allclose(found["codes"][0], disvae.load(run).encode(PIXELS[:1]).mean[0], rtol=1e-4, atol=1e-6)
    (tmp_path / "2.png").write_text("no picture")
    with pytest.raises(ConfigError, match=r"2\.png \(not a picture.*type skip_broken=true"):
        encode_file([str(run.path), str(tmp_path), f"out={out}"])
    encode_file([str(run.path), str(tmp_path), f"out={out}", "skip_broken=true"])
    assert len(read_codes(out)["codes"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a run and its images"),
        (["RUN"], "name a run and its images"),
        (["RUN", "nowhere.npz"], r"nowhere\.npz does not exist"),
        (["nowhere", "."], "nowhere is not the folder of a trained run"),
        (["RUN", ".", "size=3"], "size=3 is not an option"),
        (["RUN", ".", "skip_broken=yes"], "skip_broken=yes is not an option"),
        (["RUN", "EMPTY"], r"must hold pictures \(\*\.png"),
    ],
)
def test_arguments_of_encode_that_cannot_be_are_refused(run, tmp_path, arguments, message):
    places = {"RUN": str(run.path), "EMPTY": str(tmp_path)}
    with pytest.raises(ConfigError, match=message):
        encode_file([places.get(argument, argument) for argument in arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the folder of one run"),
        (["nowhere"], "nowhere is not the folder of a trained run"),
        (["RUN", "format=tf"], "format must be one or several of pt2,onnx,safetensors, got tf"),
        (["RUN", "size=3"], "size=3 is not an option"),
        (["RUN", "out=no/where"], "cannot write no/where"),
    ],
)
def test_arguments_of_export_that_cannot_be_are_refused(run, arguments, message):
    with pytest.raises(ConfigError, match=message):
        export_run([str(run.path) if argument == "RUN" else argument for argument in arguments])


@pytest.mark.parametrize("name", ["onnx", "safetensors"])
def test_a_format_whose_package_is_missing_says_what_to_install(run, monkeypatch, name):
    monkeypatch.setattr("disvae.system.imports.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=f"format={name} needs the package {name}: type pip install {name}"):
        export_run([str(run.path), f"format={name}"])


def test_networks_whose_outputs_differ_are_refused(run):
    encoder, decoder = networks(disvae.load(run))
    assert encoder.outputs == ["loc", "scale"]
    encoder.compare("encoder.pt2", encoder.module)
    for wrong in (lambda z: [decoder.module(z)[0] + 0.01], lambda z: [decoder.module(z)[0] * torch.nan]):
        with pytest.raises(ConfigError, match=r"decoder\.pt2: the outputs differ"):
            decoder.compare("decoder.pt2", wrong)


def test_onnx_and_safetensors_hold_the_trained_vae(run, tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    tensors = pytest.importorskip("safetensors")
    export_run([str(run.path), "format=[onnx,safetensors]", f"out={tmp_path}"])
    session = runtime.InferenceSession(str(tmp_path / "encoder.onnx"))
    assert [output.name for output in session.get_outputs()] == ["loc", "scale"]
    with tensors.safe_open(tmp_path / "weights.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"]) == run.config()


@pytest.mark.parametrize(
    ("posterior", "names"),
    [("gaussian", {"loc", "scale"}), ("full_gaussian", {"loc", "scale_tril"}), ("student_t", {"df", "loc", "scale"})],
)
def test_parameters_of_a_posterior_have_a_row_for_each_image(small_vae, posterior, names):
    found = parameters_of(small_vae(f"posterior={posterior}").encode(torch.zeros(3, 1, 16, 16)))
    assert found.keys() == names
    assert all(len(value) == 3 for value in found.values())
