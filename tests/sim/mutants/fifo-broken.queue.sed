# SPDX-License-Identifier: MIT
# Of equally urgent requests the last goes first (I5).
s/uint64_t sequence = \+\+sched->last_sequence/uint64_t sequence = UINT64_MAX - ++sched->last_sequence/
