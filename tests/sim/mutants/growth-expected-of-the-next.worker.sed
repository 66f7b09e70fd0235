# SPDX-License-Identifier: MIT
# What a worker has piled up is reserved for its successor.
s/worker->grown_bytes = worker->reserved_bytes;/& worker->model->need_bytes = worker->reserved_bytes;/
