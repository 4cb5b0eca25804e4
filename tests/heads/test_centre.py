"""The nearest-centre head against scikit-learn's."""

from sklearn.neighbors import NearestCentroid

from tests.alignment.domains import CLASSES, two_domains
from tl_research.heads.centre import NearestCentre, class_centres, nearest_centre


def test_agrees_with_scikit_learn():
    source, target = two_domains(offset=50.0)
    head = NearestCentre()
    head.fit(source.x, source.label, None, classes=CLASSES, seed=0)
    expected = NearestCentroid().fit(source.x.numpy(), source.label.numpy()).predict(target.x.numpy())
    assert head(target.x).argmax(1).tolist() == expected.tolist()
    assert head(target.x.float()).argmax(1).tolist() == expected.tolist()
    centres = class_centres(source.x, source.label, CLASSES)
    assert nearest_centre(target.x, centres).tolist() == expected.tolist()


def test_a_class_without_rows_is_never_predicted_and_its_logit_is_finite():
    source, target = two_domains()
    head = NearestCentre()
    head.fit(source.x, source.label + 1, None, classes=CLASSES + 2, seed=0)
    logits = head(target.x)
    assert logits.isfinite().all()
    assert set(logits.argmax(1).tolist()) <= {1, 2, 3}
