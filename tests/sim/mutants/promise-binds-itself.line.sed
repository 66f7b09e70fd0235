# SPDX-License-Identifier: MIT
# What is promised to a model is kept from itself, and from those before it.
/^uint64_t pc__promised_before/,/^}/s/before = 0;/before = promised_below(sched->devices[device].line.root); return before;/
