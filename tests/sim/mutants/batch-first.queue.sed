# SPDX-License-Identifier: MIT
# Batch requests are always due (I5).
s/lane == LANE_BATCH \? settings->batch_ageing_ns : 0/0/
