"""Customer files in pieces: the same rows under the same numbers as read whole."""

from pathlib import Path

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from bento.settings import get_settings
from churn_assets.defs.ingest.pieces import Piece, files, frames, pieces
from churn_assets.defs.ingest.reading import FormatError, read_customers
from churn_assets.synthetic import customers

ROWS = 30_000


@pytest.fixture(scope="module")
def raw() -> pd.DataFrame:
    return customers(ROWS, seed=4)


def test_row_groups_make_pieces_with_the_row_numbers_of_the_whole_file(
    raw: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pandas(raw), path, row_group_size=4_000)
    found = pieces(str(path), rows=8_000)
    assert [(piece.first_row, piece.rows) for piece in found] == [
        *((1, 8_000), (8_001, 8_000), (16_001, 8_000), (24_001, 6_000))
    ]
    parts = [frame for piece in found for frame in frames(piece, 3_000)]
    assert max(map(len, parts)) == 3_000
    assert_frame_equal(pd.concat(parts), read_customers(path))


def test_a_long_csv_file_comes_in_frames_with_every_record_at_its_number(
    raw: pd.DataFrame, tmp_path: Path
) -> None:
    lines = raw.to_csv(index=False).splitlines()
    lines[0:0] = ["a title", "another"]
    for position in (3, 4, 15_000, 29_000, 29_001):
        lines.insert(position, f"odd,{position}")
    lines.append("Total,1")
    path = tmp_path / "long.csv"
    path.write_text("\n".join(lines) + "\n")
    parts = list(frames(Piece(str(path))))
    assert len(parts) > 3
    whole = pd.concat(parts)
    assert whole.index.tolist() == [n for n in range(1, len(lines) + 1) if n != 3]
    for number in (1, 4, 5, 15_001, 29_001, 29_002, len(lines)):
        assert whole.loc[number].iloc[0] == lines[number - 1]
    numbers = whole.loc[6:15_000, "CLIENTNUM"].tolist()
    assert numbers == raw["CLIENTNUM"].astype(str).tolist()[: len(numbers)]


def test_a_folder_gives_its_customer_files_and_no_others(raw: pd.DataFrame, tmp_path: Path) -> None:
    raw[:10].to_parquet(tmp_path / "b.parquet")
    raw[:10].to_csv(tmp_path / "a.CSV", index=False)
    for name in ("_SUCCESS", "_hidden.parquet", ".c.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert [Path(name).name for name in files(str(tmp_path))] == ["a.CSV", "b.parquet"]
    with pytest.raises(FormatError, match="no customer file"):
        files(str(tmp_path / "nothing"))
    (tmp_path / "b.parquet").write_text("no")
    with pytest.raises(FormatError, match=r"b\.parquet: not a readable parquet file"):
        pieces(str(tmp_path))


def test_s3_is_read_like_a_folder(raw: pd.DataFrame, tmp_path: Path, emulator: str) -> None:
    client, bucket = boto3.client("s3"), get_settings().churn_bucket
    for name in ("a.parquet", "b.parquet"):
        raw[:100].to_parquet(tmp_path / name)
        client.upload_file(str(tmp_path / name), bucket, f"pieces/{name}")
    uri = f"s3://{bucket}/pieces"
    assert [piece.uri for piece in pieces(uri)] == [f"{uri}/a.parquet", f"{uri}/b.parquet"]
    [frame] = frames(pieces(f"{uri}/b.parquet")[0])
    assert_frame_equal(frame, read_customers(tmp_path / "b.parquet"))
