"""A protocol's sample set as a table with a Croissant description.

Croissant is the metadata format that dataset search engines read.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from bench.core.storage.files import sha256_of
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board
from leaderboard.drawing.strips import class_name
from leaderboard.records.image_sets import ReadRows

CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
LICENSE = "https://spdx.org/licenses/MIT"
"""Licence of the list of images. The images themselves are not part of it and keep the licence of their data set."""

CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataBiases": "cr:dataBiases",
    "dataCollection": "cr:dataCollection",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "personalSensitiveInformation": "cr:personalSensitiveInformation",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

FIELDS = {
    "sample_id": ("sc:Text", "<data set>/<split>/<index>, as in the rows of every run"),
    "dataset": ("sc:Text", "the image set"),
    "split": ("sc:Text", "its part"),
    "index": ("sc:Integer", "number of the image in that part, from 0"),
    "label": ("sc:Integer", "true class"),
    "class": ("sc:Text", "name of the true class"),
    "common": ("sc:Boolean", "whether every model of the reference set classifies it correctly; false without a set"),
}
"""Columns of data/<protocol>-samples.csv, with type and meaning."""


def sample_table(board: Board, runs: list[StoredRun], read_rows: ReadRows) -> pd.DataFrame:
    """Return a protocol's images as a table with the columns of FIELDS.

    The run with the most samples gives the images.
    """
    of_board = [run for run in runs if run.record.spec.protocol == board.protocol]
    widest = max(of_board, key=lambda run: (run.record.spec.samples.count, run.record.run_id))
    rows = read_rows(widest)
    parts = rows["sample_id"].str.rsplit("/", n=2, expand=True)
    ids = frozenset() if board.reference is None else board.reference.ids
    return pd.DataFrame(
        {
            "sample_id": rows["sample_id"],
            "dataset": parts[0],
            "split": parts[1],
            "index": parts[2].astype("int64"),
            "label": rows["label"],
            "class": [class_name(widest.record, int(label)) for label in rows["label"]],
            "common": rows["sample_id"].isin(ids),
        }
    )


def description(board: Board, table: pd.DataFrame, content: bytes, runs: list[StoredRun]) -> dict[str, Any]:
    """Return the Croissant description (JSON-LD) of a sample table.

    Args:
        board: the protocol's board.
        table: the table from `sample_table`.
        content: the same table as the bytes of its CSV file.
        runs: every run; the earliest one under the protocol gives the date of the set.
    """
    key, samples = board.protocol.key, board.spec.samples
    started = min(r.record.environment.started for r in runs if r.record.spec.protocol == board.protocol)
    file = f"{key}-samples.csv"
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"samples/{name}",
            "name": name,
            "description": meaning,
            "dataType": kind,
            "source": {"fileObject": {"@id": file}, "extract": {"column": name}},
        }
        for name, (kind, meaning) in FIELDS.items()
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": f"{key}-samples",
        "description": f"The images on which {key} measures attribution robustness: the first {len(table)} of "
        f"{samples.of}. This is only the list: the pixels belong to the data set, and their hash is {samples.sha256}.",
        "conformsTo": CONFORMS_TO,
        "license": LICENSE,
        "url": file,
        "version": f"{board.protocol.version}.0.0",
        "datePublished": started[:10],
        "creator": {"@type": "sc:Organization", "name": "attribution-bench"},
        "citeAs": f"@misc{{{key}, title={{Sample set of the protocol {key}}}, note={{attribution-bench}}}}",
        "isLiveDataset": False,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": file,
                "encodingFormat": "text/csv",
                "contentSize": f"{len(content)} B",
                "sha256": sha256_of(content),
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "one record per image, in the order of the protocol",
                "key": {"@id": "samples/sample_id"},
                "field": fields,
            }
        ],
    }
