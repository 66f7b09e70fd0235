# SPDX-License-Identifier: MIT
# A forecast takes what is promised to growth for gone.
s/^\tswap_promises\(model->sched\);//
