# SPDX-License-Identifier: MIT
# Batch requests are always due (I5).
s/pc_time_add\(due, settings->batch_ageing_ns\)/0/
