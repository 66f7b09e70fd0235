# SPDX-License-Identifier: MIT
# Any number of workers can be adopted.
s/model->spec\.max_workers != 0 && pc__live_workers\(model\) >= model->spec\.max_workers/false/
