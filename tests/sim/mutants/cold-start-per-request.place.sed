# SPDX-License-Identifier: MIT
# Every request of a model without workers starts another one (I6).
s/if \(model->queue.first && live == 0\)/if (model->queue.first)/
