"""What is said where a store does not admit whoever asks."""

from __future__ import annotations

import pytest

from swath.data.gdal import mend_of

# As GDAL and obstore say it.
UNKNOWN = "AWS_SECRET_ACCESS_KEY and AWS_NO_SIGN_REQUEST configuration options not defined"
WHOLE = "check that the file is whole, or fetch it anew"


@pytest.mark.parametrize(
    ("path", "reason", "words"),
    [
        ("s3://b/a.tif", UNKNOWN, "AWS_NO_SIGN_REQUEST=YES"),
        (
            "/vsis3/b/a.tif",
            "The AWS Access Key Id you provided does not exist: InvalidAccessKeyId",
            "AWS_SECRET_ACCESS_KEY",
        ),
        ("/vsizip//vsis3/b/a.zip/a.tif", "HTTP response code: 403", "AWS_ACCESS_KEY_ID"),
        (
            "s3://b/a.zarr",
            "error performing PUT http://169.254.169.254/latest/api/token",
            "AWS_ACCESS_KEY_ID",
        ),
        ("gs://b/a.tif", "GS_NO_SIGN_REQUEST configuration options not defined", "GS_NO_SIGN_REQUEST=YES"),
        (
            "az://b/a.tif",
            "AZURE_NO_SIGN_REQUEST configuration options not defined",
            "AZURE_NO_SIGN_REQUEST=YES",
        ),
        ("s3://b/a.tif", "TIFFFillTile: Read error at row 403", WHOLE),
        ("https://host/a.tif", "HTTP response code: 403", WHOLE),
        ("a.tif", "credentials", WHOLE),
    ],
)
def test_the_mend_names_what_to_set(path: str, reason: str, words: str) -> None:
    assert words in mend_of(path, reason)
