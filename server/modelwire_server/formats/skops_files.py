"""Models in the format of skops: descriptions of objects, of which only types that are known to be harmless are made.

skops refuses all other types by itself. Of those that it does not trust, some are harmless as such, and some if their content is sound:
trees, whose numbers scikit-learn's C code believes.
"""

import warnings
import zipfile
from typing import Any, BinaryIO

from ..errors import ContentTooLarge, ModelNotLoadable, UntrustedContent
from .trees import check_trees

# Trees are checked once they are there; the others hold numbers that only Python and numpy look at.
_HARMLESS = frozenset(
    {
        "functools.partial",
        "numpy.dtype",
        "numpy.mean",
        "numpy.median",
        "scipy.interpolate._bsplines.BSpline",
        "scipy.sparse._csr.csr_matrix",
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.feature_selection._univariate_selection.chi2",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "sklearn.tree._tree.Tree",
        "sklearn.utils.validation.check_array",
    }
)
# What a file may become once it is unpacked: so many times its size, and never more than this.
MOST_GROWTH, MOST_BYTES, MOST_MEMBERS = 100, 8 << 30, 100_000
_SMALL = 64 << 20
_TOLD = 5


def read_skops(file: BinaryIO, *, granted: bool) -> Any:
    """The object in a file. Types that are not known to be harmless are made only if that was granted. Raises UntrustedContent,
    ContentTooLarge, ModelNotLoadable."""
    try:
        import skops.io
    except ImportError:
        raise ModelNotLoadable("models of skops need the extra `imports`: pip install 'modelwire[imports]'") from None
    try:
        _check_size(file)
        file.seek(0)
        # It takes files that are open too, which its annotations do not say.
        opened: Any = file
        unknown = sorted(set(skops.io.get_untrusted_types(file=opened)) - _HARMLESS)
        if unknown and not granted:
            raise _untrusted(unknown)
        file.seek(0)
        with warnings.catch_warnings():
            # That it was made with another version is told by the file's metadata; the trial that follows finds out whether it matters.
            warnings.simplefilter("ignore")
            model = skops.io.load(file, trusted=[*_HARMLESS, *unknown])
    except (MemoryError, UntrustedContent, ContentTooLarge):
        raise
    except Exception as error:
        raise ModelNotLoadable(f"the file is no model that skops can read: {type(error).__name__}: {str(error)[:500]}") from error
    check_trees(model)
    return model


def _check_size(file: BinaryIO) -> None:
    """A small file may unpack to anything."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    unpacked, packed = sum(member.file_size for member in members), file.seek(0, 2)
    most = min(MOST_BYTES, max(_SMALL, MOST_GROWTH * packed))
    if len(members) > MOST_MEMBERS or unpacked > most:
        raise ContentTooLarge(
            f"the file unpacks to {unpacked:,} bytes in {len(members):,} parts; at most {most:,} are allowed", limit=most
        )


def _untrusted(unknown: list[str]) -> UntrustedContent:
    told = ", ".join(unknown[:_TOLD]) + (f" and {len(unknown) - _TOLD} more" if len(unknown) > _TOLD else "")
    message = f"the file holds types that are not known to be harmless, so that reading it could run a stranger's code: {told}"
    return UntrustedContent(message, types=",".join(unknown[:100]))
