# SPDX-License-Identifier: MIT
# Batch requests do not age (I5).
s/pc_time_add\(due, settings->batch_ageing_ns\)/pc_time_add(due, UINT64_C(1) << 62)/
