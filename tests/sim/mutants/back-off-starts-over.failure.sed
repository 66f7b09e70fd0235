# SPDX-License-Identifier: MIT
# Any answer ends the row of failures, also one of a worker that was there before (rule 9).
s/worker->ready_ns >= worker->model->failed_ns/true/
