# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease is evicted (I7).
s/return model->waiting == 0 && !model->spec\.pinned/return !model->spec.pinned/
