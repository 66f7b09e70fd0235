# SPDX-License-Identifier: MIT
# More than one worker of a model starts at a time (rule 3).
s/model->fresh_slots && model->in_state\[WORKER_SPAWNING\] == 0/model->fresh_slots/
