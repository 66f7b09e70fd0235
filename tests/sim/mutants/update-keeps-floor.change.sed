# SPDX-License-Identifier: MIT
# Whose going an old min_workers allowed may go still, and the other way round.
s/pc__forget_floor\(worker\);//
