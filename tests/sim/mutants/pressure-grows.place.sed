# SPDX-License-Identifier: MIT
# Growth goes on where memory is tight (rule 11).
s/\(is_asked_for\(model\) \|\| !is_tight\(model->sched, device\)\)/true/
