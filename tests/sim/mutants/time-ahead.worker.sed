# SPDX-License-Identifier: MIT
# A worker used after the event began looks idle for ages (rule 8).
s/use\.last_used_ns < sched->now_ns \? use\.last_used_ns : sched->now_ns/use.last_used_ns/
