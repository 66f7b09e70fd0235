# SPDX-License-Identifier: MIT
# Workers can be evicted as soon as they are loaded (rule 5).
s/resident_ns >= sched->settings.min_residency_ns/true/
