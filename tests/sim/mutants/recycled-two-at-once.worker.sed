# SPDX-License-Identifier: MIT
# All workers of a model are recycled at once.
s/\|\| is_any_leaving\(worker->model\)//
