# SPDX-License-Identifier: MIT
# Who stands in line stands there for the devices of before.
s/model->line_mask != pc__chosen_mask\(model\)/false/
