# SPDX-License-Identifier: MIT
# Who was spared while another one was leaving is never recycled.
s/^\trecycle_next\(model\);//
