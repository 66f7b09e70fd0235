# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease is evicted, or goes by pressure (I7).
s/!\(self_service && model->waiting > 0\)/true/
s/while \(model->waiting > 0 && model->resting\.first\)/while (false)/
