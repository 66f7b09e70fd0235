# SPDX-License-Identifier: MIT
# Who grows evicts others at once: two that do not fit together thrash (rule 5).
s/: model->queue\.first && has_waited_long\(model\)/: model->queue.first/
