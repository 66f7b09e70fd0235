# SPDX-License-Identifier: MIT
# A model can be evicted down to nothing, whatever its minimum (rule 5).
s/return live > model->spec\.min_workers \? live - model->spec\.min_workers : 0;/return live;/
