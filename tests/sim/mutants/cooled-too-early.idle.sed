# SPDX-License-Identifier: MIT
# When a worker whose slots the body hands out was last used is not what its cooldown begins with.
s/model->last_busy_ns = worker->last_used_ns;/;/
