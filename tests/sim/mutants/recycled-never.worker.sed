# SPDX-License-Identifier: MIT
# Workers serve and grow for ever.
s/return worker->state == WORKER_READY && \(served_enough/return false \&\& (served_enough/
