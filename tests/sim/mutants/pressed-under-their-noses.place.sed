# SPDX-License-Identifier: MIT
# A worker that somebody who waits is about to lease goes by pressure (I7).
s/!worker->model->queue\.first && (pc__retire)/\1/
