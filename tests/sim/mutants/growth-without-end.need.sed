# SPDX-License-Identifier: MIT
# More than one worker of a model starts at a time (rule 3).
s/model->waiting > 0 && model->in_state\[WORKER_SPAWNING\] == 0/model->waiting > 0/
