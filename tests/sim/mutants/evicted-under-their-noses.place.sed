# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease is evicted (I7).
s/return !model->queue\.first && !model->spec\.pinned/return !model->spec.pinned/
