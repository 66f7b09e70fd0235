# SPDX-License-Identifier: MIT
# A granted request stays in its queue (I2).
/^\t\tpc__withdraw\(ticket\);/{N;/grant\(/s/pc__withdraw\(ticket\);/ticket->brain.state = TICKET_OVER;/;}
