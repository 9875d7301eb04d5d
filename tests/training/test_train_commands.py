"""`prospect-emu train`: bad requests are refused at once, and its older forms still parse."""

import pytest

pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")

from prospect_emu.commands import cli
from prospect_emu.training import train_commands


@pytest.fixture
def no_samples(monkeypatch):
    """FSPS is not started."""
    import prospect_emu.training.generate as generate

    def started(*args, **kwargs):
        raise AssertionError("FSPS was started before the options were checked")

    monkeypatch.setattr(generate, "generate", started)


@pytest.mark.parametrize("kind", ["network", "stitched"])
@pytest.mark.parametrize("option", ["--epochs", "--train", "--test", "--width", "--depth"])
@pytest.mark.parametrize("value", ["0", "-3", "1.5", "many"])
def test_numbers_are_positive(kind, option, value, capsys, tmp_path):
    with pytest.raises(SystemExit) as end:
        cli.main(["train", kind, str(tmp_path), "--out", "x.safetensors", f"{option}={value}"])
    assert end.value.code == 2
    assert f"argument {option}: {value} is not a positive whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, said",
    [
        (["network", "--zmin", "3", "--zmax", "1"], "from 3 to 1 are not a range"),
        (["factored", "--zmin", "3", "--zmax", "1"], "from 3 to 1 are not a range"),
        (["network", "--zmin", "0"], "from 0 to 3 are not a range"),
        (["network", "--zmax", "nan"], "from 0.5 to nan are not a range"),
        (["network", "--zmax", "20"], "covers 0.01 < z < 12, less than 0.5 to 20"),
        (["network", "--source", "mathews23-64"], "--source mathews23-64 is a network"),
        (["network", "--test", "5"], "--test 5 tells no errors; give 30 or more"),
        (["stitched", "--source", "mathews23-64"], "covers 0.5 < z < 3, less than 0.01 to 12"),
    ],
)
def test_bad_requests(args, said, capsys, no_samples, tmp_path):
    status = cli.main(["train", args[0], str(tmp_path), "--out", "x.safetensors", *args[1:]])
    err = capsys.readouterr().err
    assert status == 2 and said in err and err.count("\n") == 1, err


def test_options_that_do_nothing_are_refused(capsys, tmp_path):
    with pytest.raises(SystemExit):
        cli.main(["train", "factored", str(tmp_path), "--out", "x.safetensors", "--epochs", "5"])
    assert "unrecognized arguments: --epochs" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args, run",
    [
        (["train", "W", "--width", "64"], "_train_network"),
        (["train", "W", "--factored", "--zmin", "0.01"], "_train_factored"),
        (["train", "--factored", "W"], "_train_factored"),
        (["train-stitched", "W"], "_train_stitched"),
        (["train", "stitched", "W"], "_train_stitched"),
    ],
)
def test_older_forms(args, run):
    args = cli.build_parser().parse_args([*args, "--out", "x.safetensors"])
    assert args.run is getattr(train_commands, run) and str(args.work) == "W"


@pytest.mark.parametrize("before", [["train", "dust"], ["train-dust"]])
def test_dust_is_a_kind(before):
    args = cli.build_parser().parse_args(
        [*before, "random", "W", "--dust", "D", "--field", "F", "--fields", "7"]
    )
    assert args.fields == 7
