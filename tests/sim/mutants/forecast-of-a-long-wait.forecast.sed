# SPDX-License-Identifier: MIT
# A forecast takes young workers for victims.
s/sched->settings\.max_wait_ns > 0 \? VICTIM_RESIDENT : VICTIM_ANY/VICTIM_ANY/
