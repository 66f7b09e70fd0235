# SPDX-License-Identifier: MIT
# Pinned models can be evicted (rule 5).
s/ready && worker->leases == 0 && !model->spec.pinned/ready \&\& worker->leases == 0/
