//! Faults that need a kernel, or a dockerd that may be disturbed: one that is restarted in the middle of a
//! deploy, memory and disks that are full, people who meddle. The dockerd is the test's own.

mod fault;
