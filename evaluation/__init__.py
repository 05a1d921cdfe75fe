"""Scores of detections against a truth: matching, counts, scores, limits and comparisons.

The runner calls this package once for every detector. For every frame it passes the truth,
with ignored sources marked, and all detections that the detector returned::

    truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), rules)
    found = mark_ignored_regions(found, frame.shape, frame.bad, rules)
    source = FrameInput(
        frame=frame.name, truth=truth, found=found, mpix=usable_pixels / 1e6,
        group="field", split="test", fwhm=frame.fwhm,
    )
    result = evaluate({"sep": [source, ...]}, rules, default_thresholds={"sep": 4.5})

``result.counts``, ``.scores``, ``.sweep`` and ``.limits`` are the tables of a run folder.
``result.calibrated["sep"]`` is the threshold chosen on the calibration split.
``result.frames["sep", "default"]`` holds a `FrameScore` for each frame of the test split, and
its ``pairing.to_table()`` is the table of pairs. Detectors can also be evaluated one by one,
in separate processes, with `choose_edges`, `evaluate_detector` and `merge`.

`score_catalogs` scores two catalogues without a run. `pair` matches two sets of positions.
The scores themselves are the rows of `METRICS`. Everything else is imported from its module.
"""

import lazy_loader

# The names, and the module of each, are in `__init__.pyi`; a module is loaded with its first name.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
