# SPDX-License-Identifier: MIT
# Every request of a model without workers starts another one (I6).
s/if \(model->waiting > 0 && live == 0\)/if (model->waiting > 0)/
