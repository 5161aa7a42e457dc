"""Every shell line of the README and of docs/ is run here, or read by its command's parser, or marked."""

import pytest
import trimesh
from shell_lines import ROOT, WITHOUT_READER, Line, all_lines, check, lines_of

from latent_nerfstudio.cli.main import main

SMALL = {
    "lns demo-scenes --output data/demo": "--num-scenes 1 --views 4 --size 32",
    "lns render-meshes MESHES --output SCENES": "--views 2 --size 16",
    "lns fit-scenes SCENES --output fitted": "--steps 3 --latent-cache memory",
    "lns gallery fitted --output gallery": "--views 2 --size 16",
    "lns pack-scenes fitted --output inventory.zip": "",
    "lns import-scenes fitted/scenes --bundle bundled --output outputs/imported": "--views 2",
    "lns consistency data/demo --autoencoder bundled identity --output consistency.json": "--steps 2",
    "lns push bundled OWNER/OBJECTS --output outputs/hub/objects": "",
}
"""Lines that are run here one after another, and what makes them small."""

LEFT = """data/demo/car_0000/transforms.json SCENES/box/transforms.json fitted/scenes/box.safetensors gallery/index.html
inventory.zip outputs/imported/latent-triplane/imported/config.yml consistency.json outputs/hub/objects/README.md"""
"""What they leave."""


def test_every_line_is_read_or_marked():
    lines = all_lines()
    assert len({line.file for line in lines}) > 8 and len(lines) > 60
    problems = []
    for line in {(line.needs, *line.words): line for line in lines}.values():
        if line.needs and line.words[0] in WITHOUT_READER[line.needs]:
            continue
        try:
            check(line)
        except (ValueError, OSError) as error:
            problems.append(f"{line}\n    {error}")
    assert not problems, "\n".join(problems)


def test_lines_that_are_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "MESHES").mkdir()
    trimesh.creation.box().export(tmp_path / "MESHES" / "box.ply")
    standing = {" ".join(line.words) for line in all_lines()}
    for text, more in SMALL.items():
        assert text in standing, f"{text}: expected it in the README or docs/, where it was run from"
        main([*text.split()[1:], *more.split()])
    assert [name for name in LEFT.split() if not (tmp_path / name).is_file()] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lns fit-scene --data X --output Y", "lns refuses it"),
        ("ns-train latent-triplane --data X --pipeline.no-such-flag 1", "ns-train refuses it"),
        ("ns-train latent-triplain --data X", "expected a method .* got 'latent-triplain'"),
        ("ns-render interpolates --load-config X", "ns-render refuses it"),
        ("ns-viewer --config X", "ns-viewer refuses it"),
        ("ns-eval --load-config X --output Y", "ns-eval refuses it"),
        ("make SCENE=3 demo", "expected a target or a variable .* got 'SCENE'"),
        ("python benchmarks/numerous_scenes.py --data X --quick", "expected flags that the script has, got --quick"),
        ("python benchmarks/nothing.py", "No such file"),
        ("pytest tests/nothing", "expected a file or folder"),
        ("source venv/bin/activate", "expected the clone or its environment"),
        ("curl example.com", "nothing runs or reads curl"),
        ("pip install .", "nothing runs or reads pip"),
    ],
)
def test_wrong_lines_are_found(text, message):
    with pytest.raises((ValueError, OSError), match=message):
        check(Line("page.md", 1, text))


def test_blocks_and_marks():
    text = "<!-- needs: gpu -->\n\n```bash\nA=1 lns report x \\\n  --eval y  # why\n\n# alone\n```\n```text\nx\n```\n"
    (line,) = lines_of("page.md", text)
    assert (line.number, line.needs, line.words) == (5, "gpu", ["lns", "report", "x", "--eval", "y"])
    (line,) = lines_of("page.md", "<!-- needs: gpu -->\nText.\n```bash\nlns --help\n```\n")
    assert line.needs == ""
    with pytest.raises(ValueError, match="expected a block of shell to begin with ```bash"):
        list(lines_of("page.md", "```\nlns report x\n```\n"))
    with pytest.raises(ValueError, match="expected a need out of network, gpu, colmap, got patience"):
        list(lines_of("page.md", "<!-- needs: patience -->\n```bash\nlns\n```\n"))


def test_no_page_names_a_place_of_a_machine():
    for folder in ("docs", "scripts"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".md", ".py", ".ipynb", ".svg", ".css"):
                found = [word for word in ("/home/", "/tmp/", "/root/") if word in path.read_text("utf-8")]
                assert not found, f"{path}: {found}"
