# SPDX-License-Identifier: MIT
# Cooldown does not stop at min_workers (rule 8).
s/pc__live_workers\(model\) <= model->spec.min_workers\)/pc__live_workers(model) == 0)/
