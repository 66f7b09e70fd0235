# SPDX-License-Identifier: MIT
# Workers whose slots the body hands out are stopped without a recall (I7).
s/only_if_idle && !pc__recall\(worker\)/false/
