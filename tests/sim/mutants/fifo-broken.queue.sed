# SPDX-License-Identifier: MIT
# Of equally urgent requests the last goes first (I5).
s/uint64_t sequence = \+\+model->sched->last_sequence/uint64_t sequence = UINT64_MAX - ++model->sched->last_sequence/
