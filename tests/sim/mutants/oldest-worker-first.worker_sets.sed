# SPDX-License-Identifier: MIT
# Of equally loaded workers the least recently used is chosen (rule 7).
s/~worker->last_use/worker->last_use/
