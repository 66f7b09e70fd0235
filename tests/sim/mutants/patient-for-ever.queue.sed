# SPDX-License-Identifier: MIT
# The deadlines of those who may wait for longer than is usual are forgotten (rule 10).
s/&model->lanes\[LANE_BATCH\], &model->patient/\&model->lanes[LANE_BATCH], \&model->lanes[LANE_BATCH]/
