# SPDX-License-Identifier: MIT
# A request may wait for ever (rule 10).
s/^\texpire_tickets\(sched\);//
