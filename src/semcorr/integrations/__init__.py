"""Other tools' ways of asking for predictions: CVAT's functions, Label Studio's machine learning backends."""
