#!/usr/bin/env bash
# Errors of an astropy fit to an image without weights are several times too large: rows count as data.
#
# Seen with astropy 8.0.2 (scipy 1.17.1, numpy 2.4.6) on 2026-11-30. Where no weights are given,
# the covariance is scaled by the scatter of the residuals: their squares divided by the degrees of
# freedom. For a model of an image these are taken as the number of rows less that of the
# parameters, not as the number of pixels less it. A Gaussian of six parameters fitted to 25 x 25
# pixels has errors 5.7 times too large, and the same pixels as one flat list right ones. With six
# rows or fewer there are no errors at all, however wide the stamp. All three least-squares fitters
# do so; the fitted values are right, and nothing warns.
#
# It hurts whoever measures stars by fits on stamps: positions and fluxes get a fraction of their
# weight in a mean, a matching radius in units of the error takes in the neighbours, a cut on
# signal-to-noise drops good stars, and all of it changes with the height of the stamp. Pass flat
# arrays (x.ravel(), y.ravel(), pixels.ravel()), or weights of 1 / error.
#
# Output seen (scatter and errors of the fitted x, in pixels; median of 100 stars):
#   astropy 8.0.2 scipy 1.17.1 numpy 2.4.6
#   stamp 25 x 25          scatter 0.040, error 0.226, ratio 5.7
#   the same, flat         scatter 0.040, error 0.040, ratio 1.0
#   the same, weights      scatter 0.040, error 0.040, ratio 1.0
#   stamp 8 x 25           scatter 0.041, error 0.389, ratio 9.5
#   stamp 25 x 8           scatter 0.040, error 0.129, ratio 3.2
#   stamp 6 x 25           no errors
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 scipy==1.17.1 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import astropy
import numpy
import scipy
from astropy.modeling import fitting, models

print("astropy", astropy.__version__, "scipy", scipy.__version__, "numpy", numpy.__version__)
SIGMA = 5.0


def measured(label, rows, columns, flat=False, weighted=False):
    """Fit 100 stars of known noise; print and return scatter and median error of x."""
    rng = numpy.random.default_rng(1)
    y, x = numpy.mgrid[:rows, :columns].astype(float)
    truth = models.Gaussian2D(100, (columns - 1) / 2, (rows - 1) / 2, 2, 2)
    found, errors = [], []
    for _ in range(100):
        pixels = truth(x, y) + rng.normal(0, SIGMA, x.shape)
        given = [one.ravel() if flat else one for one in (x, y, pixels)]
        weights = numpy.full(x.shape, 1 / SIGMA) if weighted else None
        fitter = fitting.TRFLSQFitter(calc_uncertainties=True)
        fitted = fitter(truth, *given, weights=weights)
        found.append(fitted.x_mean.value)
        errors.append(numpy.nan if fitted.x_mean.std is None else fitted.x_mean.std)
    scatter, error = numpy.std(found), numpy.median(errors)
    seen = f"scatter {scatter:.3f}, error {error:.3f}, ratio {error / scatter:.1f}"
    print(f"{label:22} {'no errors' if numpy.isnan(error) else seen}")
    return error / scatter


image = measured("stamp 25 x 25", 25, 25)
flat = measured("the same, flat", 25, 25, flat=True)
weighted = measured("the same, weights", 25, 25, weighted=True)
low = measured("stamp 8 x 25", 8, 25)
narrow = measured("stamp 25 x 8", 25, 8)
none = measured("stamp 6 x 25", 6, 25)
assert 0.85 < flat < 1.15 and 0.85 < weighted < 1.15
assert abs(image / flat - numpy.sqrt((625 - 6) / (25 - 6))) < 0.01
assert low > 8 and narrow < 4 and numpy.isnan(none)
PYTHON
