"""The paper's network in Keras, in an environment of its own that needs nothing of ours; `measure_keras.py` runs it.

    python keras_forward.py GALAXIES BATCH THREADS

Built and warmed up, it answers each line on its standard input with the seconds and processor seconds of one
`predict` over all galaxies, as JSON.
"""

import json
import os
import sys
import time


def make_model():
    """The paper's network (arXiv:2312.08043): nine magnitudes and images of 36 x 36 pixels in u, g, r, i."""
    import keras
    from keras import layers

    def convolve(maps, channels, kernel):
        return layers.Conv2D(channels, kernel, padding="same", activation="relu")(maps)

    def incept(maps):
        paths = [
            convolve(maps, 64, 1),
            convolve(convolve(maps, 96, 1), 128, 3),
            convolve(convolve(maps, 16, 1), 32, 5),
            convolve(layers.MaxPooling2D(2, strides=1, padding="same")(maps), 32, 1),
        ]
        return layers.Concatenate()(paths)

    images, magnitudes = layers.Input((36, 36, 4)), layers.Input((9,))
    maps = layers.AveragePooling2D(3, strides=3, padding="same")(convolve(images, 64, 7))
    maps = layers.AveragePooling2D(3, strides=2, padding="same")(convolve(convolve(maps, 64, 1), 192, 3))
    for _ in range(4):
        maps = incept(maps)
    values = layers.Dense(256, activation="relu")(layers.Dense(512, activation="relu")(magnitudes))
    values = layers.Dropout(0.2)(layers.BatchNormalization()(values))
    values = layers.Dense(64, activation="relu")(layers.Dense(128, activation="relu")(values))
    joined = layers.Dense(1024, activation="relu")(layers.Concatenate()([layers.Flatten()(maps), values]))
    return keras.Model([images, magnitudes], layers.Dense(1)(joined))


def main(count, batch, threads):
    """Build the network, and run it over all galaxies at each line of the standard input."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(1)
    galaxies = [rng.random((count, 36, 36, 4), np.float32), rng.standard_normal((count, 9), np.float32)]
    model = make_model()
    model.predict(galaxies, batch_size=batch, verbose=0)
    versions = {"keras": keras.__version__, "tensorflow": tf.__version__}
    print(json.dumps(versions | {"weights": model.count_params()}), flush=True)
    for _ in sys.stdin:
        clock, processor = time.perf_counter(), time.process_time()
        model.predict(galaxies, batch_size=batch, verbose=0)
        print(json.dumps([time.perf_counter() - clock, time.process_time() - processor]), flush=True)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
