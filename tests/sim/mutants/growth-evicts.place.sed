# SPDX-License-Identifier: MIT
# Who grows evicts others at once: two that do not fit together thrash (rule 5).
s/: model->waiting > 0 && has_waited_long\(model\)/: model->waiting > 0/
