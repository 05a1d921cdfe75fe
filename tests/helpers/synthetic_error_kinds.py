"""Synthetic tables of error kinds for a synthetic run folder."""

import pandas as pd

from skyduel.run_folder import load_run


def add_mistakes(path, per_kind=12):
    """Give a synthetic run its tables of mistakes, as the runner would: every third is a blend."""
    run = load_run(path)
    rows = []
    for detector in run.detectors:
        for point in run.points:
            for frame in run.scored_frames:
                pairs = run.pairs(detector, point, frame)
                truth, found = run.truth(frame), run.catalog(detector, frame)
                for side, key, table in (
                    ("missed", "truth_index", truth),
                    ("false", "found_index", found),
                ):
                    for n, i in enumerate(pairs.loc[pairs["outcome"] == side, key]):
                        kind = ("blended", "split")[side == "false"] if n % 3 == 0 else "other"
                        row = table.iloc[i]
                        place = {"detector": detector, "point": point, "frame": frame}
                        place |= {"side": side, "kind": kind, "x": row["x"], "y": row["y"]}
                        place |= {"mag": row["mag"], "snr": 10 ** (0.4 * (24 - row["mag"]))}
                        index = {"truth_index": -1, "found_index": -1} | {key: i}
                        rows.append(place | index | {"score": 24 - row["mag"]})
    sources = pd.DataFrame(rows).sort_values("snr", ascending=False).assign(group="all")
    keys = ["detector", "point", "group", "side", "kind"]
    counts = sources.groupby(keys, as_index=False).size().rename(columns={"size": "n"})
    (path / "analyses").mkdir(exist_ok=True)
    listed = sources.groupby(keys).head(per_kind).reset_index(drop=True)
    listed.to_parquet(path / "analyses" / "mistake_sources.parquet")
    counts.assign(bin=-2).to_parquet(path / "analyses" / "mistakes.parquet")
    return path
