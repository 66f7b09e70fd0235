# SPDX-License-Identifier: MIT
# What an operator chose among the devices is forgotten.
s/by_operator \? model->load_mask : UINT32_MAX/UINT32_MAX/
