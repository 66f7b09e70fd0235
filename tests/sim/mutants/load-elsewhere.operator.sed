# SPDX-License-Identifier: MIT
# What an operator chose among the devices is forgotten.
s/model->load_mask = device_mask;/model->load_mask = UINT32_MAX;/
