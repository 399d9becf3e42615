"""Models whose scikit-learn estimators are replaced by stand-ins that compute the same faster.

`places` finds the estimators in what a training returned, `conversion` turns their methods into ONNX graphs, `stand_ins` serves these,
`originals` reads what they stand in for when that is needed; `trial` runs the runner's own predict function both ways and compares. Only
`conversion` needs skl2onnx.
"""
