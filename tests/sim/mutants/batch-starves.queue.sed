# SPDX-License-Identifier: MIT
# Batch requests do not age (I5).
s/lane == LANE_BATCH \? settings->batch_ageing_ns : 0/lane == LANE_BATCH ? UINT64_C(1) << 62 : 0/
