# SPDX-License-Identifier: MIT
# Growth goes on where memory is tight (rule 11).
s/\(pc__is_asked_for\(model\) \|\| !pc__is_tight\(model->sched, device\)\)/true/
