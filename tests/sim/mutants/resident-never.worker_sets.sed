# SPDX-License-Identifier: MIT
# A worker that is too young to be evicted stays so for ever (rule 5).
s/sched->now_ns - sched->young\.first->key >= sched->settings\.min_residency_ns/false/
